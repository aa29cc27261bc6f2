"""Kernels of the categorical representation: the Cramer projection, alone and fused with a backup of return laws.

An atom x of mass p between the target atoms z_a and z_{a+1} gives them p (1 - f) and p f with
f = (x - z_a) / (z_{a+1} - z_a); beyond the ends all goes to the nearest one (Bellemare, Dabney & Munos 2017, eq. 7;
Rowland et al. 2018, proposition 1: this is the projection in Cramer distance).

How it is fast, measured on 51 atoms (AMD EPYC, one core). Where an atom falls and what goes up is found first, for 64
atoms at a time with vector instructions; what goes down and what goes up is added to two rows instead of one, since in
one row each addition would wait for the one before. Together that takes three quarters of the time of a plain loop,
checks included. A sweep mixes the successors' laws before it projects, as the projection is linear; the rows that it
will need are asked for beforehand, which halves its time where they lie anywhere in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, prange
from numba.core import cgutils, types
from numba.extending import intrinsic

from rlbook.kernel import boolean, float64, int64, kernel, reads, uint64, writes
from rlbook.tabular.distributional.sweep_arguments import SWEEP_TYPES

_BLOCK = 64  # laws that one thread takes at a time
_PIECE = 64  # atoms of a law that are placed at a time
_ROWS = 16  # rows of successors that are asked for beforehand
_MASS_TOLERANCE = 2e-9  # twice that of laws, as sums are rounded, too
_LINES = 8  # cache lines of a row; beyond them the hardware has seen the pattern

# Inlined by LLVM. Inlined by Numba (`rlbook.kernel.inline`), the references to a helper's arrays were counted for each
# law, and a projection took half as long again.
_helper = njit(nogil=True, error_model="numpy")

_ONE, _FOUR, _LINE = uint64(1), uint64(4), uint64(8)


def _asks(context: Any, array: Any, offset: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, word(0), word(3), word(1)])  # to read, to be kept near, data
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


_prefetch: Any = intrinsic(_asks)  # (array, offset): ask for the cache line of array[offset], without waiting for it


@_helper
def spread_evenly(t: Any, mass: Any, first: Any, count: Any, top: float, at: Any, up: Any, down: Any) -> None:
    """Where `count` atoms go that lie t[j] steps above the first of evenly spaced target atoms, and how much goes up.

    Comparisons are written so that what is no number counts as 0 and is never an index.
    """
    for j in range(uint64(count)):
        x = t[j] if t[j] > 0.0 else 0.0
        x = x if x < top else top
        a = np.floor(x)
        at[j] = int64(a)
        up[j] = mass[first + j] * (x - a)
        down[j] = mass[first + j] - up[j]


@_helper
def spread_unevenly(
    x: Any, mass: Any, first: Any, count: Any, a: Any, atoms: Any, inverse_gap: Any, at: Any, up: Any, down: Any
) -> Any:
    """As `spread_evenly`, for atoms at x[j], from target a on; returns where the last one fell.

    Sorted atoms make one walk over the targets; one that lies below its predecessor is found by bisection.
    """
    last = uint64(len(atoms) - 1)
    for j in range(uint64(count)):
        v = x[j] if x[j] > atoms[0] else atoms[0]
        v = v if v < atoms[last] else atoms[last]
        if v < atoms[a]:
            lowest = uint64(0)
            while lowest < a:
                middle = (lowest + a) >> _ONE
                if atoms[middle + _ONE] <= v:
                    lowest = middle + _ONE
                else:
                    a = middle
        while a < last and v >= atoms[a + _ONE]:
            a += _ONE
        at[j] = int64(a)
        share = (v - atoms[a]) * inverse_gap[a]
        up[j] = mass[first + j] * (share if share < 1.0 else 1.0)
        down[j] = mass[first + j] - up[j]
    return a


@_helper
def add_shares(count: Any, at: Any, up: Any, down: Any, stays: Any, rises: Any) -> None:
    for j in range(uint64(count)):
        a = uint64(at[j])
        stays[a] += down[j]
        rises[a] += up[j]


_PROJECT_TYPES = (
    reads(int64),  # ptr
    reads(float64),  # places
    reads(float64),  # mass
    boolean,  # shared
    reads(float64),  # atoms
    reads(float64),  # inverse_gap
    boolean,  # even
    writes(float64, 2),  # out
)


def _project(
    ptr: Any, places: Any, mass: Any, shared: bool, atoms: Any, inverse_gap: Any, even: bool, out: Any
) -> None:
    """Project law i, with masses mass[ptr[i]:ptr[i + 1]], onto `atoms`, into out[i], (k,).

    places: where the masses lie, beside them, or one list for all laws if `shared`. inverse_gap: 1 / (z_{a+1} - z_a), 0
    for the last. even: whether all gaps are the same. out[i, 0] is nan where a place is not finite, or a mass is
    negative or not finite.
    """
    laws, k = len(ptr) - 1, len(atoms)
    low, per_step, top = atoms[0], inverse_gap[0], float64(k - 1)
    for block in prange((laws + _BLOCK - 1) // _BLOCK):
        stays, rises = np.empty(k), np.empty(k)
        t, up, down, at = np.empty(_PIECE), np.empty(_PIECE), np.empty(_PIECE), np.empty(_PIECE, np.int64)
        for i in range(block * _BLOCK, min(laws, (block + 1) * _BLOCK)):
            stays[:] = 0.0
            rises[:] = 0.0
            bad, a = np.int64(0), uint64(0)
            own = ptr[i] if shared else 0
            for begin in range(ptr[i], ptr[i + 1], _PIECE):
                count, first, place = min(_PIECE, ptr[i + 1] - begin), uint64(begin), uint64(begin - own)
                for j in range(uint64(count)):
                    x = places[place + j]
                    bad += np.int64(not (mass[first + j] >= 0.0 and abs(x) < np.inf and mass[first + j] < np.inf))
                    t[j] = x
                if even:
                    for j in range(uint64(count)):
                        t[j] = (t[j] - low) * per_step
                    spread_evenly(t, mass, first, count, top, at, up, down)
                else:
                    a = spread_unevenly(t, mass, first, count, a, atoms, inverse_gap, at, up, down)
                add_shares(count, at, up, down, stays, rises)
            out[i, 0] = np.nan if bad > 0 else stays[0]
            for j in range(1, k):
                out[i, j] = stays[j] + rises[j - 1]


project_serial = kernel(*_PROJECT_TYPES)(_project)
project_parallel = kernel(*_PROJECT_TYPES, parallel=True)(_project)


_SWEEP_TYPES = (
    *SWEEP_TYPES,
    reads(float64),  # laws
    reads(float64),  # atoms
    reads(float64),  # inverse_gap
    boolean,  # even
    int64,  # ahead
    writes(float64, 2),  # out
)


@_helper
def _ask_for(row_ptr: Any, continuing_end: Any, next_state: Any, i: Any, laws: Any, k: Any) -> None:
    """Ask for the laws of the first successors of pair i."""
    for q in range(uint64(row_ptr[i]), uint64(min(continuing_end[i], row_ptr[i] + _ROWS))):
        base = uint64(next_state[q]) * k
        for line in range(uint64(0), min(k, _LINE * uint64(_LINES)), _LINE):
            _prefetch(laws, base + line)
        _prefetch(laws, base + k - _ONE)


@_helper
def _mix(next_state: Any, probability: Any, first: Any, end: Any, w: float, laws: Any, k: Any, mixed: Any) -> float:
    """Write the mixture of the successors' laws, w * probability each, into `mixed`, (k,); return its mass."""
    mixed[:] = 0.0
    total = 0.0
    q, stop = uint64(first), uint64(end)
    while q + _FOUR <= stop:
        if q + uint64(_ROWS) + _FOUR <= stop:
            for n in range(q + uint64(_ROWS), q + uint64(_ROWS) + _FOUR):
                for line in range(uint64(0), min(k, _LINE * uint64(_LINES)), _LINE):
                    _prefetch(laws, uint64(next_state[n]) * k + line)
        w0, w1 = w * probability[q], w * probability[q + _ONE]
        w2, w3 = w * probability[q + uint64(2)], w * probability[q + uint64(3)]
        s0, s1 = uint64(next_state[q]) * k, uint64(next_state[q + _ONE]) * k
        s2, s3 = uint64(next_state[q + uint64(2)]) * k, uint64(next_state[q + uint64(3)]) * k
        for j in range(k):
            mixed[j] += (w0 * laws[s0 + j] + w1 * laws[s1 + j]) + (w2 * laws[s2 + j] + w3 * laws[s3 + j])
        total += (w0 + w1) + (w2 + w3)
        q += _FOUR
    while q < stop:
        w0, s0 = w * probability[q], uint64(next_state[q]) * k
        for j in range(k):
            mixed[j] += w0 * laws[s0 + j]
        total += w0
        q += _ONE
    return total


