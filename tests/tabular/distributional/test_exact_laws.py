"""Exact mixtures with pruning: their proven error against brute force, the best quantiser, and sampled returns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import MDPError, ParameterError
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import evaluate_policy, solve, uniform_policy
from rlbook.tabular.distributional import (
    DiscreteLaws,
    ExactLaws,
    absolute_returns,
    dkw_band,
    exact_iteration,
    return_laws,
    sampled_returns,
)
from rlbook.tabular.distributional.metrics import wasserstein
from tests.tabular.distributional.dyadic_worlds import (
    as_fractions,
    coin_world,
    dyadic_policies,
    dyadic_worlds,
    laws_by_trajectories,
)

FAILURE = 1e-9  # chance that a band misses; a test of this file uses two bands


def w1_by_quantiles(first: DiscreteLaws, second: DiscreteLaws) -> float:
    """Wasserstein-1 distance of two single laws by pairing their mass off, another road than distribution functions."""
    (x, p), (y, q) = (tuple(map(list, laws.law(0))) for laws in (first, second))
    total, i, j = 0.0, 0, 0
    while i < len(x) and j < len(y):
        share = min(p[i], q[j])
        total += share * abs(x[i] - y[j])
        p[i] -= share
        q[j] -= share
        i, j = i + (p[i] <= 1e-15), j + (q[j] <= 1e-15)
    return total


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([0.0, 1e-12, 0.3]))
def test_pruning_keeps_means_and_costs_what_it_says(seed, most, tolerance):
    """Prevents a mean that drifts, a cost that is not the distance, too many atoms, and more cost than asked for."""
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(3, 40)) * 10.0 ** rng.integers(-3, 4, (3, 1))
    laws = DiscreteLaws.from_arrays(atoms, rng.dirichlet(np.full(40, rng.choice([0.1, 1.0])), 3))
    pruned, cost = ExactLaws(most, tolerance).prune(laws)
    DiscreteLaws(pruned.ptr, pruned.atom, pruned.mass)
    assert np.all(pruned.sizes <= most)
    np.testing.assert_allclose(pruned.means(), laws.means(), rtol=0, atol=1e-13 * np.abs(atoms).max())
    for i in range(3):
        one, other = (DiscreteLaws.from_arrays(*made.law(i)) for made in (laws, pruned))
        assert cost[i] == pytest.approx(w1_by_quantiles(one, other), rel=1e-6, abs=1e-12)
    roomy, spent = ExactLaws(40, tolerance).prune(laws)
    assert np.all(spent <= tolerance * (1 + 1e-9))
    if tolerance == 0:
        np.testing.assert_array_equal(roomy.atom, laws.atom)


def test_pruning_is_near_the_best_quantiser_where_that_is_known():
    """Prevents pruning by equal mass or equal width: k atoms for a normal law can cost (int sqrt f)^2 / (4 k) at best.

    Graf & Luschgy 2000, theorem 6.2 in one dimension; for the standard normal the integral squared is 2 sqrt(2 pi). A
    tenth is left for k finite and for means in the place of medians.
    """
    k = 50
    laws = DiscreteLaws.from_arrays(DiscreteLaws.from_arrays(np.linspace(-6, 6, 40_001)).atom, normal_masses(40_001))
    _, cost = ExactLaws(k).prune(laws)
    assert 0.95 < cost[0] / (2 * math.sqrt(2 * math.pi) / (4 * k)) < 1.10


def normal_masses(n: int) -> np.ndarray:
    density = np.exp(-0.5 * np.linspace(-6, 6, n) ** 2)
    return density / density.sum()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_with_room_the_laws_of_a_few_steps_are_exact(data):
    """Prevents pruning where there is room, and sweeps counted wrongly."""
    mdp = data.draw(dyadic_worlds().filter(lambda world: world.discount < 1))
    policy = data.draw(dyadic_policies(mdp))
    found = return_laws(mdp, ExactLaws(10_000, 0.0), policy, sweeps=3, tolerance=0.0, keep_history=True)
    assert as_fractions(found.laws_after(min(2, found.sweeps))) == laws_by_trajectories(mdp, policy, 2)


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(2, 8), st.integers(1, 12))
def test_error_bounds_hold_with_hard_pruning_and_few_sweeps(data, most, sweeps):
    """Prevents bounds that forget pruning, its carriage from state to state, or the sweeps not done."""
    mdp = data.draw(dyadic_worlds().filter(lambda world: world.discount in (0.5, 0.75)))
    policy = data.draw(dyadic_policies(mdp))
    truth = return_laws(mdp, ExactLaws(1500, 0.0), policy, tolerance=1e-4)
    found = return_laws(mdp, ExactLaws(most), policy, sweeps=sweeps, tolerance=0.0)
    away = wasserstein(found.laws, truth.laws, 1.0)
    assert np.all(away <= found.error_bounds + truth.error_bounds + 1e-9)
    values = evaluate_policy(mdp, policy).values
    np.testing.assert_array_less(np.abs(truth.laws.means() - values), truth.error_bounds + 1e-9)


def test_bounds_without_the_pruning_term_would_be_wrong():
    """A control for the test above: what remains of the sweeps alone does not bound the error of two atoms."""
    mdp = coin_world()
    policy = uniform_policy(mdp)
    truth = return_laws(mdp, ExactLaws(4000), policy, tolerance=1e-4)
    found = return_laws(mdp, ExactLaws(2), policy, tolerance=1e-4)
    away = wasserstein(found.laws, truth.laws, 1.0)
    assert found.converged
    assert np.all(away > found.remaining + truth.error_bound)
    assert np.all(away <= found.error_bounds + truth.error_bounds)


def test_an_exact_law_lies_in_the_band_of_its_samples():
    """Prevents a sampler that ends an episode a step early or late: five steps, nothing pruned, no bound needed."""
    mdp = coin_world(discount=0.5)
    policy, n = uniform_policy(mdp), 1_000_000
    laws = return_laws(mdp, ExactLaws(10**6, 0.0), policy, sweeps=5, tolerance=0.0).laws
    for steps, inside in ((5, True), (4, False)):
        returns = np.sort(sampled_returns(mdp, policy, 0, n, seed=3, most_steps=steps))
        places = laws.law(0)[0]
        # Sums that are equal on paper may differ by an ulp, so both are looked at between the atoms.
        between = 0.5 * (places[1:] + places[:-1])[np.diff(places) > 1e-9]
        gap = np.abs(np.searchsorted(returns, between) / n - laws.cdf(between)[0]).max()
        assert (gap <= dkw_band(n, FAILURE)) == inside


def test_sampled_returns_are_keyed_by_place():
    """Prevents returns that depend on how many were asked for, or on threads."""
    mdp = coin_world()
    many = sampled_returns(mdp, uniform_policy(mdp), 2, 150_000, seed=5)
    np.testing.assert_array_equal(many[:1000], sampled_returns(mdp, uniform_policy(mdp), 2, 1000, seed=5))
    assert not np.array_equal(many[:1000], sampled_returns(mdp, uniform_policy(mdp), 2, 1000, seed=6))
    with pytest.raises(ParameterError, match="state is 3; give a whole number from 0 to 2"):
        sampled_returns(mdp, uniform_policy(mdp), 3, 1)


def test_absolute_returns_bound_what_cancels():
    """Prevents a tail bound from signed rewards, which is 0 for a fair coin."""
    mdp = from_transitions([{0: [(0.5, 0, -1.0, False), (0.5, 0, 1.0, False)]}], 0.9)
    assert absolute_returns(mdp, np.array([0]))[0] == pytest.approx(10.0)
    assert absolute_returns(mdp, np.array([0]))[0] >= 10.0 - 1e-12


def test_control_finds_an_optimal_policy_and_bounds_its_laws():
    """Prevents greedy choices from stale means."""
    mdp = make("garnet", states=15, actions=3, branching=3, discount=0.8)
    best = solve(mdp, 1e-9)
    for given_policy in (None, "optimal"):
        found = return_laws(mdp, ExactLaws(300), given_policy, tolerance=1e-4)
        np.testing.assert_array_equal(found.policy, best.policy)
        assert not found.of_policy
        np.testing.assert_array_less(np.abs(found.laws.means() - best.values), found.error_bounds)
        truth = return_laws(mdp, ExactLaws(1500), found.policy, tolerance=1e-4)
        away = wasserstein(found.laws, truth.laws, 1.0)
        assert np.all(away <= found.error_bounds + truth.error_bounds)


def test_bounds_start_anew_when_the_policy_changes():
    """Leaving for 1 is exact after one sweep, staying is worth 6.

    Prevents bounds that carry over from a policy that was left, and an end at a policy that is not greedy any more.
    """
    mdp = from_transitions([{0: [(1.0, 0, 1.0, True)], 1: [(1.0, 0, 0.6, False)]}], 0.9)
    found = return_laws(mdp, ExactLaws(10), None, sweeps=2, tolerance=0.0)
    assert found.policy.tolist() == [1]
    assert found.laws.means()[0] == pytest.approx(1.5)
    assert found.error_bound >= 6.0 - 1.5
    final = return_laws(mdp, ExactLaws(10), None, tolerance=1e-6)
    assert final.laws.means()[0] == pytest.approx(6.0)


def test_ties_that_rounding_breaks_do_not_keep_control_from_its_end():
    """Prevents a policy that changes in every sweep, whose bounds start anew each time and never fall."""
    mdp = make("cliff-walking", slippery=True, discount=0.9)
    found = return_laws(mdp, ExactLaws(30), None, tolerance=1e-3, sweeps=150)
    assert found.converged
    np.testing.assert_array_less(np.abs(found.laws.means() - solve(mdp, 1e-9).values), found.error_bounds)


def test_undiscounted_episodes_have_laws_where_they_end():
    """Prevents bounds that need a discount: a geometric number of steps has an exact law at discount 1."""
    ending = from_transitions([{0: [(0.5, 0, 1.0, False), (0.5, 0, 1.0, True)]}], 1.0)
    found = return_laws(ending, ExactLaws(200), np.array([0]), tolerance=1e-9)
    atoms, masses = found.laws.law(0)
    np.testing.assert_allclose(masses[:20], 0.5 ** np.arange(1, 21), rtol=1e-9)
    np.testing.assert_array_equal(atoms[:20], np.arange(1, 21))
    assert found.error_bound <= 2e-9
    endless = from_transitions([{0: [(1.0, 0, 1.0, False)]}], 1.0)
    with pytest.raises(MDPError):
        return_laws(endless, ExactLaws(200), np.array([0]))


def test_many_states_are_pruned_in_parts_with_the_same_result(monkeypatch):
    """Prevents a part that starts at the wrong row; parts exist so that long laws fit into memory."""
    mdp = make("garnet", states=12, actions=2, branching=3, discount=0.9)
    whole = return_laws(mdp, ExactLaws(30), uniform_policy(mdp), sweeps=20)
    monkeypatch.setattr(exact_iteration, "_ATOMS_AT_ONCE", 400)
    parts = return_laws(mdp, ExactLaws(30), uniform_policy(mdp), sweeps=20)
    np.testing.assert_array_equal(whole.laws.atom, parts.laws.atom)
    np.testing.assert_array_equal(whole.laws.ptr, parts.laws.ptr)
    np.testing.assert_array_equal(whole.error_bounds, parts.error_bounds)


@pytest.mark.parametrize(("arguments", "said"), [((0,), "max_atoms is 0"), ((5, -1.0), "tolerance is -1.0")])
def test_settings_out_of_range_are_refused_in_words(arguments, said):
    """Prevents an empty law, and a kernel called with a negative limit."""
    with pytest.raises(ParameterError, match=said):
        ExactLaws(*arguments)
