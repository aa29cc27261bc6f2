"""Quantiles: the best m equally likely locations, fused sweeps, contraction in W-infinity, what is proven of W_1."""

from __future__ import annotations

import pickle
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import (
    DiscreteLaws,
    ExactLaws,
    Particles,
    Quantiles,
    return_law_backup,
    return_laws,
    sampled_returns,
    wasserstein,
)
from rlbook.tabular.distributional import quantile as module
from tests.tabular.distributional.dyadic_worlds import coin_world, dyadic_policies, dyadic_worlds

SEEDS = st.integers(0, 2**32 - 1)


def random_laws(rng: np.random.Generator, n: int, k: int) -> DiscreteLaws:
    """n laws of at most k atoms, some of them equal."""
    return DiscreteLaws.from_arrays(np.round(3 * rng.normal(size=(n, k)), 1), rng.dirichlet(np.full(k, 0.5), n))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 3), st.integers(1, 6))
def test_no_other_locations_are_nearer_in_wasserstein_1(seed, m, k):
    """Against all choices of m atoms, among which a best one must be: prevents levels other than midpoints."""
    laws = random_laws(np.random.default_rng(seed), 1, k)
    chosen = Quantiles(m)
    tried = np.array(list(combinations_with_replacement(laws.atom, m)))
    there = laws.mixture(np.ones((len(tried), 1)))
    best = wasserstein(there, chosen.laws(tried)).min()
    assert wasserstein(laws, chosen.laws(chosen.project(laws)))[0] <= best + 1e-12


def test_the_lower_quantile_is_taken_at_ties_even_where_sums_round():
    """Prevents rounding from choosing: ten masses of 0.1 reach 0.5 only nearly."""
    fair = DiscreteLaws.from_arrays([0.0, 1.0], [0.5, 0.5])
    assert Quantiles(1).project(fair).tolist() == [[0.0]]
    tenths = DiscreteLaws.from_arrays(np.arange(10.0), np.full(10, 0.1))
    assert Quantiles(1).project(tenths).tolist() == [[4.0]]
    assert Quantiles(5).project(tenths).tolist() == [[0.0, 2.0, 4.0, 6.0, 8.0]]


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([Quantiles(1), Quantiles(4), Quantiles(7), Particles(5, 2), Particles(5, 2, False)]))
def test_a_fused_sweep_is_the_projected_exact_backup(data, representation):
    """Prevents expected rewards in place of those of transitions, endings that go on, and successors mixed up."""
    mdp = data.draw(dyadic_worlds())
    weights = data.draw(dyadic_policies(mdp))
    rng = np.random.default_rng(data.draw(SEEDS))
    old = np.sort(rng.integers(-4, 5, (mdp.n_states, representation.m)) / 2.0, axis=1)
    new = np.full_like(old, np.nan)
    representation.evaluation_sweep(mdp, weights, old, new)
    exact = representation.project(return_law_backup(mdp, representation.laws(old), weights))
    np.testing.assert_allclose(new, exact, rtol=0, atol=1e-12)


def test_parallel_and_serial_give_the_same_bits(monkeypatch):
    """Prevents results that depend on the number of threads."""
    mdp = make("garnet", states=200, actions=2, branching=4, discount=0.9)
    old = np.sort(np.random.default_rng(1).normal(size=(200, 9)), axis=1)
    found = []
    for threshold in (0, 10**12):
        monkeypatch.setattr(module, "_PARALLEL_ATOMS", threshold)
        found.append(np.empty_like(old))
        Quantiles(9).evaluation_sweep(mdp, uniform_policy(mdp), old, found[-1])
    assert np.array_equal(*found)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([Quantiles(3), Quantiles(8), Particles(6, 4), Particles(6, 4, False)]))
def test_sweeps_contract_in_wasserstein_infinity(data, representation):
    mdp = data.draw(dyadic_worlds())
    weights = data.draw(dyadic_policies(mdp))
    rng = np.random.default_rng(data.draw(SEEDS))
    pair = [np.sort(3 * rng.normal(size=(mdp.n_states, representation.m)), axis=1) for _ in range(2)]
    after = [np.empty_like(each) for each in pair]
    for old, new in zip(pair, after, strict=True):
        representation.evaluation_sweep(mdp, weights, old, new)
    before = representation.distance(*pair)
    np.testing.assert_allclose(before, wasserstein(*map(representation.laws, pair), np.inf), rtol=0, atol=1e-12)
    assert representation.distance(*after).max() <= representation.modulus(mdp.discount) * before.max() + 1e-12


