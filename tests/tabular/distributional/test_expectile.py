"""Expectiles in rationals and by definition, laws imputed from them, and the collapse of taking them for samples."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.errors import ParameterError
from rlbook.tabular import evaluate_policy, uniform_policy
from rlbook.tabular.distributional import DiscreteLaws, Expectiles, return_laws, return_variance
from tests.tabular.distributional.dyadic_worlds import coin_world

SEEDS = st.integers(0, 2**32 - 1)


def random_laws(seed: int, n: int, k: int, size: float = 1.0, centre: float = 0.0) -> DiscreteLaws:
    rng = np.random.default_rng(seed)
    return DiscreteLaws.from_arrays(centre + size * rng.normal(size=(n, k)), rng.dirichlet(np.full(k, 0.3), n))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-8, 8), st.integers(1, 9)), min_size=1, max_size=7), st.sampled_from([1, 3, 5, 9])
)
def test_expectiles_are_exact(entries, m):
    """Against roots in fractions: between which atoms each lies is found by trying all places."""
    total = sum(weight for _, weight in entries)
    law = [(Fraction(x), Fraction(weight, total)) for x, weight in entries]
    laws = DiscreteLaws.from_arrays([float(x) for x, _ in law], [float(p) for _, p in law])
    by = Expectiles(m)
    for level, found in zip(by.levels, by.project(laws)[0], strict=True):
        t = Fraction(float(level))
        roots = set()
        for middle in {x for x, _ in law}:
            above = [(x, p) for x, p in law if x > middle]
            below = [(x, p) for x, p in law if x <= middle]
            share = t * sum(p for _, p in above) + (1 - t) * sum(p for _, p in below)
            e = (t * sum(x * p for x, p in above) + (1 - t) * sum(x * p for x, p in below)) / share
            if t * sum(p * max(x - e, 0) for x, p in law) == (1 - t) * sum(p * max(e - x, 0) for x, p in law):
                roots.add(e)
        assert len(roots) == 1
        assert found == pytest.approx(float(roots.pop()), abs=1e-13)


def test_the_middle_expectile_is_the_mean():
    laws = random_laws(3, 50, 8)
    for m in (1, 3, 11, 51):
        np.testing.assert_allclose(Expectiles(m).project(laws)[:, m // 2], laws.means(), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(
            Expectiles(m).means(Expectiles(m).project(laws)), Expectiles(m).project(laws)[:, m // 2]
        )


@settings(max_examples=80, deadline=None)
@given(
    SEEDS,
    st.sampled_from([1, 3, 5, 11, 51, 151]),
    st.integers(1, 12),
    st.sampled_from([1e-6, 1.0, 1e5]),
    st.sampled_from([0.0, -7.0, 1e3]),
)
def test_imputed_laws_have_the_expectiles_that_they_were_made_from(seed, m, k, size, centre):
    """Prevents a law that only looks right; 1e-8 of the law's size is asked, next to what its centre rounds away."""
    laws = random_laws(seed, 4, k, size, centre)
    by = Expectiles(m)
    given_expectiles = by.project(laws)
    imputed = by.laws(given_expectiles)
    assert np.abs(by.project(imputed) - given_expectiles).max() <= 1e-8 * size + 1e-12 * abs(centre)
    assert imputed.sizes.max() <= max(m - 1, 1)


def test_no_three_equally_likely_samples_have_these_expectiles():
    """Why masses are free: expectiles of 0 with chance 0.9, else 1, against a search over all triples on a grid."""
    by = Expectiles(3)
    wanted = by.project(DiscreteLaws.from_arrays([0.0, 1.0], [0.9, 0.1]))
    a, b = np.array(list(product(np.linspace(-1, 1, 201), repeat=2))).T
    triples = np.stack([a, b, 3 * wanted[0, 1] - a - b], axis=1)  # the mean fixes the third
    miss = np.abs(by.project(DiscreteLaws.from_arrays(triples)) - wanted).max(axis=1)
    assert miss.min() > 0.02
    assert np.abs(by.project(by.laws(wanted)) - wanted).max() < 1e-14


def test_lists_that_no_law_has_are_mended_to_laws():
    """Prevents negative masses from a learner's table; the mean is kept."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(300, 9))
    for rows in (table, np.sort(table, axis=1), np.round(np.sort(table, axis=1))):
        laws = Expectiles(9).laws(rows)  # DiscreteLaws checks that these are laws
        np.testing.assert_allclose(laws.means(), rows[:, 4], rtol=0, atol=1e-11)
    one_sided = [[-3.0, 0.0, 0.0]]
    found = Expectiles(3).project(Expectiles(3).laws(one_sided))[0]
    assert found[:2] == pytest.approx([-3.0, 0.0], abs=1e-12), "the one expectile that a law can have is kept"


def test_dynamic_programming_keeps_the_means():
    mdp = coin_world()
    found = return_laws(mdp, Expectiles(5), uniform_policy(mdp), tolerance=1e-12)
    assert found.converged
    np.testing.assert_allclose(found.laws.means(), evaluate_policy(mdp, uniform_policy(mdp)).values, rtol=0, atol=1e-9)


def test_expectiles_taken_for_samples_collapse_and_imputed_ones_do_not():
    """What Rowland et al. report, in two worlds' worth of variance against the variance Bellman equation."""
    mdp = coin_world()
    policy = uniform_policy(mdp)
    truth = return_variance(mdp, policy)
    imputed = return_laws(mdp, Expectiles(11), policy).laws.variances()
    naive = return_laws(mdp, Expectiles(11, naive=True), policy).laws.variances()
    assert np.all(np.abs(imputed / truth - 1) < 0.1)
    assert np.all(naive < 0.4 * truth)


@pytest.mark.parametrize(("m", "words"), [(4, "give an odd number"), (0, "at least 1"), (2.5, "whole number")])
def test_other_counts_are_refused(m, words):
    with pytest.raises(ParameterError, match=words):
        Expectiles(m)


@pytest.mark.parametrize(
    ("table", "words"), [(np.zeros((2, 4)), "has shape"), ([[0.0, np.nan, 1.0]], "must be finite")]
)
def test_other_tables_are_refused(table, words):
    with pytest.raises(ParameterError, match=words):
        Expectiles(3).laws(table)
