"""Exact backups of return laws: the distributional Bellman operators of a finite MDP.

With eta(s) the law of the return from state s, and R, S' and termination drawn together from the MDP's transitions,

    (T^pi eta)(s) = law of R + discount G(S'), G(s') ~ eta(s'), A ~ pi(. | s);  of R alone where the episode terminates

(Bellemare, Dabney & Munos 2017, section 3.3; Bellemare, Dabney & Rowland, *Distributional Reinforcement Learning*, MIT
Press 2023, chapter 4). Each transition brings its own reward: with expected rewards in their place the means would be
the same and the laws others. Rows of probabilities are divided by their sum, since a law must have mass 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.errors import MDPError, ParameterError
from rlbook.mdp import owned
from rlbook.tabular.bellman import action_values
from rlbook.tabular.distributional.laws import DiscreteLaws, mixed
from rlbook.tabular.distributional.laws_kernels import ZERO
from rlbook.tabular.policies import as_stochastic
from rlbook.tabular.policy_rows import require_stored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.distributional.vector_rewards import VectorRows

Ties = Literal["first", "last"]

_ROUNDING = 1e-10  # of action values: far above what sums lose, far below what a choice could matter


@dataclass(frozen=True, eq=False)
class ReturnRows:
    """What one backup of laws reads, for each new law a row of transitions; arrays are read-only.

    entry_ptr: int64 (laws + 1,). source: int64 (entries,), the state whose law follows, or ZERO where the episode
    terminates. weight: float64 (entries,), probabilities. reward: float64 (entries,), in units of reward. scale:
    float64 (entries,), the discount.
    """

    entry_ptr: NDArray[np.int64]
    source: NDArray[np.int64]
    weight: NDArray[np.float64]
    reward: NDArray[np.float64]
    scale: NDArray[np.float64]

    def backup(self, laws: DiscreteLaws) -> DiscreteLaws:
        """The law of reward + scale * G(source) for each row."""
        return mixed(laws, self.entry_ptr, self.source, self.weight, self.reward, self.scale)

    def part(self, first: int, end: int) -> ReturnRows:
        """Rows first to end - 1 alone."""
        if (first, end) == (0, len(self.entry_ptr) - 1):
            return self
        entries = slice(self.entry_ptr[first], self.entry_ptr[end])
        return ReturnRows(
            owned(self.entry_ptr[first : end + 1] - self.entry_ptr[first]),
            self.source[entries],
            self.weight[entries],
            self.reward[entries],
            self.scale[entries],
        )


def pair_return_rows(mdp: FiniteMDP) -> ReturnRows:
    """One row for each pair: its transitions."""
    require_stored(mdp, "a backup of return laws")
    reward = mdp.reward
    if reward is None:
        reward = np.repeat(mdp.expected_reward, np.diff(mdp.row_ptr))
    return ReturnRows(
        mdp.row_ptr,
        owned(np.where(mdp.terminated, ZERO, mdp.next_state.astype(np.int64))),
        mdp.probability,
        owned(reward),
        owned(np.full(mdp.n_transitions, mdp.discount)),
    )


def policy_return_rows(mdp: FiniteMDP, policy: ArrayLike) -> ReturnRows:
    """One row for each state: the transitions of its actions, weighted by a policy as in `as_stochastic`."""
    rows = pair_return_rows(mdp)
    entry_ptr, weight, kept = policy_entries(mdp, policy)
    return ReturnRows(entry_ptr, owned(rows.source[kept]), weight, owned(rows.reward[kept]), owned(rows.scale[kept]))


def policy_entries(
    mdp: FiniteMDP, policy: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """The transitions that a policy takes, state by state, and how often.

    policy: as in `as_stochastic`. Returns, read-only but for the last, entry_ptr, int64 (S + 1,); weight, float64
    (entries,), positive; and which of the MDP's transitions these are, bool (transitions,).
    """
    weighted = mdp.probability * np.repeat(as_stochastic(mdp, policy), np.diff(mdp.row_ptr))
    kept = weighted > 0
    ends = np.concatenate([[0], np.cumsum(kept)])
    return owned(ends[mdp.row_ptr[mdp.state_ptr]]), owned(weighted[kept]), kept


def carried(rows: ReturnRows | VectorRows, discount: float, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a backup makes of bounds, (S,), on W_1 of the laws behind it: discount * sum p e(s'), (rows,).

    Bounds may be infinite; a discount of 0 forgets them all the same.
    """
    share = discount * rows.weight
    after = np.where((rows.source >= 0) & (share > 0), bounds[rows.source], 0.0)
    product = np.zeros_like(share)
    np.multiply(share, after, out=product, where=after > 0)
    return np.add.reduceat(product, rows.entry_ptr[:-1])