def test_means_are_not_kept():
    """What the book says of this projection, on the smallest example: a rare prize leaves no trace."""
    prize = DiscreteLaws.from_arrays([0.0, 100.0], [0.95, 0.05])
    assert Quantiles(5).project(prize).tolist() == [[0.0] * 5]
    assert Quantiles(5).means(Quantiles(5).project(prize))[0] == 0.0 != prize.means()[0]


@pytest.mark.parametrize("representation", [Quantiles(2), Quantiles(11), Quantiles(60), Particles(11, 1)])
def test_the_fixed_point_lies_within_the_proven_distance(representation):
    """In W_1, against exact laws whose own error is known, and against sampled returns, which share no code."""
    mdp = coin_world(discount=0.7)
    policy = uniform_policy(mdp)
    found = return_laws(mdp, representation, policy, tolerance=1e-9)
    exact = return_laws(mdp, ExactLaws(3000), policy, tolerance=1e-6)
    distance = wasserstein(found.laws, exact.laws)
    assert found.converged
    assert np.all(distance - exact.error_bounds <= representation.wasserstein_bound(mdp))
    assert distance.max() > 1e-3 * representation.wasserstein_bound(mdp), "a bound that nothing could break"
    drawn = DiscreteLaws.from_arrays(sampled_returns(mdp, policy, 0, 100_000, seed=5))
    assert abs(wasserstein(found.laws.mixture([[1.0, 0.0, 0.0]]), drawn)[0] - distance[0]) < 0.1


def test_the_bound_of_one_projection_is_attained():
    """Prevents a share that is too small: half of the range, for one quantile and two equally likely ends."""
    ends = DiscreteLaws.from_arrays([0.0, 1.0], [0.5, 0.5])
    for m in (1, 4):
        halves = DiscreteLaws.from_arrays(np.repeat([0.0, 1.0], [1, 2 * m - 1]))
        there = ends if m == 1 else halves
        assert wasserstein(there, Quantiles(m).laws(Quantiles(m).project(there)))[0] == pytest.approx(1 / (2 * m))


def test_no_number_of_quantiles_helps_in_wasserstein_infinity():
    """Prevents a bound that shrinks with m: the prize is rarer than 1 / (2 m), so it is missed by its whole size."""
    lottery = from_transitions([{0: [(0.999, 0, 0.0, True), (0.001, 0, 50.0, True)]}], 0.5)
    exact = return_law_backup(lottery, DiscreteLaws.point_masses([0.0]), np.ones(1))
    for m in (1, 10, 400):
        found = return_laws(lottery, Quantiles(m), np.ones(1))
        assert wasserstein(found.laws, exact, np.inf)[0] == 50.0 == Quantiles(m).error_bound(lottery)
        assert found.error_bound == pytest.approx(50.0)
        assert wasserstein(found.laws, exact)[0] <= Quantiles(m).wasserstein_bound(lottery)


def test_bounds_say_nothing_at_discount_one():
    mdp = coin_world(discount=1.0)
    assert Quantiles(5).wasserstein_bound(mdp) == Quantiles(5).error_bound(mdp) == np.inf


def test_quantiles_are_values():
    assert Quantiles(5) == pickle.loads(pickle.dumps(Quantiles(5))) != Quantiles(6)
    assert Quantiles(2).levels.tolist() == [0.25, 0.75]
    assert not pickle.loads(pickle.dumps(Quantiles(5))).levels.flags.writeable


@pytest.mark.parametrize("m", [0, -1, 2.5, True, "3"])
def test_other_counts_are_refused(m):
    with pytest.raises(ParameterError, match="give a whole number of parameters per law"):
        Quantiles(m)


def test_sweeps_refuse_other_shapes_and_rows_that_fall():
    """Prevents a kernel that reads beside its arrays, and merges of rows that are not sorted."""
    mdp, by = make("gridworld"), Quantiles(3)
    good = by.initial(mdp.n_states)
    for weights, old, new in (
        (uniform_policy(mdp)[:-1], good, good.copy()),
        (uniform_policy(mdp), good[:-1], good.copy()),
        (uniform_policy(mdp), good, good[:-1].copy()),
        (uniform_policy(mdp), good[:, :-1], good.copy()),
    ):
        with pytest.raises(ParameterError, match="parameters has shape"):
            by.evaluation_sweep(mdp, weights, old, new)
    turned = good.copy()
    turned[2] = [1.0, 0.0, 2.0]
    with pytest.raises(ParameterError, match=r"parameters\[2\] does not rise"):
        by.evaluation_sweep(mdp, uniform_policy(mdp), turned, good.copy())