def _evaluation_sweep(
    state_ptr: Any,
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    expected_reward: Any,
    reward: Any,
    weight: Any,
    gamma: float,
    laws: Any,
    atoms: Any,
    inverse_gap: Any,
    even: bool,
    ahead: int,
    out: Any,
) -> int:
    """Write the projected backup of `laws`, (S * k,), into `out`, (S, k), under the policy `weight`, (pairs,).

    Neighbouring transitions of a pair that pay the same are mixed first and projected together. reward: (transitions,),
    or (0,) where each transition of a pair pays `expected_reward`. ahead: how many pairs beforehand rows are asked for.
    Returns how many rows of `out` are no laws, which only laws make that are none themselves.
    """
    states, size = len(state_ptr) - 1, len(atoms)
    varies, k, top = len(reward) > 0, uint64(size), float64(size - 1)
    low, per_step = atoms[0], inverse_gap[0]
    bad = 0
    for block in prange((states + _BLOCK - 1) // _BLOCK):
        stays, rises, mixed = np.empty(size), np.empty(size), np.empty(size)
        t, up, down, at = np.empty(size), np.empty(size), np.empty(size), np.empty(size, np.int64)
        end_state = min(states, (block + 1) * _BLOCK)
        used = np.empty(state_ptr[end_state] - state_ptr[block * _BLOCK], np.int64)
        taken = 0
        for i in range(state_ptr[block * _BLOCK], state_ptr[end_state]):
            used[taken] = i
            taken += int64(weight[i] > 0.0)
        u = 0
        for s in range(block * _BLOCK, end_state):
            stays[:] = 0.0
            rises[:] = 0.0
            total = 0.0
            while u < taken and used[u] < state_ptr[s + 1]:
                i = used[u]
                if u + ahead < taken:
                    _ask_for(row_ptr, continuing_end, next_state, used[u + ahead], laws, k)
                w, q = weight[i], row_ptr[i]
                while q < row_ptr[i + 1]:
                    r = reward[q] if varies else expected_reward[i]
                    goes_on = q < continuing_end[i]
                    end, stop = q + 1, continuing_end[i] if goes_on else row_ptr[i + 1]
                    if varies:
                        while end < stop and reward[end] == r:
                            end += 1
                    else:
                        end = stop
                    count, gamma_now = size, gamma
                    if goes_on:
                        total += _mix(next_state, probability, q, end, w, laws, k, mixed)
                    else:
                        count, gamma_now = 1, 0.0
                        mixed[0] = 0.0
                        for n in range(uint64(q), uint64(end)):
                            mixed[0] += w * probability[n]
                        total += mixed[0]
                    if even:
                        start = (r - (1.0 - gamma_now) * low) * per_step
                        for j in range(uint64(count)):
                            t[j] = start + gamma_now * float64(j)
                        spread_evenly(t, mixed, uint64(0), count, top, at, up, down)
                    else:
                        for j in range(uint64(count)):
                            t[j] = r + gamma_now * atoms[j]
                        spread_unevenly(t, mixed, uint64(0), count, uint64(0), atoms, inverse_gap, at, up, down)
                    add_shares(count, at, up, down, stays, rises)
                    q = end
                u += 1
            scale = 1.0 / total
            out[s, 0] = stays[0] * scale
            for j in range(1, size):
                out[s, j] = (stays[j] + rises[j - 1]) * scale
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(0, size - 3, 4):
                a, b = a + abs(out[s, j]), b + abs(out[s, j + 1])
                c, d = c + abs(out[s, j + 2]), d + abs(out[s, j + 3])
            for j in range(size - size % 4, size):
                a += abs(out[s, j])
            bad += not abs((a + b) + (c + d) - 1.0) <= _MASS_TOLERANCE
    return bad


evaluation_sweep_serial = kernel(*_SWEEP_TYPES)(_evaluation_sweep)
evaluation_sweep_parallel = kernel(*_SWEEP_TYPES, parallel=True)(_evaluation_sweep)
