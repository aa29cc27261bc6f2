"""Value iteration in five orders, sweep by sweep, with the gap that each vector certifies."""

from __future__ import annotations

import numpy as np

from rlbook.lab import Context
from rlbook.mdp import FiniteMDP
from rlbook.tabular import bellman_sweeps
from rlbook.tabular.bellman import backup_kernel, kernel_arguments
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.gauss_seidel import Order, gauss_seidel_sweeps
from rlbook.tabular.prioritised_sweeping import prioritised_sweeps

ORDERS = ("synchronous", "forward", "backward", "alternating", "prioritised")
_IN_PLACE: dict[str, Order] = {"forward": "forward", "backward": "backward", "alternating": "alternating"}
_FIRST_TRY, _GIVEN_UP = 40, 5120  # sweeps; what the discounts of this chapter take lies far below the second


def iterates(mdp: FiniteMDP, start: np.ndarray, sweeps: int, order: str) -> np.ndarray:
    """The vector before the first sweep and after each, (sweeps + 1, S); a prioritised sweep is S backups."""
    if order == "synchronous":
        return bellman_sweeps(mdp, start, sweeps)
    if order == "prioritised":
        return prioritised_sweeps(mdp, start, sweeps)
    return gauss_seidel_sweeps(mdp, start, sweeps, _IN_PLACE[order])


def certified_gaps(mdp: FiniteMDP, contraction: Contraction, vectors: np.ndarray) -> np.ndarray:
    """The certified gap of each vector, (sweeps + 1,)."""
    backup, arguments = backup_kernel(mdp), kernel_arguments(mdp)
    tv, greedy = np.empty(mdp.n_states), np.empty(mdp.n_states, dtype=np.int64)
    gaps = np.empty(len(vectors))
    for k, v in enumerate(vectors):
        magnitude = float(np.abs(v).max())
        least, greatest = backup(*arguments, v, tv, greedy)
        gaps[k] = contraction.gap(contraction.shifts(least, greatest, magnitude), magnitude)
    return gaps


def sweeps_needed(
    mdp: FiniteMDP, contraction: Contraction, start: np.ndarray, order: str, tolerance: float, context: Context
) -> float:
    """Sweeps from `start` until the certified gap is within the tolerance, or infinity where that takes too many."""
    sweeps = _FIRST_TRY
    while sweeps <= _GIVEN_UP:
        context.check()
        reached = np.flatnonzero(certified_gaps(mdp, contraction, iterates(mdp, start, sweeps, order)) <= tolerance)
        if len(reached):
            return float(reached[0])
        sweeps *= 2
    return np.inf
