"""Kernels over (state, return so far): one backup, one step of a law forwards, and one step of sampled episodes.

`kind` names the reward of each transition. jump[kind, j] is where return j of this stage goes with it, among the
returns of the next stage, and leave[kind, j] among those with which episodes end there. Arrays over states and returns
are (S, returns), so that the inner loops run along returns; reach[s] are the first and the end of those that a state
can be in, and nothing else is read or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from rlbook.kernel import float64, int32, int64, kernel, reads, uint8, writes
from rlbook.keyed_random import bits, stream_key, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = types.Tuple(
    (
        reads(int64),  # state_ptr
        reads(int64),  # row_ptr
        reads(int64),  # continuing_end
        reads(int32),  # next_state
        reads(float64),  # probability
        reads(int32),  # kind
        reads(int64, 2),  # jump
        reads(int64, 2),  # leave
        reads(int64, 2),  # reach
    )
)


@kernel(ROWS, reads(float64), reads(float64, 2), writes(float64, 2), writes(int32, 2))
def augmented_backup(
    rows: Any,
    ended: NDArray[np.float64],
    following: NDArray[np.float64],
    out: NDArray[np.float64],
    chosen: NDArray[np.int32],
) -> None:
    """out[s, j]: the least expected score; chosen: which of the state's actions attains it, the first of several.

    ended: scores of episodes that end with each return. following: scores of its states.
    """
    state_ptr, row_ptr, continuing_end, next_state, probability, kind, jump, leave, reach = rows
    total = np.empty(jump.shape[1])
    for s in range(len(state_ptr) - 1):
        first, low, high = state_ptr[s], reach[s, 0], reach[s, 1]
        if low == high:
            continue
        for i in range(first, state_ptr[s + 1]):
            total[low:high] = 0.0
            for k in range(row_ptr[i], row_ptr[i + 1]):
                p = probability[k]
                if k < continuing_end[i]:
                    row, to = following[next_state[k]], jump[kind[k]]
                    for j in range(low, high):
                        total[j] += p * row[to[j]]
                else:
                    out_of = leave[kind[k]]
                    for j in range(low, high):
                        total[j] += p * ended[out_of[j]]
            if i == first:
                for j in range(low, high):
                    out[s, j], chosen[s, j] = total[j], 0
            else:
                for j in range(low, high):
                    if total[j] < out[s, j]:
                        out[s, j], chosen[s, j] = total[j], i - first


@kernel(ROWS, reads(int32, 2), reads(float64, 2), writes(float64, 2), writes(float64))
def augmented_step(
    rows: Any,
    chosen: NDArray[np.int32],
    mass: NDArray[np.float64],
    out: NDArray[np.float64],
    ended: NDArray[np.float64],
) -> None:
    """Probabilities of state and return one step later, and of episodes that end there; both start as zeros."""
    state_ptr, row_ptr, continuing_end, next_state, probability, kind, jump, leave, reach = rows
    for s in range(len(state_ptr) - 1):
        for j in range(reach[s, 0], reach[s, 1]):
            here = mass[s, j]
            if here > 0.0:
                i = state_ptr[s] + chosen[s, j]
                for k in range(row_ptr[i], row_ptr[i + 1]):
                    if k < continuing_end[i]:
                        out[next_state[k], jump[kind[k], j]] += here * probability[k]
                    else:
                        ended[leave[kind[k], j]] += here * probability[k]


@kernel(
    ROWS,
    *(reads(float64), reads(int32, 2), int64, int64, float64),
    *(writes(int64), writes(int64), writes(float64), writes(uint8)),
)
def sampled_step(
    rows: Any,
    reward: NDArray[np.float64],
    chosen: NDArray[np.int32],
    seed: int,
    stage: int,
    weight: float,
    state: NDArray[np.int64],
    place: NDArray[np.int64],
    gained: NDArray[np.float64],
    alive: NDArray[np.uint8],
) -> None:
    """Move each episode that is alive by one transition; `gained` adds up true rewards (by kind), not rounded ones."""
    state_ptr, row_ptr, continuing_end, next_state, probability, kind, jump, _, _ = rows
    key = stream_key(seed, 0, stage + 1)
    for n in range(len(state)):
        if alive[n]:
            i = state_ptr[state[n]] + chosen[state[n], place[n]]
            left = uniform(bits(key, n, 0))
            k = row_ptr[i]
            while k + 1 < row_ptr[i + 1] and left >= probability[k]:
                left -= probability[k]
                k += 1
            gained[n] += weight * reward[kind[k]]
            alive[n] = k < continuing_end[i]
            if alive[n]:
                place[n] = jump[kind[k], place[n]]
                state[n] = next_state[k]
