"""Kernels of distances between discrete laws: two sorted lists of atoms, walked through together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import boolean, float64, inline, int64, kernel, writes
from rlbook.tabular.distributional.laws_kernels import LAWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Levels of two distribution functions that differ by less are one level: the sums behind them were rounded.
LEVEL_TOLERANCE = 2.0**-44


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


@inline
def _apart(coupled: Any, atom_a: Any, mass_a: Any, atom_b: Any, mass_b: Any, p: Any, largest: Any) -> Any:
    if coupled:
        return _coupled(atom_a, mass_a, atom_b, mass_b, p, largest)
    return _between(atom_a, mass_a, atom_b, mass_b, p, largest)


@kernel(LAWS, LAWS, float64, boolean, writes(float64))
def distances(first: Any, second: Any, p: float, coupled: bool, out: NDArray[np.float64]) -> None:
    """Distances of order p >= 1, inf included: L^p between distribution functions, or, where `coupled`, W_p for p > 1.

    On the line the optimal coupling is that of equal quantile levels. Powers are taken of shares of the largest.
    """
    ptr_a, atom_a, mass_a = first
    ptr_b, atom_b, mass_b = second
    for n in range(len(out)):
        x, f = atom_a[ptr_a[n] : ptr_a[n + 1]], mass_a[ptr_a[n] : ptr_a[n + 1]]
        y, g = atom_b[ptr_b[n] : ptr_b[n + 1]], mass_b[ptr_b[n] : ptr_b[n + 1]]
        largest = _apart(coupled, x, f, y, g, p, 0.0)
        out[n] = largest
        if p < np.inf and largest > 0.0:
            out[n] = largest * _apart(coupled, x, f, y, g, p, largest) ** (1.0 / p)


@inline
def next_side(atom_a: Any, i: Any, end_a: Any, atom_b: Any, j: Any, end_b: Any) -> Any:
    """Where the next atom of two sorted lists stands: -1 for the first alone, 1 for the second alone, 0 for both."""
    if j == end_b or (i < end_a and atom_a[i] < atom_b[j]):
        return -1
    return 1 if i == end_a or atom_b[j] < atom_a[i] else 0


@kernel(LAWS, LAWS, writes(float64), writes(float64))
def mass_distances(first: Any, second: Any, variation: NDArray[np.float64], divergence: NDArray[np.float64]) -> None:
    """Total variation, and the Kullback-Leibler divergence of the first from the second, of masses on equal atoms."""
    ptr_a, atom_a, mass_a = first
    ptr_b, atom_b, mass_b = second
    for n in range(len(variation)):
        i, j, end_a, end_b = ptr_a[n], ptr_b[n], ptr_a[n + 1], ptr_b[n + 1]
        apart, nats = 0.0, 0.0
        while i < end_a or j < end_b:
            side = next_side(atom_a, i, end_a, atom_b, j, end_b)
            p = mass_a[i] if side <= 0 else 0.0
            q = mass_b[j] if side >= 0 else 0.0
            apart += abs(p - q)
            if side < 0:
                nats = np.inf
            elif side == 0:
                nats += p * np.log(p / q)
            i += int64(side <= 0)
            j += int64(side >= 0)
        variation[n] = 0.5 * apart
        divergence[n] = max(nats, 0.0)
