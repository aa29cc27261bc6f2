"""The two passes over all pairs of a model that is given by functions: one examines and counts, one fills.

Kernels run without the interpreter and in several threads, where an exception or a write beyond the end of an array
would be lost, or worse. So the functions are first called behind a guard on every pair, and all that is kept of what
goes wrong is the first state where it did; `what_is_wrong` then looks there again in Python, which can say what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import prange, types

from rlbook.errors import Cancelled
from rlbook.kernel import Kernel, float64, inline, int32, int64, kernel_of_functions, uint8, writes
from rlbook.mdp_validation import MASS_TOLERANCE
from rlbook.model_functions import GUARD, UNTOUCHED, ModelFunctions, what_is_wrong

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORTH_PARALLEL = 2_000_000  # successors in a pass, about 10 ms; below, threads save less than their compilation takes

_SIZES = (int64, int64, int64)
_ROWS = types.Tuple(
    [writes(int32), writes(int64), writes(int64), writes(int32), writes(float64), writes(float64)],
)


@dataclass(frozen=True)
class Examination:
    """What a pass over all pairs found. Masses are sums of a row's continuing probabilities, as computed."""

    pairs: int
    transitions: int
    longest_row: int
    least_mass: float
    greatest_mass: float
    largest_reward: float


@inline
def block_size(states: int) -> int:
    """States in a portion of work: set by the model alone, small enough for 64 portions where there are as many."""
    return min(max(states // 64, 1), 1024)


def blocks(states: int) -> int:
    """How many portions there are."""
    return -(-states // int(block_size.py_func(states)))


def in_blocks(signature: tuple[Any, ...], drive: Callable[..., Any]) -> tuple[Kernel, Kernel]:
    """A driver over portions of states as two kernels, serial and parallel."""
    return kernel_of_functions(*signature)(drive), kernel_of_functions(*signature, parallel=True)(drive)


def run_examination(
    functions: ModelFunctions,
    sizes: tuple[int, int, int],
    cancel: NDArray[np.uint8] | None,
    counts: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Examination:
    """Call the functions on every pair; raise MDPError for the first state where a rule is broken.

    sizes: states, actions, room for successors. cancel: a flag polled between portions; Cancelled is raised then.
    counts: where to write pairs and transitions of state s at s + 1, (S + 1,) each.
    """
    portions = blocks(sizes[0])
    flag = np.zeros(1, np.uint8) if cancel is None else cancel
    pairs_of, entries_of = counts or (np.empty(0, np.int64), np.empty(0, np.int64))
    found, reach = np.empty((portions, 4), np.int64), np.empty((portions, 3))
    _examine_kernels(functions)[_is_large(sizes)](*sizes, pairs_of, entries_of, found, reach, flag)
    if flag[0]:
        raise Cancelled
    _refuse_broken(functions, sizes, found[:, 0])
    return Examination(
        pairs=int(found[:, 1].sum()),
        transitions=int(found[:, 2].sum()),
        longest_row=int(found[:, 3].max()),
        least_mass=float(reach[:, 0].min()),
        greatest_mass=float(reach[:, 1].max()),
        largest_reward=float(reach[:, 2].max()),
    )


def run_filling(
    functions: ModelFunctions,
    sizes: tuple[int, int, int],
    state_ptr: NDArray[np.int64],
    entry_ptr: NDArray[np.int64],
    rows: tuple[NDArray[Any], ...],
) -> None:
    """Write rows where the pointers (S + 1,) say; raise MDPError where the functions answer as they did not before.

    rows: action, row_ptr, continuing_end, next_state, probability, expected_reward, as in `FiniteMDP`.
    """
    found = np.empty((blocks(sizes[0]), 1), np.int64)
    _fill_kernels(functions)[_is_large(sizes)](*sizes, state_ptr, entry_ptr, rows, found)
    _refuse_broken(functions, sizes, found[:, 0])


def _is_large(sizes: tuple[int, int, int]) -> bool:
    return sizes[0] * sizes[1] * sizes[2] >= WORTH_PARALLEL


def _refuse_broken(functions: ModelFunctions, sizes: tuple[int, int, int], found: NDArray[np.int64]) -> None:
    broken = found[found >= 0]
    if len(broken):
        states, actions, room = sizes
        raise what_is_wrong(functions, int(broken[0]), states, actions, room)


@lru_cache(maxsize=16)
def _guarded_call(functions: ModelFunctions) -> Any:
    successors, reward, feasible = functions.successors, functions.reward, functions.feasible

    @numba.njit(nogil=True)
    def call(state: int, action: int, following: Any, mass: Any) -> tuple[int, float]:
        """How many successors were written (-1: a wrong number, or an exception; 0: infeasible), and the reward."""
        try:
            if not feasible(state, action):
                return 0, 0.0
            paid = float(reward(state, action))
            if paid == -np.inf:
                return 0, 0.0
            count = int(successors(state, action, following, mass))
            return (count if 0 < count <= len(following) else -1), paid
        except Exception:
            return -1, 0.0

    return call


@lru_cache(maxsize=16)
def _examine_kernels(functions: ModelFunctions) -> tuple[Kernel, Kernel]:
    call = _guarded_call(functions)

    @numba.njit(nogil=True)
    def examine_state(s: int, sizes: Any, following: Any, mass: Any, counts: Any, reach: Any) -> bool:
        """Add what is found in state s to `counts` and `reach`; return whether all rules hold."""
        states, actions, room = sizes
        following_room, mass_room = following[GUARD : GUARD + room], mass[GUARD : GUARD + room]
        pairs = 0
        for a in range(actions):
            following_room[:], mass_room[:] = UNTOUCHED, -float(UNTOUCHED)
            count, paid = call(s, a, following_room, mass_room)
            if count == 0:
                continue
            good = count > 0 and np.isfinite(paid)
            total, continuing, length = 0.0, 0.0, 0
            for k in range(count):
                p = mass_room[k]
                good = good and p >= 0 and following_room[k] < states
                total += p
                if p > 0:
                    counts[1] += 1
                    if following_room[k] >= 0:
                        continuing += p
                        length += 1
            if not (good and abs(total - 1.0) <= MASS_TOLERANCE):
                return False
            pairs += 1
            counts[2] = max(counts[2], length)
            reach[0] = min(reach[0], continuing)
            reach[1] = max(reach[1], continuing)
            reach[2] = max(reach[2], abs(paid))
        counts[0] += pairs
        for k in range(GUARD):
            if following[k] != UNTOUCHED or following[GUARD + room + k] != UNTOUCHED:
                return False
            if mass[k] != -float(UNTOUCHED) or mass[GUARD + room + k] != -float(UNTOUCHED):
                return False
        return pairs > 0

    @numba.njit(nogil=True)
    def examine_block(first: int, end: int, sizes: Any, pairs_of: Any, entries_of: Any, found: Any, reach: Any) -> None:
        following = np.full(sizes[2] + 2 * GUARD, UNTOUCHED, np.int64)
        mass = np.full(sizes[2] + 2 * GUARD, -float(UNTOUCHED))
        counts = found[1:]
        found[0], counts[:] = -1, 0
        reach[0], reach[1], reach[2] = np.inf, 0.0, 0.0
        for s in range(first, end):
            pairs, entries = counts[0], counts[1]
            if not examine_state(s, sizes, following, mass, counts, reach):
                found[0] = s
                return
            if len(pairs_of) > 0:
                pairs_of[s + 1], entries_of[s + 1] = counts[0] - pairs, counts[1] - entries

    def examine(
        states: int, actions: int, room: int, pairs_of: Any, entries_of: Any, found: Any, reach: Any, cancel: Any
    ) -> None:
        """Write what is found in each portion of states into a row of `found` and of `reach`."""
        size = block_size(states)
        for block in prange(len(found)):
            if cancel[0] == 0:
                first, end = block * size, min((block + 1) * size, states)
                examine_block(first, end, (states, actions, room), pairs_of, entries_of, found[block], reach[block])

    tables = (writes(int64), writes(int64), writes(int64, 2), writes(float64, 2), writes(uint8))
    return in_blocks((*_SIZES, *tables), examine)


@lru_cache(maxsize=16)
def _fill_kernels(functions: ModelFunctions) -> tuple[Kernel, Kernel]:
    call = _guarded_call(functions)

    @numba.njit(nogil=True)
    def fill_state(s: int, actions: int, following: Any, mass: Any, span: Any, rows: Any) -> bool:
        """Write the pairs and entries of state s into their `span`; return whether they fill it exactly."""
        action, row_ptr, continuing_end, next_state, probability, expected_reward = rows
        i, last_pair, at, last_entry = span
        for a in range(actions):
            count, paid = call(s, a, following, mass)
            if count == 0:
                continue
            if count < 0 or i == last_pair:
                return False
            action[i], expected_reward[i], row_ptr[i] = a, paid, at
            for ending in (False, True):
                for k in range(count):
                    if mass[k] > 0 and (following[k] < 0) == ending:
                        if at == last_entry:
                            return False
                        next_state[at] = s if ending else following[k]
                        probability[at] = mass[k]
                        at += 1
                if not ending:
                    continuing_end[i] = at
            i += 1
        return i == last_pair and at == last_entry

    @numba.njit(nogil=True)
    def fill_block(
        first: int, end: int, actions: int, room: int, state_ptr: Any, entry_ptr: Any, rows: Any, found: Any
    ) -> None:
        following, mass = np.empty(room, np.int64), np.empty(room)
        found[0] = -1
        for s in range(first, end):
            span = (state_ptr[s], state_ptr[s + 1], entry_ptr[s], entry_ptr[s + 1])
            if not fill_state(s, actions, following, mass, span, rows):
                found[0] = s
                return

    def fill(states: int, actions: int, room: int, state_ptr: Any, entry_ptr: Any, rows: Any, found: Any) -> None:
        """Write the rows of all states, portion by portion."""
        size = block_size(states)
        for block in prange(len(found)):
            first, end = block * size, min((block + 1) * size, states)
            fill_block(first, end, actions, room, state_ptr, entry_ptr, rows, found[block])

    return in_blocks((*_SIZES, writes(int64), writes(int64), _ROWS, writes(int64, 2)), fill)
