"""Bounds on every discounted return that a finite MDP can pay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.policy_rows import require_stored

if TYPE_CHECKING:
    from rlbook.mdp import FiniteMDP

_FEWEST_SWEEPS, _MOST_SWEEPS, _WORK = 20, 200, 1e8  # the last in transitions backed up: about a second
_SETTLED = 1e-12  # of the crude bound


def return_range(mdp: FiniteMDP) -> tuple[float, float]:
    """Bounds, in units of return, on the discounted return of every path from any state, whatever the policy.

    With U the best return over paths and T its backup over single transitions, U <= T v + discount d / (1 - discount)
    for any v and d = max(T v - v, 0), since T is monotone and T(v + c) <= T v + discount c. v is found by 20 to 200
    backups from 0, fewer where there are many transitions, so the bounds need not be sharp. At discount 1 backups stop
    at 0 from below, which bounds all partial sums, and a bound is finite only where backups come to rest.
    """
    require_stored(mdp, "return_range")
    return 0.0 - _most(mdp, -1.0), _most(mdp, 1.0)


def _most(mdp: FiniteMDP, sign: float) -> float:
    """An upper bound on sign times the return."""
    paid = mdp.reward if mdp.reward is not None else np.repeat(mdp.expected_reward, np.diff(mdp.row_ptr))
    paid = sign * paid
    edges = mdp.row_ptr[mdp.state_ptr[:-1]]
    goes_on = np.where(mdp.terminated, 0.0, mdp.discount)
    dearest = max(0.0, float(paid.max()))
    endless = mdp.discount >= 1
    crude = (np.inf if dearest > 0 else 0.0) if endless else dearest / (1 - mdp.discount)
    best, rise = np.zeros(mdp.n_states), 0.0
    for _ in range(int(np.clip(_WORK / mdp.n_transitions, _FEWEST_SWEEPS, _MOST_SWEEPS))):
        backed_up = np.maximum.reduceat(paid + goes_on * best[mdp.next_state], edges)
        if endless:
            backed_up = np.maximum(backed_up, 0.0)
        rise = max(0.0, float(np.max(backed_up - best)))
        settled = np.array_equal(best, backed_up) if endless else np.abs(backed_up - best).max() <= _SETTLED * crude
        best = backed_up
        if settled:
            break
    if endless:
        return min(crude, float(best.max())) if settled else crude
    return min(crude, float(best.max()) + mdp.discount * rise / (1 - mdp.discount))
