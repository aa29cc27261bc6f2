"""`VectorRewardMDP`: a finite MDP whose transitions pay several sources of reward at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError, ParameterError
from rlbook.mdp import FiniteMDP, check_names, owned
from rlbook.mdp_rows import from_rows
from rlbook.tabular.distributional.backup import policy_entries
from rlbook.tabular.distributional.laws_kernels import ZERO
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# (probability, next state or None where the episode ends, one reward per source)
Outcome = tuple[float, int | None, Sequence[float]]


@dataclass(frozen=True, eq=False)
class VectorRows:
    """What a backup of joint laws under a policy reads; `ReturnRows` with vector rewards, one row per state.

    entry_ptr: int64 (S + 1,). source: int64 (entries,), the state whose law follows, or ZERO where the episode ends.
    weight: float64 (entries,), summing to 1 within a row. reward: float64 (entries, d). Arrays are read-only.
    """

    entry_ptr: NDArray[np.int64]
    source: NDArray[np.int64]
    weight: NDArray[np.float64]
    reward: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VectorRewardMDP:
    """An MDP and what each of its transitions pays: rewards, float64 (transitions, d), in units of reward.

    The MDP gives states, actions, probabilities, ends and the discount, which all sources share; its own rewards are
    not read. rewards: in the order of the MDP's transitions, d >= 1, finite. source_names: d names, or None. Read-only.
    Transitions that differ in the vector alone must stay apart in the MDP; `from_transitions` sees to that.
    """

    mdp: FiniteMDP
    rewards: NDArray[np.float64]
    source_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        try:
            rewards = owned(np.ascontiguousarray(self.rewards, dtype=np.float64))
        except (TypeError, ValueError):
            raise MDPError("rewards is not an array of numbers; give one row of floats per transition") from None
        transitions = self.mdp.n_transitions
        if rewards.ndim != 2 or len(rewards) != transitions or rewards.shape[1] == 0:
            raise MDPError(f"rewards has shape {rewards.shape}; give ({transitions}, sources), one row per transition")
        if not np.all(np.isfinite(rewards)):
            row, column = np.argwhere(~np.isfinite(rewards))[0]
            raise MDPError(f"rewards[{row}, {column}] is {rewards[row, column]}; rewards must be finite")
        object.__setattr__(self, "rewards", rewards)
        object.__setattr__(self, "source_names", check_names(self.source_names, rewards.shape[1], "source_names"))

    @staticmethod
    def from_transitions(
        outcomes: Sequence[Mapping[int, Sequence[Outcome]]],
        discount: float,
        source_names: Sequence[str] | None = None,
        **options: Any,
    ) -> VectorRewardMDP:
        """Build from outcomes[state][action] = [(probability, next state or None for the end, rewards), ...].

        Outcomes with probability 0 are dropped. Options are those of `rlbook.mdp_rows.from_rows`. Raises MDPError for
        reward vectors of unequal lengths, and for what is no MDP.
        """
        state_ptr, action, row_ptr = [0], [], [0]
        kept: list[Outcome] = []
        for choices in outcomes:
            for label in sorted(choices):
                some = [each for each in choices[label] if each[0] != 0]
                kept += sorted(some, key=lambda each: each[1] is None)  # a row's ends come last, as the MDP keeps them
                action.append(label)
                row_ptr.append(len(kept))
            state_ptr.append(len(action))
        lengths = {len(rewards) for _, _, rewards in kept}
        if len(lengths) != 1:
            raise MDPError(f"rewards have {sorted(lengths)} entries; give every outcome one reward per source")
        rewards = np.array([rewards for _, _, rewards in kept], dtype=np.float64)
        mdp = from_rows(
            state_ptr=np.array(state_ptr),
            action=np.array(action),
            row_ptr=np.array(row_ptr),
            next_state=np.array([0 if state is None else state for _, state, _ in kept]),
            probability=np.array([probability for probability, _, _ in kept], dtype=np.float64),
            reward=rewards.sum(axis=1),
            terminated=np.array([state is None for _, state, _ in kept]),
            discount=discount,
            **options,
        )
        return VectorRewardMDP(mdp, rewards, None if source_names is None else tuple(source_names))

    @property
    def n_sources(self) -> int:
        """The number d of reward sources."""
        return self.rewards.shape[1]

    @property
    def n_states(self) -> int:
        return self.mdp.n_states

    def source_mdp(self, source: int) -> FiniteMDP:
        """The MDP of one source alone, for everything that takes scalar rewards."""
        require_whole("source", source, 0, self.n_sources - 1)
        return self._paying(self.rewards[:, source])

    def weighted_mdp(self, weights: ArrayLike) -> FiniteMDP:
        """The MDP that pays a weighted sum of the sources; weights: (d,)."""
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != (self.n_sources,):
            raise ParameterError(f"weights has shape {given.shape}; give one weight per source, ({self.n_sources},)")
        return self._paying(self.rewards @ given)

    def length_mdp(self) -> FiniteMDP:
        """The MDP that pays the Euclidean length of each reward vector: its returns bound how far joint ones reach."""
        return self._paying(np.linalg.norm(self.rewards, axis=1))

    def policy_rows(self, policy: ArrayLike) -> VectorRows:
        """What a backup under a policy reads; policy: as in `as_stochastic`."""
        mdp = self.mdp
        entry_ptr, weight, kept = policy_entries(mdp, policy)
        totals = np.add.reduceat(weight, entry_ptr[:-1])
        return VectorRows(
            entry_ptr,
            owned(np.where(mdp.terminated, ZERO, mdp.next_state.astype(np.int64))[kept]),
            owned(weight / np.repeat(totals, np.diff(entry_ptr))),
            owned(self.rewards[kept]),
        )

    def _paying(self, reward: NDArray[np.float64]) -> FiniteMDP:
        expected = np.add.reduceat(self.mdp.probability * reward, self.mdp.row_ptr[:-1])
        return self.mdp.replace(reward=np.ascontiguousarray(reward), expected_reward=expected)
