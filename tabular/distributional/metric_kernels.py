"""Kernels of distances between discrete laws: two sorted lists of atoms, walked through together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, inline, int64, kernel, reads, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Levels of two distribution functions that differ by less are one level: the sums behind them were rounded.
LEVEL_TOLERANCE = 2.0**-44

LAWS = (reads(int64), reads(float64), reads(float64))


@inline
def _power(x: Any, p: Any) -> Any:
    """x^p for x >= 0; the orders that are met most are cheap."""
    if p == 1.0:
        return x
    return x * x if p == 2.0 else x**p


@inline
def _coupled(atom_a: Any, mass_a: Any, atom_b: Any, mass_b: Any, p: Any, largest: Any) -> Any:
    """The sum of mass (distance / largest)^p over the quantile coupling; with largest = 0 the largest distance."""
    i, j, done, found = 0, 0, 0.0, 0.0
    level_a, level_b = mass_a[0], mass_b[0]
    while i < len(atom_a) and j < len(atom_b):
        gap = abs(atom_a[i] - atom_b[j])
        share = min(level_a, level_b) - done
        if share > LEVEL_TOLERANCE:
            if largest == 0.0:
                found = max(found, gap)
            else:
                found += share * _power(gap / largest, p)
        ahead = level_a - level_b
        if ahead <= LEVEL_TOLERANCE:
            done = max(done, level_a)
            i += 1
            if i < len(atom_a):
                level_a += mass_a[i]
        if ahead >= -LEVEL_TOLERANCE:
            done = max(done, level_b)
            j += 1
            if j < len(atom_b):
                level_b += mass_b[j]
    return found


@kernel(*LAWS, *LAWS, float64, writes(float64))
def wasserstein_distances(
    ptr_a: NDArray[np.int64],
    atom_a: NDArray[np.float64],
    mass_a: NDArray[np.float64],
    ptr_b: NDArray[np.int64],
    atom_b: NDArray[np.float64],
    mass_b: NDArray[np.float64],
    p: float,
    out: NDArray[np.float64],
) -> None:
    """Distances of order p > 1, inf included: the optimal coupling on the line is that of equal quantile levels."""
    for n in range(len(out)):
        x, f = atom_a[ptr_a[n] : ptr_a[n + 1]], mass_a[ptr_a[n] : ptr_a[n + 1]]
        y, g = atom_b[ptr_b[n] : ptr_b[n + 1]], mass_b[ptr_b[n] : ptr_b[n + 1]]
        largest = _coupled(x, f, y, g, p, 0.0)
        out[n] = largest
        if p < np.inf and largest > 0.0:
            out[n] = largest * _coupled(x, f, y, g, p, largest) ** (1.0 / p)


@inline
def _between(atom_a: Any, mass_a: Any, atom_b: Any, mass_b: Any, p: Any, largest: Any) -> Any:
    """The integral of |(F - G) / largest|^p; with largest = 0 the supremum of |F - G|."""
    i, j, ahead, found = 0, 0, 0.0, 0.0
    at = min(atom_a[0], atom_b[0])
    while i < len(atom_a) or j < len(atom_b):
        a_is_next = j == len(atom_b) or (i < len(atom_a) and atom_a[i] < atom_b[j])
        following = atom_a[i] if a_is_next else atom_b[j]
        if largest > 0.0:
            found += (following - at) * _power(abs(ahead) / largest, p)
        at = following
        if i < len(atom_a) and atom_a[i] == at:
            ahead += mass_a[i]
            i += 1
        if j < len(atom_b) and atom_b[j] == at:
            ahead -= mass_b[j]
            j += 1
        if largest == 0.0 and (i < len(atom_a) or j < len(atom_b)):
            found = max(found, abs(ahead))
    return found


@kernel(*LAWS, *LAWS, float64, writes(float64))
def lp_distances(
    ptr_a: NDArray[np.int64],
    atom_a: NDArray[np.float64],
    mass_a: NDArray[np.float64],
    ptr_b: NDArray[np.int64],
    atom_b: NDArray[np.float64],
    mass_b: NDArray[np.float64],
    p: float,
    out: NDArray[np.float64],
) -> None:
    """L^p distances, p >= 1, inf included, between distribution functions, which are constant between atoms."""
    for n in range(len(out)):
        x, f = atom_a[ptr_a[n] : ptr_a[n + 1]], mass_a[ptr_a[n] : ptr_a[n + 1]]
        y, g = atom_b[ptr_b[n] : ptr_b[n + 1]], mass_b[ptr_b[n] : ptr_b[n + 1]]
        largest = _between(x, f, y, g, p, 0.0)
        out[n] = largest
        if p < np.inf and largest > 0.0:
            out[n] = largest * _between(x, f, y, g, p, largest) ** (1.0 / p)


@kernel(*LAWS, *LAWS, writes(float64), writes(float64))
def mass_distances(
    ptr_a: NDArray[np.int64],
    atom_a: NDArray[np.float64],
    mass_a: NDArray[np.float64],
    ptr_b: NDArray[np.int64],
    atom_b: NDArray[np.float64],
    mass_b: NDArray[np.float64],
    variation: NDArray[np.float64],
    divergence: NDArray[np.float64],
) -> None:
    """Total variation, and the Kullback-Leibler divergence of a from b, of masses on equal atoms."""
    for n in range(len(variation)):
        i, j, end_a, end_b = ptr_a[n], ptr_b[n], ptr_a[n + 1], ptr_b[n + 1]
        apart, nats = 0.0, 0.0
        while i < end_a or j < end_b:
            if j == end_b or (i < end_a and atom_a[i] < atom_b[j]):
                apart += mass_a[i]
                nats = np.inf
                i += 1
            elif i == end_a or atom_b[j] < atom_a[i]:
                apart += mass_b[j]
                j += 1
            else:
                apart += abs(mass_a[i] - mass_b[j])
                nats += mass_a[i] * np.log(mass_a[i] / mass_b[j])
                i += 1
                j += 1
        variation[n] = 0.5 * apart
        divergence[n] = max(nats, 0.0)
