"""Kernels of expectiles: those of discrete laws, exactly, and laws that have given ones.

For a level t, the expectile e is where t E(X - e)^+ = (1 - t) E(e - X)^+ (Newey & Powell 1987). With the mean m and
C(e) = E(X - e)^+, which falls and is convex, that is

    C(e) = (1 - t) (e - m) / (2 t - 1)        for t other than 1/2;       e = m for t = 1/2
"""

from __future__ import annotations

from typing import Any

from numba import njit

from rlbook.kernel import float64, inline, kernel, reads, uint64, writes
from rlbook.tabular.distributional.laws_kernels import LAW_TYPES


@kernel(*LAW_TYPES, reads(float64), writes(float64, 2))
def expectiles(ptr: Any, atom: Any, mass: Any, levels: Any, out: Any) -> None:
    """Write the expectiles of each law at rising levels, (n, levels).

    t E(X - e)^+ - (1 - t) E(e - X)^+ falls in e and is linear between atoms, so one walk over them finds all roots.
    Atoms are taken from the mean, so that nothing cancels.
    """
    for j in range(len(ptr) - 1):
        first, last = uint64(ptr[j]), uint64(ptr[j + 1] - 1)
        total, mean = 0.0, 0.0
        for k in range(first, last + uint64(1)):
            total += mass[k]
            mean += mass[k] * (atom[k] - atom[first])
        mean = atom[first] + mean / total
        drift = 0.0
        for k in range(first, last + uint64(1)):
            drift += mass[k] * (atom[k] - mean)
        below, moment, at = 0.0, 0.0, first  # of the atoms before `at`
        for i in range(uint64(len(levels))):
            t = levels[i]
            while at < last:
                x = atom[at] - mean
                above = drift - moment - x * (total - below)
                if t * above <= (1.0 - t) * (x * below - moment):
                    break
                below += mass[at]
                moment += mass[at] * x
                at += uint64(1)
            rest = total - below
            root = (t * (drift - moment) + (1.0 - t) * moment) / (t * rest + (1.0 - t) * below)
            e = mean + root
            e = e if e < atom[at] else atom[at]
            out[j, i] = e if at == first or e > atom[at - uint64(1)] else atom[at - uint64(1)]


@inline
def _rises_too_late(x: Any, y: Any, n: Any, new_x: float, new_y: float) -> Any:
    """Whether point n - 1 lies on or above the line from point n - 2 to the new one."""
    return (y[n - 1] - y[n - 2]) * (new_x - x[n - 1]) >= (new_y - y[n - 1]) * (x[n - 1] - x[n - 2])


@njit(nogil=True, error_model="numpy")
def impute_row(given: Any, levels: Any, tolerance: Any, x: Any, y: Any, atoms: Any, masses: Any) -> None:
    """Write atoms and masses, (m,) each, of a law whose expectiles at rising levels are `given`; see `impute`."""
    m = len(levels)
    mean = given[m // 2]
    size = abs(mean)
    for i in range(m):
        atoms[i], masses[i] = mean, 0.0
        size = max(size, abs(given[i] - mean))
    n = 0
    for i in range(m):
        e = given[i] - mean
        outwards = e < 0.0 if i < m // 2 else e > 0.0
        if i == m // 2 or not outwards or abs(e) <= tolerance * size:
            continue
        c = (1.0 - levels[i]) * e / (2.0 * levels[i] - 1.0)
        if n > 0 and e <= x[n - 1]:
            continue
        while n > 1 and _rises_too_late(x, y, n, e, c):
            n -= 1
        if n == 1 and c - y[0] <= x[0] - e:
            n = 0
        x[n], y[n] = e, c
        n += 1
    while n > 1 and y[n - 1] >= y[n - 2]:
        n -= 1
    if n == 0:
        masses[m // 2] = 1.0
        return
    slope = (y[1] - y[0]) / (x[1] - x[0]) if n > 1 else -0.5
    # The first line meets -e: y0 + slope (e - x0) = -e, with 1 + slope as the mass that starts there.
    start = (slope * x[0] - y[0]) / (1.0 + slope)
    atoms[0], masses[0] = mean + start, 1.0 + slope
    for i in range(1, n - 1):
        following = (y[i + 1] - y[i]) / (x[i + 1] - x[i])
        atoms[i], masses[i] = mean + x[i], following - slope
        slope = following
    top = max(n - 1, 1)  # one point alone has a line through it, and so two atoms
    atoms[top], masses[top] = mean + x[n - 1] - y[n - 1] / slope, -slope


@kernel(
    *(reads(float64, 2), reads(float64), float64, writes(float64), writes(float64)),
    *(writes(float64, 2), writes(float64, 2)),
)
def impute(given: Any, levels: Any, tolerance: float, x: Any, y: Any, atoms: Any, masses: Any) -> None:
    """Write m atoms and masses, (n, m) each, of laws whose expectiles at rising levels are the rows of `given`.

    The middle level is 1/2. C is known at the other expectiles; there it is joined by straight lines, the outer ones
    going on until they meet m - e on the left and 0 on the right; masses are what its slope rises by. Points above the
    lower convex hull of the others and those two lines are passed over: no law has such expectiles. Where none is
    farther than `tolerance` of their size from the middle one, the law is the point mass there. Unused atoms get mass
    0. x, y: scratch, (levels,).
    """
    for j in range(len(given)):
        impute_row(given[j], levels, tolerance, x, y, atoms[j], masses[j])
