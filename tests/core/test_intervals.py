"""Intervals over seeds, and the bands that are drawn of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from rlbook.figures.lines import between_powers, mean_with_band
from rlbook.figures.style import BLUE, translucent
from rlbook.intervals import (
    factor_interval,
    jackknife_interval,
    log_slope_interval,
    median_interval,
    share_interval,
    student_interval,
    student_reach,
)


def test_intervals_are_students() -> None:
    """The textbook example of n = 4: t = 3.182 at 3 degrees of freedom."""
    mean, (low, high) = student_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert mean == 2.5
    assert high - mean == pytest.approx(3.182446 * np.sqrt(5 / 3) / 2, rel=1e-5)
    assert low + high == pytest.approx(2 * mean)
    assert student_interval(np.ones(1))[1] == (-np.inf, np.inf)


def test_columns_have_intervals_of_their_own() -> None:
    """Prevents a spread that is taken over all columns at once."""
    sample = np.random.default_rng(0).normal(size=(7, 3)) * [1.0, 10.0, 100.0]
    alone = [student_interval(column)[1][1] - column.mean() for column in sample.T]
    assert student_reach(sample) == pytest.approx(alone)


def test_a_band_lies_around_its_mean_and_few_seeds_have_none() -> None:
    x, sample = np.arange(3.0), np.random.default_rng(1).normal(size=(5, 3))
    band, line = mean_with_band(x, sample, "rule", BLUE, width=3.5)
    assert line["line"] == {"color": BLUE, "width": 3.5}
    assert line["y"] == pytest.approx(sample.mean(axis=0))
    assert band["fillcolor"] == translucent(BLUE)
    assert band["legendgroup"] == line["legendgroup"] == "rule"
    upper, lower = band["y"][:3], band["y"][3:][::-1]
    assert upper + lower == pytest.approx(2 * line["y"])
    assert upper - lower == pytest.approx(2 * student_reach(sample))
    assert len(mean_with_band(x, sample, "rule", BLUE, fewest_for_band=6)) == 1


def test_intervals_of_shares_are_those_of_the_binomial_law() -> None:
    """The rule of three's exact form: no failure in n leaves 1 - 0.025^(1/n); ends are never crossed."""
    assert share_interval(20, 20) == (1.0, (pytest.approx(0.025 ** (1 / 20)), 1.0))
    assert share_interval(0, 20) == (0.0, (0.0, pytest.approx(1 - 0.025 ** (1 / 20))))
    share, (low, high) = share_interval(7, 20)
    assert share == 0.35
    assert binom.sf(6, 20, low) == pytest.approx(0.025)
    assert binom.cdf(7, 20, high) == pytest.approx(0.025)


@pytest.mark.parametrize("n", [6, 7, 20, 40, 101])
def test_intervals_of_medians_are_those_of_the_binomial_law(n: int) -> None:
    """Prevents ranks that are off by one: with the ends found, 95% are covered, and the next ranks inwards are not."""
    ranks = np.random.default_rng(n).permutation(n).astype(float)
    median, (low, high) = median_interval(ranks)
    assert median == (n - 1) / 2
    assert high == n - 1 - low
    assert 1 - 2 * binom.cdf(low, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(low + 1, n, 0.5) < 0.95
    assert median_interval(np.exp(ranks)) == (np.median(np.exp(ranks)), (np.exp(low), np.exp(high)))
    assert median_interval(np.arange(5.0))[1] == (-np.inf, np.inf)


def test_the_jackknife_is_students_for_a_mean_and_covers_a_ratio() -> None:
    """Prevents intervals of ratios that are too narrow: 95% should cover, give or take 3 standard errors."""
    random = np.random.default_rng(3)
    sample = random.normal(size=9)
    assert jackknife_interval(sample, np.mean)[1] == pytest.approx(student_interval(sample)[1])
    assert jackknife_interval(np.ones((1, 2)), lambda kept: 1.0)[1] == (-np.inf, np.inf)

    def ratio(kept: np.ndarray) -> float:
        return float(kept[:, 0].mean() / kept[:, 1].mean())

    covered = 0
    for _ in range(400):
        drawn = random.normal([2.0, 4.0], [1.0, 1.0], size=(30, 2))
        low, high = jackknife_interval(drawn, ratio)[1]
        covered += low <= 0.5 <= high
    assert abs(covered / 400 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400)


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    """Noise that is the same factor in a whole row moves no slope, so its interval is a point."""
    x = np.log(np.array([1.0, 2.0, 8.0]))
    slope, (low, high) = log_slope_interval(x, np.array([[1.0], [3.0], [2.0]]) * np.exp(-0.5 * x))
    assert (slope, low, high) == pytest.approx((-0.5, -0.5, -0.5))
    assert log_slope_interval(x, np.exp(x)[None])[1] == (-np.inf, np.inf)


def test_a_factor_is_the_exponential_of_a_slope() -> None:
    """Prevents an interval of a rate that is that of its logarithm, and an end that overflows for a single seed."""
    x, sample = np.arange(5.0), 3 * 0.7 ** np.arange(5.0) * np.array([[1.0], [1.1]])
    factor, (low, high) = factor_interval(x, sample)
    assert factor == pytest.approx(0.7)
    assert low <= factor <= high
    _, (low, high) = factor_interval(x, sample[:1])
    assert low == 0
    assert 1e300 < high < np.inf


def test_a_power_law_lies_between_its_neighbours_and_touches_its_own() -> None:
    """Prevents claimed slopes that are drawn through another point than the one that the fitted line goes through."""
    x = np.array([10.0, 40.0, 160.0])
    y = 5 * x**-0.5
    low, high = between_powers(x, y, (-0.6, -0.4))
    assert (low <= y + 1e-12).all()
    assert (y <= high + 1e-12).all()
    assert low[1] == pytest.approx(high[1])  # the middle, in logarithms
    np.testing.assert_allclose(between_powers(x, y, (-0.5, -0.5)), np.stack([y, y]))
