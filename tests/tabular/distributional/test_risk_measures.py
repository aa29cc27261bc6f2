"""Risk measures of discrete laws against their duals, closed forms, their limits and the axioms of coherence."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, minimize_scalar
from scipy.stats import norm

from rlbook.errors import ParameterError
from rlbook.tabular.distributional import DiscreteLaws
from rlbook.tabular.distributional.risk_measures import (
    CPW,
    EntropicRisk,
    EntropicValueAtRisk,
    ExpectedShortfall,
    Mean,
    MeanDeviation,
    Power,
    ValueAtRisk,
    Wang,
)

LEVELS = [1e-6, 0.05, 0.3, 0.5, 0.9, 1.0]
COHERENT = (Mean(), ExpectedShortfall(0.2), EntropicValueAtRisk(0.3), Wang(-0.75), Power(-2.0))


@pytest.fixture
def laws() -> DiscreteLaws:
    random = np.random.default_rng(0)
    return DiscreteLaws.from_arrays(10 * random.normal(size=(6, 7)), random.dirichlet(np.ones(7), 6))


def normal_law(mean: float, deviation: float) -> DiscreteLaws:
    """The density on an even grid: sums over it are as good as integrals, far into the tail that exponentials see."""
    z = np.linspace(-14.0, 14.0, 28_001)
    return DiscreteLaws.from_arrays(mean + deviation * z, norm.pdf(z) / norm.pdf(z).sum())


@pytest.mark.parametrize("level", LEVELS)
def test_expected_shortfall_solves_the_program_of_rockafellar_and_uryasev(level, laws):
    """max over c of c - E[(c - G)^+] / level is reached at an atom: a piecewise linear function bends nowhere else."""
    for i in range(laws.n_laws):
        atom, mass = laws.law(i)
        best = max(c - mass @ np.maximum(c - atom, 0) / level for c in atom)
        assert ExpectedShortfall(level).of(laws)[i] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.9])
def test_expected_shortfall_is_the_least_mean_under_bounded_densities(level, laws):
    for i in range(laws.n_laws):
        atom, mass = laws.law(i)
        dual = linprog(atom, A_eq=np.ones((1, len(atom))), b_eq=[1.0], bounds=[(0, m / level) for m in mass]).fun
        assert ExpectedShortfall(level).of(laws)[i] == pytest.approx(dual, rel=1e-9)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.9])
def test_entropic_value_at_risk_is_the_least_mean_in_a_ball_of_divergence(level, laws):
    """Prevents a supremum over t that stops short: the dual is a convex program over the simplex, solved by SLSQP."""
    found = EntropicValueAtRisk(level).of(laws)
    for i in range(3):
        atom, mass = laws.law(i)

        def room(q, mass=mass):
            return -math.log(level) - float(np.sum(q * np.log(np.maximum(q, 1e-300) / mass)))

        dual = minimize(
            lambda q, atom=atom: float(q @ atom),
            mass,
            jac=lambda q, atom=atom: atom,
            bounds=[(0.0, 1.0)] * len(atom),
            constraints=[
                {"type": "eq", "fun": lambda q: float(q.sum()) - 1.0},
                {"type": "ineq", "fun": room},
            ],
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        assert found[i] == pytest.approx(dual.fun, abs=2e-4), (i, dual.message)


@pytest.mark.parametrize("level", [0.01, 0.2, 0.7, 0.99])
def test_entropic_value_at_risk_is_the_best_of_all_chernoff_bounds(level, laws):
    """Against a bounded search over log t of the definition, in forty digits: prevents a root that is no best."""
    from mpmath import mp, mpf

    found = EntropicValueAtRisk(level).of(laws)
    with mp.workdps(40):
        for i in range(2):
            atom, mass = ([mpf(x) for x in part] for part in laws.law(i))

            def loss(log_t, atom=atom, mass=mass):
                t = mp.exp(log_t)
                moment = sum(m * mp.exp(-t * x) for x, m in zip(atom, mass, strict=True))
                return float(mp.log(moment / mpf(level)) / t)

            best = minimize_scalar(loss, bounds=(-12.0, 12.0), method="bounded", options={"xatol": 1e-9})
            assert found[i] == pytest.approx(max(-best.fun, float(atom[0])), rel=1e-9, abs=1e-7)
            assert found[i] >= -best.fun - 1e-12 * abs(best.fun)


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 0.9])
def test_entropic_value_at_risk_of_a_normal_law(level):
    """mean - deviation sqrt(-2 log level)."""
    found = EntropicValueAtRisk(level).of(normal_law(3.0, 2.0))[0]
    assert found == pytest.approx(3.0 - 2.0 * math.sqrt(-2 * math.log(level)), rel=1e-9)


@pytest.mark.parametrize("level", [0.05, 0.5])
def test_expected_shortfall_and_wang_of_a_normal_law(level):
    law = normal_law(3.0, 2.0)
    assert ExpectedShortfall(level).of(law)[0] == pytest.approx(3 - 2 * norm.pdf(norm.ppf(level)) / level, abs=2e-3)
    assert ValueAtRisk(level).of(law)[0] == pytest.approx(norm.ppf(level, 3, 2), abs=2e-3)
    assert Wang(-0.75).of(law)[0] == pytest.approx(3.0 - 0.75 * 2.0, abs=2e-3)
    assert EntropicRisk(0.5).of(law)[0] == pytest.approx(3.0 - 0.5 * 4.0 / 2, rel=1e-9)
    assert MeanDeviation(0.5).of(law)[0] == pytest.approx(2.0, rel=1e-9)


def test_levels_order_the_measures_and_end_where_they_must(laws):
    worst = laws.bounds()[0]
    for level in LEVELS:
        shortfall, entropic = ExpectedShortfall(level).of(laws), EntropicValueAtRisk(level).of(laws)
        assert np.all(shortfall <= ValueAtRisk(level).of(laws) + 1e-12)
        assert np.all(entropic <= shortfall + 1e-12)
        assert np.all(entropic >= worst)
    for measure in (ExpectedShortfall, EntropicValueAtRisk):
        np.testing.assert_allclose(measure(1.0).of(laws), laws.means(), rtol=1e-13)
        np.testing.assert_array_equal(measure(1e-9).of(laws), worst)
        near_one = measure(1 - 1e-13).of(laws)
        np.testing.assert_allclose(near_one, laws.means(), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1e6, 1e200])
def test_entropic_value_at_risk_takes_returns_of_any_size(scale, laws):
    """Prevents a search over t in fixed units, and exponentials that overflow."""
    expected = EntropicValueAtRisk(0.3).of(laws)
    moved = EntropicValueAtRisk(0.3).of(laws.shifted(0.0, scale))
    np.testing.assert_allclose(moved, expected * scale, rtol=1e-12)


def test_entropic_value_at_risk_just_above_the_mass_of_the_worst_return():
    """Prevents a search that never ends where the supremum lies far out."""
    law = DiscreteLaws.from_arrays([0.0, 1e-12, 1.0], [0.3, 0.3, 0.4])
    levels = [0.3, 0.3 + 1e-15, 0.3 + 1e-9, 0.31, 0.6, 0.6 + 1e-9]
    found = [EntropicValueAtRisk(level).of(law)[0] for level in levels]
    assert found[0] == 0.0
    assert np.all(np.diff(found) >= 0)
    assert found[3] < 1e-12 < found[5]


@pytest.mark.parametrize("aversion", [1e-9, 0.1, 2.0, 1e5, -0.1, -1e5])
def test_entropic_risk_against_high_precision(aversion, laws):
    from mpmath import mp, mpf

    with mp.workdps(60):
        for i in range(laws.n_laws):
            atom, mass = laws.law(i)
            moment = sum(mpf(m) * mp.exp(-mpf(aversion) * mpf(x)) for x, m in zip(atom, mass, strict=True))
            exact = float(-mp.log(moment / sum(map(mpf, mass))) / mpf(aversion))
            assert EntropicRisk(aversion).of(laws)[i] == pytest.approx(exact, rel=1e-6 if aversion < 1e-6 else 1e-12)


def test_entropic_risk_turns_into_the_mean(laws):
    np.testing.assert_array_equal(EntropicRisk(0.0).of(laws), laws.means())
    np.testing.assert_allclose(EntropicRisk(1e-12).of(laws), laws.means(), rtol=1e-9)
    assert np.all(EntropicRisk(0.1).of(laws) < laws.means())
    assert np.all(EntropicRisk(-0.1).of(laws) > laws.means())


@pytest.mark.parametrize("measure", [Wang(-0.75), Wang(0.4), Power(-2.0), Power(3.0), CPW()], ids=str)
def test_distortions_are_means_of_the_quantile_function_at_distorted_levels(measure, laws):
    """Prevents the inverse of a distortion from standing for the distortion: both are in use, and differ in sign."""
    t = (np.arange(40_000) + 0.5) / 40_000
    if isinstance(measure, Wang):
        levels = norm.cdf(norm.ppf(t) + measure.eta)
    elif isinstance(measure, Power):
        power = 1 / (1 + abs(measure.eta))
        levels = t**power if measure.eta >= 0 else 1 - (1 - t) ** power
    else:
        levels = t**0.71 / (t**0.71 + (1 - t) ** 0.71) ** (1 / 0.71)
    np.testing.assert_allclose(measure.of(laws), laws.quantiles(levels).mean(axis=1), atol=5e-3)


def test_neutral_distortions_are_the_mean(laws):
    for neutral in (Wang(0.0), Power(0.0), CPW(1.0)):
        np.testing.assert_allclose(neutral.of(laws), laws.means(), atol=1e-12)


returns = st.lists(st.floats(-50, 50), min_size=4, max_size=4).map(np.array)


@settings(deadline=None, max_examples=60)
@given(returns, returns, st.floats(0.0, 4.0), st.floats(-20, 20))
def test_coherent_measures_keep_the_axioms(x, y, scale, shift):
    """Four equally likely outcomes: prevents a measure that punishes spreading risk, or that moves with its units."""
    law = DiscreteLaws.from_arrays
    for measure in COHERENT:
        (a,), (b,), (both,) = (measure.of(law(outcome)) for outcome in (x, y, x + y))
        assert both >= a + b - 1e-9, measure
        assert measure.of(law(scale * x + shift))[0] == pytest.approx(scale * a + shift, abs=1e-9), measure
        assert measure.of(law(np.maximum(x, y)))[0] >= max(a, b) - 1e-9, measure


def test_value_at_risk_punishes_spreading_and_mean_deviation_punishes_gains():
    """Prevents tests of the axioms that pass whatever the measure: these two break them."""
    x, y = np.array([-10.0, 0, 0, 0]), np.array([0, -10.0, 0, 0])
    first, second, both = (ValueAtRisk(0.3).of(DiscreteLaws.from_arrays(outcome))[0] for outcome in (x, y, x + y))
    assert both < first + second
    plain, better = DiscreteLaws.point_masses([0.0]), DiscreteLaws.from_arrays([0.0, 1.0], [0.99, 0.01])
    assert MeanDeviation(1.0).of(better)[0] < MeanDeviation(1.0).of(plain)[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ValueAtRisk(0.0), "level is 0.0"),
        (lambda: ExpectedShortfall(1.5), "level is 1.5"),
        (lambda: EntropicValueAtRisk(math.nan), "level is nan"),
        (lambda: EntropicRisk(math.inf), "aversion is inf"),
        (lambda: MeanDeviation(-1.0), "aversion is -1.0"),
        (lambda: Wang(math.nan), "eta is nan"),
        (lambda: CPW(0.2), "eta is 0.2"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        make()
