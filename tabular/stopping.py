"""When an iterative solver stops, and what it says about it: one rule for all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.solution import History, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_TOLERANCE = 1e-6

_AT_FLOOR = 1.5  # a gap within this factor of the rounding floor has nothing left to gain
_NEAR_FLOOR = 50.0  # a gap that stopped falling within this factor of the floor was stopped by rounding
_WORTHWHILE = 0.99  # a gap has fallen when it is below this part of the last one that counted


class Stopping:
    """Judges the certified gap after each backup, and keeps the history.

    A solver calls `update` with what its backup returned and goes on while `reason` is None. Progress is expected at
    the rate of the contraction: a solver that has not lowered its gap by a hundredth in that time has stopped
    progressing.
    """

    def __init__(
        self,
        contraction: Contraction,
        tol: float,
        max_iterations: int,
        cancel: NDArray[np.uint8] | None,
    ) -> None:
        if not tol >= 0 or not math.isfinite(tol):
            raise MDPError(f"tol is {tol!r}; the certified gap to reach must be a finite number, 0 or more")
        if max_iterations < 1:
            raise MDPError(f"max_iterations is {max_iterations}; at least one is needed")
        self._contraction = contraction
        self._tol = tol
        self._max_iterations = max_iterations
        self._cancel = cancel
        self._patience = 100 + math.ceil(0.05 * contraction.horizon)
        self._best, self._best_at = math.inf, 0
        self._gaps: list[float] = []
        self._changes: list[tuple[float, float]] = []
        self.shifts = (-math.inf, math.inf)
        self.reason: Reason | None = None

    @property
    def iterations(self) -> int:
        return len(self._gaps)

    @property
    def history(self) -> History:
        table = np.array(self._changes)
        return History(np.array(self._gaps), table[:, 0], table[:, 1])

    def update(self, least: float, greatest: float, v: NDArray[np.float64]) -> None:
        """Take the least and greatest change of the backup of v, and decide."""
        magnitude = max(float(v.max()), -float(v.min()))
        self.shifts = self._contraction.shifts(least, greatest, magnitude)
        gap = self._contraction.gap(self.shifts)
        self._gaps.append(gap)
        self._changes.append((least, greatest))
        if gap < _WORTHWHILE * self._best:
            self._best, self._best_at = gap, len(self._gaps)
        floor = self._contraction.floor(magnitude)
        if gap <= self._tol:
            self.reason = "tolerance"
        elif gap <= _AT_FLOOR * floor or least == greatest == 0.0:
            self.reason = "rounding floor"
        elif len(self._gaps) - self._best_at >= self._patience:
            self.reason = "rounding floor" if gap <= _NEAR_FLOOR * floor else "stalled"
        elif self._cancel is not None and self._cancel[0]:
            self.reason = "cancelled"
        elif len(self._gaps) >= self._max_iterations:
            self.reason = "iteration limit"
