"""The loop of all dynamic programming of return laws: sweep, ask what is left, and stop for one of three reasons."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.solution import Reason
from rlbook.tabular.stopping import cancel_flag
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_SWEEPS = 10**12


def repeated_sweeps(
    sweep: Callable[[], float],
    left: Callable[[float], float],
    *,
    sweeps: int,
    tolerance: float,
    settled: Callable[[], bool] = lambda: True,
    cancel: NDArray[np.uint8] | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[NDArray[np.float64], Reason]:
    """Sweep until what is left is within `tolerance`; returns what each sweep changed, (sweeps,), and why it ended.

    sweep: makes one and returns its change. left: what more sweeps could still do, from the last change; compared with
    tolerance, finite, 0 or more. settled: whether an end is allowed. sweeps: the most to make, at least 1. cancel:
    uint8 (1,), looked at after each sweep. progress: told the part of the sweeps done, and 1 at the end. Raises
    ParameterError for numbers out of range, MDPError for another flag.
    """
    require_whole("sweeps", sweeps, 1, _MOST_SWEEPS)
    if not isinstance(tolerance, Real) or not 0 <= tolerance < math.inf:
        raise ParameterError(f"tolerance is {tolerance!r}; give a finite distance, 0 or more")
    flag = cancel_flag(cancel)
    changes: list[float] = []
    reason: Reason = "iteration limit"
    while reason == "iteration limit" and len(changes) < sweeps:
        changes.append(sweep())
        if left(changes[-1]) <= tolerance and settled():
            reason = "tolerance"
        elif flag[0]:
            reason = "cancelled"
        if progress is not None:
            progress(1.0 if reason != "iteration limit" else len(changes) / sweeps)
    return np.array(changes), reason
