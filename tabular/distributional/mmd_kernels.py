"""Kernels of maximum mean discrepancy: double sums over the atoms of a difference of two laws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, inline, int64, kernel, writes
from rlbook.tabular.distributional.laws_kernels import LAWS
from rlbook.tabular.distributional.metric_kernels import next_side

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


@kernel(LAWS, LAWS, int64, float64, writes(float64))
def squared_discrepancies(first: Any, second: Any, kind: int, parameter: float, out: NDArray[np.float64]) -> None:
    """E k(X, X') + E k(Y, Y') - 2 E k(X, Y), from the masses by which the laws differ on the union of their atoms.

    parameter: the power of the energy kernel, else the inverse of a length.
    """
    ptr_a, atom_a, mass_a = first
    ptr_b, atom_b, mass_b = second
    room = 0
    for n in range(len(out)):
        room = max(room, ptr_a[n + 1] - ptr_a[n] + ptr_b[n + 1] - ptr_b[n])
    place, excess = np.empty(room), np.empty(room)
    for n in range(len(out)):
        i, j, end_a, end_b, size = ptr_a[n], ptr_b[n], ptr_a[n + 1], ptr_b[n + 1], 0
        while i < end_a or j < end_b:
            side = next_side(atom_a, i, end_a, atom_b, j, end_b)
            place[size] = atom_a[i] if side <= 0 else atom_b[j]
            excess[size] = (mass_a[i] if side <= 0 else 0.0) - (mass_b[j] if side >= 0 else 0.0)
            size += int64(excess[size] != 0.0)
            i += int64(side <= 0)
            j += int64(side >= 0)
        total = 0.0
        for k in range(size):
            row = 0.0
            for m in range(k):
                row += excess[m] * similarity(kind, parameter, place[k] - place[m])
            total += excess[k] * row
        out[n] = max(2.0 * total, 0.0)
