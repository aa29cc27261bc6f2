"""Sweeps under one policy: its rows gathered from an MDP, and the evaluation operator applied again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from rlbook.kernel import float64, int32, int64, kernel, reads, uint8, writes
from rlbook.tabular.bellman import PARALLEL_TRANSITIONS, expectation, kernel_arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP


def _gather(
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    expected_reward: Any,
    greedy: Any,
    pointer: Any,
    following: Any,
    mass: Any,
    reward: Any,
) -> None:
    """Copy the continuing rows of the pairs `greedy` into one compressed matrix (S, S)."""
    pointer[0] = 0
    for s in range(len(greedy)):
        pointer[s + 1] = pointer[s] + continuing_end[greedy[s]] - row_ptr[greedy[s]]
    for s in prange(len(greedy)):
        i = greedy[s]
        reward[s] = expected_reward[i]
        to = pointer[s]
        for k in range(row_ptr[i], continuing_end[i]):
            following[to] = next_state[k]
            mass[to] = probability[k]
            to += 1


def _evaluation_sweeps(
    pointer: Any,
    following: Any,
    mass: Any,
    reward: Any,
    gamma: float,
    v: Any,
    scratch: Any,
    away: float,
    towards: float,
    goal: float,
    most: int,
    cancel: Any,
) -> int:
    """Repeat v <- r + gamma P v in place until the gap that its change implies is at most `goal`; return the sweeps.

    `away` and `towards` weigh the greatest and least change as `Contraction.gap_weights` says.
    """
    states = len(reward)
    for sweep in range(most):
        least, greatest = np.inf, -np.inf
        for s in prange(states):
            new = reward[s] + gamma * expectation(mass, following, pointer[s], pointer[s + 1], v)
            scratch[s] = new
            least = min(least, new - v[s])
            greatest = max(greatest, new - v[s])
        for s in prange(states):
            v[s] = scratch[s]
        high = greatest * (away if greatest >= 0 else towards)
        low = least * (away if least <= 0 else towards)
        if high - low <= goal or cancel[0] != 0:
            return sweep + 1
    return most


_GATHER_TYPES = (
    *(reads(int64), reads(int64), reads(int32), reads(float64), reads(float64), writes(int64)),
    *(writes(int64), writes(int32), writes(float64), writes(float64)),
)
_SWEEP_TYPES = (
    *(writes(int64), writes(int32), writes(float64), writes(float64), float64),
    *(writes(float64), writes(float64), float64, float64, float64, int64, writes(uint8)),
)

gather_serial = kernel(*_GATHER_TYPES)(_gather)
gather_parallel = kernel(*_GATHER_TYPES, parallel=True)(_gather)
evaluation_sweeps_serial = kernel(*_SWEEP_TYPES)(_evaluation_sweeps)
evaluation_sweeps_parallel = kernel(*_SWEEP_TYPES, parallel=True)(_evaluation_sweeps)


class GreedyRows:
    """Room for the rows of one deterministic policy of an MDP, reused from policy to policy.

    Memory: one copy of the longest row of each state, and one vector.
    """

    def __init__(self, mdp: FiniteMDP) -> None:
        states = mdp.n_states
        lengths = np.maximum.reduceat(mdp.continuing_end - mdp.row_ptr[:-1], mdp.state_ptr[:-1])
        room = int(lengths.sum())
        self.cost = room / max(mdp.n_transitions, 1)
        self._arguments = kernel_arguments(mdp)
        self._discount = mdp.discount
        self._rows = (np.empty(states + 1, np.int64), np.empty(room, np.int32), np.empty(room), np.empty(states))
        self._scratch = np.empty(states)
        self._gather = gather_parallel if mdp.n_transitions >= PARALLEL_TRANSITIONS else gather_serial
        self._sweeps = evaluation_sweeps_parallel if room >= PARALLEL_TRANSITIONS else evaluation_sweeps_serial

    def gather(self, greedy: NDArray[np.int64]) -> None:
        """Take the rows of the pairs `greedy`, int64 (S,)."""
        self._gather(*self._arguments[1:6], greedy, *self._rows)

    def sweep(
        self,
        v: NDArray[np.float64],
        gap_weights: tuple[float, float],
        goal: float,
        most: int,
        cancel: NDArray[np.uint8] | None = None,
    ) -> int:
        """Evaluate in place until the gap implied by a sweep's changes is at most `goal`; return the sweeps done."""
        flag = np.zeros(1, dtype=np.uint8) if cancel is None else cancel
        return int(self._sweeps(*self._rows, self._discount, v, self._scratch, *gap_weights, goal, most, flag))
