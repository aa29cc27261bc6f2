"""Occupancy measures: how often a policy is expected to visit each state-action pair, discounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.direct_solve import DirectSolver
from rlbook.tabular.policies import as_stochastic, induced_chain
from rlbook.tabular.policy_rows import policy_rows, require_stored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP


def occupancy_measure(mdp: FiniteMDP, policy: ArrayLike, start: ArrayLike | None = None) -> NDArray[np.float64]:
    """Expected discounted visits x(s, a) = sum_t discount^t Pr(s_t = s, a_t = a), one per pair, (pairs,).

    policy: as in `as_stochastic`. start: weights of the first state, (S,), finite and not negative; `mdp.start` by
    default. The visits solve d' (I - discount P_pi) = start' (Puterman 1994, section 6.9), by a sparse direct solve
    with one refinement, to rounding; they sum to sum(start) / (1 - discount) where nothing terminates. At discount 1
    the policy's episodes must end. Raises MDPError for weights out of range, where visits are infinite, or where the
    direct solve would be too large.
    """
    require_stored(mdp, "occupancy_measure")
    weight = as_stochastic(mdp, policy)
    first = start_weights(mdp, start)
    chain = induced_chain(mdp, weight)
    Contraction.of_policy(mdp, weight, chain)
    rows = policy_rows(chain, np.arange(mdp.n_states))
    solver = DirectSolver(rows, instead="visits are computed for MDPs whose chains can be eliminated only")
    visits = solver.solve_transposed(first)
    leaving = rows.mass * np.repeat(visits, np.diff(rows.pointer))
    arriving = mdp.discount * np.bincount(rows.following, weights=leaving, minlength=mdp.n_states)
    visits = visits + solver.solve_transposed(first + arriving - visits)
    # No exact entry is negative; what rounding left below zero stands for zero.
    return weight * np.maximum(visits, 0.0)[mdp.pair_state]


def start_weights(mdp: FiniteMDP, start: ArrayLike | None, name: str = "start") -> NDArray[np.float64]:
    """Weights of the first state, (S,), checked, under the name of their argument; `mdp.start` where there are none."""
    weights = np.array(mdp.start if start is None else start, dtype=np.float64)
    if weights.shape != (mdp.n_states,):
        raise MDPError(f"{name} has shape {weights.shape}; give one weight per state, ({mdp.n_states},)")
    bad = np.flatnonzero(~(weights >= 0) | ~np.isfinite(weights))
    if len(bad):
        raise MDPError(f"{name}[{bad[0]}] is {float(weights[bad[0]])!r}; weights must be finite and not negative")
    return weights
