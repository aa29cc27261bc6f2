"""Histories of solvers as arrays of a fixed length, so that those of several seeds and methods stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.solution import Solution


def kept_iterations(iterations: int, points: int) -> NDArray[np.int64]:
    """Which of so many iterations to keep, at most `points`: all if they fit, else spread evenly with both ends."""
    if iterations <= points:
        return np.arange(iterations)
    return np.unique(np.linspace(0, iterations - 1, points).astype(np.int64))


def curves(solution: Solution, points: int) -> NDArray[np.float64]:
    """Work in full backups, seconds, and certified gap of the iterations kept, (3, points); NaN beyond the last.

    The gap is the best so far: bounds once proven stay proven.
    """
    history = solution.history
    kept = kept_iterations(len(history.gap), points)
    drawn = np.full((3, points), np.nan)
    best = np.minimum.accumulate(history.gap)
    for row, values in enumerate((history.work, history.seconds, best)):
        drawn[row, : len(kept)] = values[kept]
    return drawn
