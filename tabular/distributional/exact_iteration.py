"""Sweeps over pruned discrete mixtures, with a bound on how far they are from the return laws of the policy.

Let e(s) bound the Wasserstein-1 distance of the law of state s from its return law. A backup under the policy moves
both by the same transitions, and pruning moves one of them by c(s), so

    e_{k+1}(s) = c(s) + discount * sum_{s'} p_pi(s' | s) e_k(s')             (continuing transitions alone)

Bounds start from E|X| + E sum_t discount^t |R_t|, the second of them a certified upper bound of a policy's value. This
holds state by state, and at discount 1 where episodes end. Rounding of the sums themselves is not in the bound.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.distributional.backup import ReturnRows, carried, greedy_actions, policy_return_rows
from rlbook.tabular.distributional.laws import DiscreteLaws, known_laws
from rlbook.tabular.distributional.metrics import wasserstein
from rlbook.tabular.policies import as_stochastic
from rlbook.tabular.policy_evaluation import evaluate_policy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.distributional.exact_laws import ExactLaws

_ATOMS_AT_ONCE = 4_000_000  # of laws before they are pruned: 64 MB


class ExactIteration:
    """Repeated pruned backups from the point mass at 0; policy: as in `as_stochastic`, None for greedy in the means."""

    metric = "Wasserstein-1 distance"
    proven = True
    parameters = None

    def __init__(self, mdp: FiniteMDP, representation: ExactLaws, policy: ArrayLike | None) -> None:
        self._mdp, self._representation = mdp, representation
        self.laws = DiscreteLaws.point_masses(np.zeros(mdp.n_states))
        self._pruned = np.zeros(mdp.n_states)
        self._actions: NDArray[np.int32] | None = None
        if policy is None:
            self._follow(self._greedy())
        else:
            self._weights = as_stochastic(mdp, policy)
            self._rows = policy_return_rows(mdp, self._weights)
            self._ahead = absolute_returns(mdp, self._weights)

    @property
    def policy(self) -> NDArray[np.int32] | NDArray[np.float64]:
        return self._weights if self._actions is None else self._actions

    def sweep(self) -> float:
        """One backup and pruning; returns the largest Wasserstein-1 distance between old and new laws."""
        actions = self._greedy()
        if self._actions is not None and np.any(actions != self._actions):
            self._follow(actions)
        before = self.laws
        self.laws, cost = _pruned_backup(self._rows, before, self._representation)
        self._ahead = carried(self._rows, self._mdp.discount, self._ahead)
        self._pruned = cost + carried(self._rows, self._mdp.discount, self._pruned)
        return float(wasserstein(before, self.laws, 1.0).max())

    def settled(self) -> bool:
        """Whether the policy is the one to follow from here, too."""
        return self._actions is None or bool(np.all(self._greedy() == self._actions))

    def remaining(self, change: float) -> float:
        """A bound on what more sweeps could still move a law by, but for pruning."""
        return float(self._ahead.max())

    def error_bounds(self, change: float) -> NDArray[np.float64]:
        """Bounds on the distance from the return laws of `policy`, (S,): sweeps not done, and pruning."""
        return self._ahead + self._pruned

    def wasserstein_bounds(self, change: float) -> NDArray[np.float64]:
        """The same, since Wasserstein-1 is the metric."""
        return self.error_bounds(change)

    def snapshot(self) -> DiscreteLaws:
        return self.laws

    def _greedy(self) -> NDArray[np.int32]:
        return greedy_actions(self._mdp, self.laws.means(), incumbent=self._actions)

    def _follow(self, actions: NDArray[np.int32]) -> None:
        """Change the policy; what is known of the distance from its return laws starts anew."""
        self._actions, self._rows = actions, policy_return_rows(self._mdp, actions)
        try:
            ahead = absolute_returns(self._mdp, actions)
        except MDPError:  # at discount 1, a policy under which some episode never ends: nothing is proven of it
            ahead = np.full(self._mdp.n_states, np.inf)
        self._ahead = ahead + np.add.reduceat(self.laws.mass * np.abs(self.laws.atom), self.laws.ptr[:-1])
        self._pruned = np.zeros(self._mdp.n_states)


def absolute_returns(mdp: FiniteMDP, policy: ArrayLike) -> NDArray[np.float64]:
    """Certified upper bounds on E sum_t discount^t |R_t| from each state under a policy, (S,), in units of return.

    Raises MDPError at discount 1 where episodes need not end.
    """
    if mdp.reward is None:
        size = np.abs(mdp.expected_reward)
    else:
        size = np.add.reduceat(mdp.probability * np.abs(mdp.reward), mdp.row_ptr[:-1])
    return evaluate_policy(mdp.replace(expected_reward=size, reward=None), policy).upper


def _pruned_backup(
    rows: ReturnRows, laws: DiscreteLaws, representation: ExactLaws
) -> tuple[DiscreteLaws, NDArray[np.float64]]:
    """The backup of laws and its pruning, a few states at a time, so that long laws fit."""
    lengths = np.where(rows.source >= 0, laws.sizes[rows.source], 1)
    atoms = np.concatenate([[0], np.cumsum(lengths)])[rows.entry_ptr]
    edges = [0]
    while edges[-1] < laws.n_laws:
        room = int(np.searchsorted(atoms, atoms[edges[-1]] + _ATOMS_AT_ONCE, side="right")) - 1
        edges.append(max(room, edges[-1] + 1))
    parts = [representation.prune(rows.part(first, end).backup(laws)) for first, end in pairwise(edges)]
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([part.sizes for part, _ in parts])
    whole = known_laws(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([part.atom for part, _ in parts]),
        np.concatenate([part.mass for part, _ in parts]),
    )
    return whole, np.concatenate([cost for _, cost in parts])
