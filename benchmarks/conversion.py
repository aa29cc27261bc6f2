"""One MDP in the forms that other libraries take, all from the same arrays.

None of them knows termination: terminating transitions lead to one more state here, which pays nothing for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from rlbook.mdp import FiniteMDP


@dataclass(frozen=True)
class Rows:
    """A sparse matrix with one row per pair, (pairs, S), rewards per pair, and the pair's state and action label."""

    transition: sp.csr_matrix
    reward: NDArray[np.float64]
    state: NDArray[np.int64]
    action: NDArray[np.int64]
    discount: float

    @property
    def n_states(self) -> int:
        return int(self.transition.shape[1])

    @property
    def n_actions(self) -> int:
        return int(self.action.max()) + 1

    @property
    def state_ptr(self) -> NDArray[np.int64]:
        """The pairs of state s are state_ptr[s] to state_ptr[s + 1]."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.state, minlength=self.n_states))])

    @property
    def density(self) -> float:
        return float(self.transition.nnz / np.prod(self.transition.shape, dtype=float))

    def backup(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """T v, (S,)."""
        worth = self.reward + self.discount * (self.transition @ values)
        return np.asarray(np.maximum.reduceat(worth, self.state_ptr[:-1]))

    def shifted(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The middle of MacQueen's bounds around T v: what a rule on the span of T v - v promises to be accurate."""
        backed_up = self.backup(values)
        change = backed_up - values
        middle = (float(change.min()) + float(change.max())) / 2
        return backed_up + self.discount / (1 - self.discount) * middle


def rows_of(mdp: FiniteMDP) -> Rows:
    """The MDP without termination; has one more state where the MDP terminates."""
    transition = mdp.continuing_matrix()
    reward, state, action = mdp.expected_reward, mdp.pair_state.astype(np.int64), mdp.action.astype(np.int64)
    if mdp.terminates:
        leaving = sp.csr_matrix(np.clip(1 - mdp.continuation, 0.0, 1.0)).T
        absorbed = sp.csr_matrix(([1.0], ([0], [mdp.n_states])), shape=(1, mdp.n_states + 1))
        transition = sp.csr_matrix(sp.vstack([sp.hstack([transition, leaving]), absorbed]))
        reward, state, action = np.append(reward, 0.0), np.append(state, mdp.n_states), np.append(action, 0)
    return Rows(transition, np.array(reward), state, action, mdp.discount)


def as_lists(rows: Rows) -> dict[str, Any]:
    """Rewards [state][choice], probabilities and columns [state][choice][entry], as nested lists."""
    pointer, matrix = rows.state_ptr.tolist(), rows.transition
    ends = matrix.indptr.tolist()

    def nested(flat: list[Any]) -> list[list[list[Any]]]:
        choices = [flat[a:b] for a, b in pairwise(ends)]
        return [choices[a:b] for a, b in pairwise(pointer)]

    reward = rows.reward.tolist()
    return {
        "rewards": [reward[a:b] for a, b in pairwise(pointer)],
        "tranMatProbs": nested(matrix.data.tolist()),
        "tranMatColumns": nested(matrix.indices.tolist()),
    }


def as_matrices(rows: Rows) -> tuple[list[sp.csr_matrix], NDArray[np.float64]]:
    """One sparse matrix (S, S) per action, and rewards (S, A); an action that a state lacks repeats its first one."""
    actions = rows.n_actions
    pair = np.repeat(rows.state_ptr[:-1, None], actions, axis=1)
    pair[rows.state, rows.action] = np.arange(len(rows.state))
    return [rows.transition[pair[:, action]] for action in range(actions)], rows.reward[pair]
