"""Kernels on discrete laws kept one after another: mixtures of moved laws, quantiles and distribution functions.

Law j owns the places ptr[j] to ptr[j + 1] - 1 of `atom` and `mass`; its atoms increase strictly.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types

from rlbook.kernel import float64, inline, int64, kernel, reads, uint64, writes

LAW_TYPES = (reads(int64), reads(float64), reads(float64))  # ptr, atom, mass
LAWS = types.Tuple(LAW_TYPES)  # the same as one argument, `DiscreteLaws.arrays`
ZERO = -1  # the source of an entry that is the point mass at 0
LEVEL_SLACK = 1e-12  # of a level: a distribution function that falls short by no more has reached it

_ONE = uint64(1)


@inline
def merge(atom: Any, mass: Any, first: Any, middle: Any, end: Any, to_atom: Any, to_mass: Any) -> None:
    """Merge two neighbouring sorted runs of one buffer into the same places of another; equal atoms stay in order."""
    a, b = uint64(first), uint64(middle)
    middle_u, end_u = uint64(middle), uint64(end)
    for at in range(uint64(first), end_u):
        if b >= end_u or (a < middle_u and atom[a] <= atom[b]):
            to_atom[at], to_mass[at] = atom[a], mass[a]
            a += _ONE
        else:
            to_atom[at], to_mass[at] = atom[b], mass[b]
            b += _ONE


@inline
def merge_runs(n_runs: Any, runs: Any, atoms: Any, masses: Any) -> int:
    """Merge sorted runs, of which the r-th starts at runs[0, r], in pairs until one is left; returns its buffer.

    runs: (2, runs + 1); atoms, masses: (2, atoms), buffers that take turns, the first of them filled.
    """
    side, filled = 0, runs[0, n_runs]
    while n_runs > 1:
        other, half = 1 - side, n_runs // 2
        for r in range(half):
            first, middle, end = runs[side, 2 * r], runs[side, 2 * r + 1], runs[side, 2 * r + 2]
            merge(atoms[side], masses[side], first, middle, end, atoms[other], masses[other])
            runs[other, r] = first
        if n_runs % 2 == 1:
            for at in range(runs[side, n_runs - 1], filled):
                atoms[other, at], masses[other, at] = atoms[side, at], masses[side, at]
            runs[other, half] = runs[side, n_runs - 1]
        n_runs = half + n_runs % 2
        runs[other, n_runs] = filled
        side = other
    return side


@njit(nogil=True)  # inlined by LLVM: see `categorical_kernels`
def pick_quantiles(atom: Any, mass: Any, first: Any, end: Any, total: float, levels: Any, out: Any) -> None:
    """Write inf{x: F(x) >= u} for rising levels u, of sorted atoms with masses that sum to `total`; the top for 1."""
    at, last = uint64(first), uint64(end) - _ONE
    reached = mass[at]
    for i in range(uint64(len(levels))):
        wanted = levels[i] * (1.0 - LEVEL_SLACK) * total
        if levels[i] >= 1.0:
            at = last
        while at < last and reached < wanted:
            at += _ONE
            reached += mass[at]
        out[i] = atom[at]


@kernel(
    *(reads(int64), reads(int64), reads(float64), reads(float64), reads(float64), *LAW_TYPES),
    *(writes(int64, 2), writes(float64, 2), writes(float64, 2)),
    *(writes(int64), writes(float64), writes(float64)),
)
def mix_moved_laws(
    entry_ptr: Any,
    source: Any,
    weight: Any,
    offset: Any,
    scale: Any,
    ptr: Any,
    atom: Any,
    mass: Any,
    runs: Any,
    atoms: Any,
    masses: Any,
    out_ptr: Any,
    out_atom: Any,
    out_mass: Any,
) -> None:
    """Write mixture j of the laws of offset[e] + scale[e] X(source[e]), entries e of row j of `entry_ptr`.

    Every entry is a sorted run of its own; runs are merged in pairs until one is left, equal atoms become one, and the
    masses are divided by their sum. runs: (2, most entries of a row + 1); atoms and masses: (2, most atoms of a row).
    """
    out_ptr[0] = 0
    for j in range(len(entry_ptr) - 1):
        n_runs, filled = 0, uint64(0)
        total = 0.0
        for e in range(entry_ptr[j], entry_ptr[j + 1]):
            part, moved, by = weight[e], offset[e], scale[e]
            if part == 0.0:
                continue
            runs[0, n_runs] = filled
            n_runs += 1
            if source[e] == ZERO:
                atoms[0, filled], masses[0, filled] = moved, part
                total += part
                filled += _ONE
                continue
            first, end = uint64(ptr[source[e]]), uint64(ptr[source[e] + 1])
            for k in range(end - first):
                at = first + k if by >= 0.0 else end - _ONE - k
                share = part * mass[at]
                atoms[0, filled], masses[0, filled] = moved + by * atom[at], share
                total += share
                filled += _ONE
        runs[0, n_runs] = filled
        side = merge_runs(n_runs, runs, atoms, masses)
        to = out_ptr[j]
        for at in range(filled):
            share = masses[side, at] / total
            if to > out_ptr[j] and out_atom[to - 1] == atoms[side, at]:
                out_mass[to - 1] += share
            elif share > 0.0:
                out_atom[to], out_mass[to] = atoms[side, at], share
                to += 1
        out_ptr[j + 1] = to


@kernel(*LAW_TYPES, reads(float64, 2), writes(float64, 2))
def lower_quantiles(ptr: Any, atom: Any, mass: Any, levels: Any, out: Any) -> None:
    """Write the lower quantiles of each law at rising levels: its own, (n, levels), or those of all, (1, levels)."""
    shared = len(levels) == 1
    for j in range(len(ptr) - 1):
        pick_quantiles(atom, mass, ptr[j], ptr[j + 1], 1.0, levels[0 if shared else j], out[j])


@kernel(*LAW_TYPES, reads(float64, 2), writes(float64, 2))
def distribution_function(ptr: Any, atom: Any, mass: Any, points: Any, out: Any) -> None:
    """Write F(x) = P(X <= x) for each law and point x, rising, (1, points); 1 from the top atom on."""
    for j in range(len(ptr) - 1):
        at, end = ptr[j], ptr[j + 1]
        reached = 0.0
        for i in range(points.shape[1]):
            while at < end and atom[at] <= points[0, i]:
                reached += mass[at]
                at += 1
            out[j, i] = 1.0 if at == end else min(reached, 1.0)
