"""The equation of a policy, (I - gamma P) x = b, by banded elimination: for chains whose steps are all short.

Where every transition leads to one of the next few states in their order (a queue, a birth-death chain), elimination
fills nothing outside the band, and is done in the time of a few sweeps however slowly the chain mixes. The rows are
dominated by their diagonal, so it is stable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, int32, int64, kernel, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDEST = 16  # a band of this width costs about as much per state as a hundred sweeps over rows of three


@kernel(writes(int64), writes(int64), writes(int32))
def _width(slot: Any, end: Any, following: Any) -> tuple[int, int]:
    """How far below and above its state a transition leads at most."""
    below = above = 0
    for s in range(len(slot)):
        for k in range(slot[s], end[s]):
            below = max(below, s - following[k])
            above = max(above, following[k] - s)
    return below, above


@kernel(
    *(writes(int64), writes(int64), writes(int32), writes(float64), float64, int64, writes(float64, 2)),
)
def _fill(slot: Any, end: Any, following: Any, mass: Any, gamma: float, above: int, band: Any) -> None:
    """I - gamma P in LAPACK's banded form: row above + i - j of column j holds entry (i, j)."""
    band[:] = 0.0
    for s in range(len(slot)):
        band[above, s] += 1.0
        for k in range(slot[s], end[s]):
            j = following[k]
            band[above + s - j, j] -= gamma * mass[k]


def is_banded(slot: NDArray[np.int64], end: NDArray[np.int64], following: NDArray[np.int32]) -> bool:
    """Whether all transitions lead to near states."""
    below, above = _width(slot, end, following)
    return bool(below + above <= _WIDEST)


class Banded:
    """A policy's equation in banded form. Memory: one vector per diagonal of the band."""

    def __init__(
        self,
        slot: NDArray[np.int64],
        end: NDArray[np.int64],
        following: NDArray[np.int32],
        mass: NDArray[np.float64],
        discount: float,
    ) -> None:
        self._below, self._above = (int(width) for width in _width(slot, end, following))
        self._band = np.empty((self._below + self._above + 1, len(slot)))
        _fill(slot, end, following, mass, discount, self._above, self._band)

    def solve(
        self, b: NDArray[np.float64], goal: float, most: int, cancel: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], int, float]:
        """x with (I - gamma P) x = b to rounding; one cycle; and 0. Not finite entries end as zeros, and infinity."""
        from scipy.linalg import LinAlgError, solve_banded

        try:
            x = solve_banded((self._below, self._above), self._band, b, check_finite=False)
        except LinAlgError:
            x = np.full_like(b, np.nan)
        return (x, 1, 0.0) if np.all(np.isfinite(x)) else (np.zeros_like(b), 1, np.inf)
