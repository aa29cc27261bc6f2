"""Kernels of maximum mean discrepancy: double sums over the atoms of a difference of two laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, inline, int64, kernel, writes
from rlbook.tabular.distributional.metric_kernels import LAWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENERGY, GAUSSIAN, LAPLACE, MULTIQUADRIC = range(4)


@inline
def similarity(kind: Any, parameter: Any, gap: Any) -> Any:
    """k(x, y) for gap = |x - y|, less its value at gap 0: a constant, which cancels as masses of a difference do."""
    if kind == ENERGY:
        return -(gap**parameter)
    scaled = gap * parameter
    if kind == GAUSSIAN:
        return np.expm1(-0.5 * scaled * scaled)
    if kind == LAPLACE:
        return np.expm1(-scaled)
    return -scaled * scaled / (1.0 + np.sqrt(1.0 + scaled * scaled))


@kernel(*LAWS, *LAWS, int64, float64, writes(float64))
def squared_discrepancies(
    ptr_a: NDArray[np.int64],
    atom_a: NDArray[np.float64],
    mass_a: NDArray[np.float64],
    ptr_b: NDArray[np.int64],
    atom_b: NDArray[np.float64],
    mass_b: NDArray[np.float64],
    kind: int,
    parameter: float,
    out: NDArray[np.float64],
) -> None:
    """E k(X, X') + E k(Y, Y') - 2 E k(X, Y), from the masses by which the laws differ on the union of their atoms.

    parameter: the power of the energy kernel, else the inverse of a length.
    """
    room = 0
    for n in range(len(out)):
        room = max(room, ptr_a[n + 1] - ptr_a[n] + ptr_b[n + 1] - ptr_b[n])
    place, excess = np.empty(room), np.empty(room)
    for n in range(len(out)):
        i, j, end_a, end_b, size = ptr_a[n], ptr_b[n], ptr_a[n + 1], ptr_b[n + 1], 0
        while i < end_a or j < end_b:
            if j == end_b or (i < end_a and atom_a[i] < atom_b[j]):
                place[size], excess[size] = atom_a[i], mass_a[i]
                i += 1
            elif i == end_a or atom_b[j] < atom_a[i]:
                place[size], excess[size] = atom_b[j], -mass_b[j]
                j += 1
            else:
                place[size], excess[size] = atom_a[i], mass_a[i] - mass_b[j]
                i += 1
                j += 1
            if excess[size] != 0.0:
                size += 1
        total = 0.0
        for k in range(size):
            row = 0.0
            for m in range(k):
                row += excess[m] * similarity(kind, parameter, place[k] - place[m])
            total += excess[k] * row
        out[n] = max(2.0 * total, 0.0)