def return_law_backup(mdp: FiniteMDP, laws: DiscreteLaws, policy: ArrayLike) -> DiscreteLaws:
    """T^pi eta, exactly: one law per state, from one law per state.

    policy: as in `as_stochastic`. Atoms multiply by the number of transitions of a state's actions, equal ones becoming
    one. Raises MDPError on a wrong number of laws or a policy that is none.
    """
    _check_laws(mdp, laws)
    return policy_return_rows(mdp, policy).backup(laws)


def pair_return_laws(mdp: FiniteMDP, laws: DiscreteLaws) -> DiscreteLaws:
    """The law of R + discount G(S') for every pair, from one law per state: what action values are to state values."""
    _check_laws(mdp, laws)
    return pair_return_rows(mdp).backup(laws)


def greedy_actions(
    mdp: FiniteMDP, means: ArrayLike, ties: Ties = "first", *, incumbent: NDArray[np.int32] | None = None
) -> NDArray[np.int32]:
    """Actions greedy in the means of the laws, as labels, int32 (S,); means: (S,), in units of return.

    ties: which of several best actions is taken, the first or the last label. incumbent: labels (S,) that stay while
    they are best but for 1e-10 of the largest action value and reward, lest rounding change the policy in every sweep.
    """
    if ties not in ("first", "last"):
        raise ParameterError(f"ties is {ties!r}; choose 'first' or 'last'")
    q = action_values(mdp, means)
    top = np.maximum.reduceat(q, mdp.state_ptr[:-1])
    best = np.flatnonzero(q == top[mdp.pair_state])
    edges = np.searchsorted(best, mdp.state_ptr)
    chosen = mdp.action[best[edges[:-1]] if ties == "first" else best[edges[1:] - 1]]
    if incumbent is None:
        return chosen
    held = q[mdp.action == incumbent[mdp.pair_state]]
    margin = _ROUNDING * (np.abs(q).max() + np.abs(mdp.expected_reward).max())
    return np.where(held >= top - margin, incumbent, chosen)


def greedy_return_law_backup(
    mdp: FiniteMDP, laws: DiscreteLaws, ties: Ties = "first"
) -> tuple[DiscreteLaws, NDArray[np.int32]]:
    """The distributional optimality operator: T^pi eta for a policy greedy in the means of eta.

    Returns the laws and the policy as action labels, int32 (S,). Means follow the Bellman optimality operator; the laws
    need not converge, and where two best actions have different laws `ties` decides which is seen (Bellemare, Dabney &
    Munos 2017, section 3.4).
    """
    _check_laws(mdp, laws)
    policy = greedy_actions(mdp, laws.means(), ties)
    return policy_return_rows(mdp, policy).backup(laws), policy


def _check_laws(mdp: FiniteMDP, laws: DiscreteLaws) -> None:
    if not isinstance(laws, DiscreteLaws):
        raise MDPError(f"laws is {laws!r}; give DiscreteLaws, for example DiscreteLaws.point_masses(values)")
    if laws.n_laws != mdp.n_states:
        raise MDPError(f"laws holds {laws.n_laws} laws; give one for each of {mdp.n_states} states")
