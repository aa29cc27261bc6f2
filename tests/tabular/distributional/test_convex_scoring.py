"""Scores against the measures that they stand for, and the bounds between two v against what lies between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlbook.errors import ParameterError
from rlbook.tabular.distributional import (
    DiscreteLaws,
    EntropicScore,
    EntropicValueAtRisk,
    ExpectedShortfall,
    ShortfallScore,
    VarianceScore,
)

SCORES = [
    VarianceScore(),
    VarianceScore(1.0, 0.3),
    VarianceScore(1.0, 0.0),
    ShortfallScore(0.1),
    ShortfallScore(0.4, 0.5),
    ShortfallScore(1.0),
    ShortfallScore(0.3, 0.0),
    EntropicScore(0.05),
    EntropicScore(0.6),
]
NAMES = [str(score) for score in SCORES]


def random_laws(seed: int, n: int = 20) -> DiscreteLaws:
    random = np.random.default_rng(seed)
    return DiscreteLaws.from_arrays(random.integers(-8, 9, size=(n, 5)), random.dirichlet(np.ones(5), size=n))


def risk_at(score, law: DiscreteLaws, v: float) -> float:
    about = -law.atom[0]
    return score.risk(float(law.mass @ score.scores(-law.atom, v, about)), v, about)


def each(laws: DiscreteLaws) -> list[DiscreteLaws]:
    return [DiscreteLaws.from_arrays(*laws.law(i)) for i in range(laws.n_laws)]


def test_risks_are_the_measures_of_returns_with_the_sign_turned():
    """Prevents a score that is minimised for another measure than its name says."""
    laws = random_laws(0)
    assert ShortfallScore(0.2).of(laws) == pytest.approx(-ExpectedShortfall(0.2).of(laws))
    assert EntropicScore(0.2).of(laws) == pytest.approx(-EntropicValueAtRisk(0.2).of(laws))
    assert VarianceScore().of(laws) == pytest.approx(laws.variances())
    assert ShortfallScore(0.2, 0.0).of(laws) == pytest.approx(-laws.means())
    assert VarianceScore(2.0, 3.0).of(laws) == pytest.approx(3 * laws.variances() - 2 * laws.means())


@pytest.mark.parametrize("score", SCORES, ids=NAMES)
def test_the_best_v_attains_the_risk_and_no_other_falls_below(score):
    for law in each(random_laws(1)):
        (risk,), (best,) = score.of(law), score.best(law)
        low, high = score.range(-8.0, 8.0)
        if isinstance(score, EntropicScore) and not low <= best <= high:
            continue  # the measure is the worst cost there, which is reached as v grows without end
        assert risk_at(score, law, best) == pytest.approx(risk, abs=1e-8)
        for v in np.linspace(low, high, 60):
            assert risk_at(score, law, float(v)) >= risk - 1e-9
        if score.at_atoms:
            assert min(risk_at(score, law, float(v)) for v in -law.atom) == pytest.approx(risk, abs=1e-9)


@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("score", SCORES, ids=NAMES)
def test_floors_lie_below_the_best_of_several_laws(score, seed, one, other):
    """Prevents a bound that cuts off the best v: nothing would show it but a risk that is a little too high."""
    laws = each(random_laws(seed, 4))
    low, high = score.range(-8.0, 8.0)
    a, b = (low + (high - low) * share**2 for share in sorted((one, other)))
    assume(b > a + 1e-6)

    def best(v: float) -> float:
        return min(risk_at(score, law, v) for law in laws)

    bound, v = score.floor(a, best(a), b, best(b), 16.0)
    assert a <= v <= b
    assert bound <= min(best(float(u)) for u in np.linspace(a, b, 40)) + 1e-8
    if isinstance(score, EntropicScore):  # beyond its range the least risk is that of the worst costs
        assert score.beyond(high, best(high)) <= min(-law.atom[0] for law in laws) + 1e-9


@pytest.mark.parametrize("score", SCORES, ids=NAMES)
def test_risks_move_no_more_than_the_shift_says(score):
    random = np.random.default_rng(3)
    for law in each(random_laws(4)):
        moved = DiscreteLaws.from_arrays(law.atom + random.uniform(-0.1, 0.1, size=len(law.atom)), law.mass)
        assert abs(score.of(moved)[0] - score.of(law)[0]) <= score.shift(0.1, 16.0) + 1e-12


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ShortfallScore(0.0), "level is 0.0"),
        (lambda: ShortfallScore(0.5, 1.5), "weight is 1.5"),
        (lambda: EntropicScore(1.0), "level is 1.0"),
        (lambda: VarianceScore(-1.0), "mean_weight is -1.0"),
        (lambda: VarianceScore(0.0, 0.0), "both 0"),
    ],
)
def test_parameters_out_of_range_are_named(make, words):
    with pytest.raises(ParameterError, match=words):
        make()
