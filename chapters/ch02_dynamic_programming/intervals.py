"""Confidence intervals over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def student_interval(sample: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The mean of independent numbers, (n,), and its 95% interval by Student's t; the whole line for n = 1."""
    from scipy.stats import t

    n, mean = len(sample), float(sample.mean())
    reach = float(t.ppf(0.975, n - 1) * sample.std(ddof=1) / np.sqrt(n)) if n > 1 else np.inf
    return mean, (mean - reach, mean + reach)
