"""Confidence intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GREATEST_LOGARITHM = 700.0  # of what floating point can hold, but for a little


def student_reach(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the 95% interval of the mean of each column of `sample`, (n, ...), goes to either side; inf for n = 1."""
    from scipy.stats import t

    n = len(sample)
    if n == 1:
        return np.full(sample.shape[1:], np.inf)
    return np.asarray(t.ppf(0.975, n - 1) * sample.std(axis=0, ddof=1) / np.sqrt(n))


def student_interval(sample: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The mean of independent numbers, (n,), and its 95% interval by Student's t; the whole line for n = 1."""
    mean, reach = float(sample.mean()), float(student_reach(sample))
    return mean, (mean - reach, mean + reach)


def median_interval(sample: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The median of independent numbers, (n,), and an interval of two of them that holds the law's with chance 95%.

    By the binomial law of how many lie below, so for laws of any shape; the whole line for n below 6.
    """
    from scipy.stats import binom

    n, rising = len(sample), np.sort(sample)
    cut = int(binom.ppf(0.025, n, 0.5)) - 1 if n >= 6 else -1
    reach = (float(rising[cut]), float(rising[n - 1 - cut])) if cut >= 0 else (-np.inf, np.inf)
    return float(np.median(rising)), reach


def share_interval(hits: int, n: int) -> tuple[float, tuple[float, float]]:
    """The share of `hits` among `n` independent trials, and its 95% interval (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return hits / n, (low, high)


def jackknife_interval(
    sample: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float]
) -> tuple[float, tuple[float, float]]:
    """A smooth function of a sample, such as a ratio of means, (n, ...) -> number, and its 95% interval.

    The jackknife (Tukey 1958): Student's t of the pseudo-values n f - (n - 1) f(all but one); the whole line for n = 1.
    """
    n = len(sample)
    estimate = float(statistic(sample))
    if n == 1:
        return estimate, (-np.inf, np.inf)
    without = np.array([statistic(np.delete(sample, place, axis=0)) for place in range(n)])
    reach = float(student_reach(n * estimate - (n - 1) * without))
    return estimate, (estimate - reach, estimate + reach)


def log_slope_interval(x: NDArray[np.float64], sample: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The least-squares slope of log(mean of a sample) on x, and its 95% interval by the jackknife over rows.

    x: (points,), not all equal. sample: (n, points), with positive means. The whole line for n = 1.
    """
    weight = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    return jackknife_interval(
        sample, lambda kept: float(weight @ np.log(np.maximum(kept.mean(axis=0), np.finfo(float).tiny)))
    )


def factor_interval(x: NDArray[np.float64], sample: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The factor by which the mean of a sample changes for each unit of x, and its 95% interval.

    The exponential of `log_slope_interval`, whose arguments it takes; the upper end is finite.
    """
    slope, (low, high) = log_slope_interval(x, sample)
    return float(np.exp(slope)), (float(np.exp(low)), float(np.exp(min(high, _GREATEST_LOGARITHM))))
