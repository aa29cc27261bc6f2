"""Logarithmic axes of this chapter's figures, readable over less than two decades as well."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlbook.figures.style import log_axis


def decade_axis(title: str, traces: list[dict[str, Any]], axes: tuple[str, str], **own: Any) -> dict[str, Any]:
    """A logarithmic y axis around all that traces draw on these axes; numbers in full where decades are too few."""
    drawn = np.concatenate([np.asarray(t["y"], dtype=float) for t in traces if (t["xaxis"], t["yaxis"]) == axes])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    low, high = (float(drawn.min()), float(drawn.max())) if len(drawn) else (0.1, 1.0)
    if high < 1.01 * low:
        low, high = low / 2, high * 2
    decades = math.log10(high / low)
    if decades < 2:
        digits = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 1 else (1.0, 2.0, 5.0)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        own = {
            "tickvals": [digit * 10.0**power for power in powers for digit in digits],
            "exponentformat": "none",
        } | own
    return log_axis(title, low, high, **own)
