"""The exact operators against all trajectories in fractions, against the scalar Bellman operator, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import MDPError, ParameterError
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import action_values, as_stochastic, bellman_backup, uniform_policy
from rlbook.tabular.distributional import (
    DiscreteLaws,
    greedy_return_law_backup,
    pair_return_laws,
    return_law_backup,
)
from rlbook.tabular.distributional.metrics import cramer, total_variation, wasserstein
from tests.tabular.distributional.dyadic_worlds import (
    as_fractions,
    dyadic_policies,
    dyadic_worlds,
    laws_by_trajectories,
)
from tests.tabular.strategies import small_mdps


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_repeated_backups_are_the_laws_of_all_trajectories(data):
    """Prevents a wrong order of discounting, endings that go on earning, and rewards averaged or merged too early."""
    mdp = data.draw(dyadic_worlds())
    policy = data.draw(dyadic_policies(mdp))
    laws = DiscreteLaws.point_masses(np.zeros(mdp.n_states))
    for steps in range(1, 4):
        laws = return_law_backup(mdp, laws, policy)
        assert as_fractions(laws) == laws_by_trajectories(mdp, policy, steps)


@settings(deadline=None, max_examples=60)
@given(small_mdps(), st.integers(0, 2**32 - 1))
def test_means_follow_the_scalar_operators_and_mass_is_conserved(mdp, seed):
    """Prevents an operator whose means are not T^pi v or T v, and mass that leaks by more than rounding."""
    rng = np.random.default_rng(seed)
    laws = DiscreteLaws.from_arrays(rng.normal(size=(mdp.n_states, 7)), rng.dirichlet(np.ones(7), mdp.n_states))
    q = action_values(mdp, laws.means())
    size = 1e-12 * (1 + np.abs(q).max() + np.abs(mdp.expected_reward).max())
    pairs = pair_return_laws(mdp, laws)
    np.testing.assert_allclose(pairs.means(), q, rtol=0, atol=size)
    policy = uniform_policy(mdp)
    evaluated = return_law_backup(mdp, laws, policy)
    np.testing.assert_allclose(evaluated.means(), np.add.reduceat(policy * q, mdp.state_ptr[:-1]), rtol=0, atol=size)
    optimal, greedy = greedy_return_law_backup(mdp, laws)
    tv, labels = bellman_backup(mdp, laws.means())
    np.testing.assert_allclose(optimal.means(), tv, rtol=0, atol=size)
    np.testing.assert_array_equal(greedy, labels)
    for made in (pairs, evaluated, optimal):
        DiscreteLaws(made.ptr, made.atom, made.mass)  # checks order and signs
        np.testing.assert_allclose(np.add.reduceat(made.mass, made.ptr[:-1]), 1, rtol=0, atol=1e-12)


def test_policies_are_written_as_everywhere():
    """Prevents labels read as pair indices: actions here are ragged, so that the two differ."""
    mdp = from_transitions(
        [{1: [(1.0, 1, 1.0, False)]}, {0: [(1.0, 0, 2.0, True)], 2: [(0.5, 1, 4.0, False), (0.5, 0, 6.0, True)]}], 0.5
    )
    laws = DiscreteLaws.point_masses([10.0, 20.0])
    labels = np.array([1, 2])
    by_labels = return_law_backup(mdp, laws, labels)
    assert [part.tolist() for part in by_labels.law(0)] == [[11.0], [1.0]]
    assert [part.tolist() for part in by_labels.law(1)] == [[6.0, 14.0], [0.5, 0.5]]
    by_weights = return_law_backup(mdp, laws, as_stochastic(mdp, labels))
    np.testing.assert_array_equal(by_labels.atom, by_weights.atom)


def test_expected_rewards_would_give_another_law():
    """Prevents the law of the mean reward: a fair coin for -1 or 1 is not 0, and an ending earns nothing after it."""
    coin = [(0.5, 0, -1.0, False), (0.25, 0, 1.0, False), (0.25, 0, 1.0, True)]
    mdp = from_transitions([{0: coin}], 0.5)
    assert mdp.expected_reward[0] == 0
    laws = return_law_backup(mdp, DiscreteLaws.point_masses([8.0]), np.array([0]))
    assert [part.tolist() for part in laws.law(0)] == [[1.0, 3.0, 5.0], [0.25, 0.5, 0.25]]


def test_ties_are_broken_as_asked():
    """Prevents a greedy rule that depends on anything but the means and the rule given."""
    mdp = from_transitions([{0: [(0.5, 0, -1.0, True), (0.5, 0, 1.0, True)], 3: [(1.0, 0, 0.0, True)]}], 0.9)
    start = DiscreteLaws.point_masses([0.0])
    first, chosen = greedy_return_law_backup(mdp, start)
    last, other = greedy_return_law_backup(mdp, start, ties="last")
    assert (chosen.tolist(), other.tolist()) == ([0], [3])
    assert (first.sizes.tolist(), last.sizes.tolist()) == ([2], [1])
    with pytest.raises(ParameterError, match="ties is 'none'"):
        greedy_return_law_backup(mdp, start, ties="none")


def test_the_optimality_operator_contracts_in_no_metric_but_its_means_do():
    """The example of Bellemare, Dabney & Munos 2017 (their lemma on T), with laws kept per state.

    Prevents the belief, in code or text, that greedy backups bring laws together: two sets of laws that differ by
    2 epsilon in one state lead to laws that are the discount apart, since the better action changes. Distances are
    worked out by hand here.
    """
    gamma, epsilon = 0.75, 2.0**-5
    mdp = from_transitions(
        [
            {0: [(1.0, 1, 0.0, False)], 1: [(1.0, 2, 0.0, False)]},
            {0: [(1.0, 1, 0.0, True)]},
            {0: [(0.5, 2, epsilon - 1.0, True), (0.5, 2, epsilon + 1.0, True)]},
        ],
        gamma,
    )
    near = DiscreteLaws.from_arrays([[0.0, 0.0], [0.0, 0.0], [epsilon - 1.0, epsilon + 1.0]])
    far = DiscreteLaws.from_arrays([[0.0, 0.0], [0.0, 0.0], [-epsilon - 1.0, -epsilon + 1.0]])
    (after_near, one), (after_far, other) = greedy_return_law_backup(mdp, near), greedy_return_law_backup(mdp, far)
    assert (one[0], other[0]) == (1, 0)
    assert wasserstein(near, far, 1.0).max() == 2 * epsilon
    assert wasserstein(after_near, after_far, 1.0).max() == gamma
    assert cramer(after_near, after_far).max() > 2 * cramer(near, far).max()
    assert total_variation(after_near, after_far).max() == total_variation(near, far).max() == 1
    moved = np.abs(after_near.means() - after_far.means()).max()
    assert moved <= gamma * np.abs(near.means() - far.means()).max()
    kept = [return_law_backup(mdp, laws, one) for laws in (near, far)]
    assert wasserstein(*kept, 1.0).max() == gamma * 2 * epsilon


def test_wrong_sizes_are_refused_in_words():
    """Prevents reading past the end of the laws."""
    mdp = make("random-walk", discount=0.9)
    with pytest.raises(MDPError, match="laws holds 1 laws; give one for each of"):
        pair_return_laws(mdp, DiscreteLaws.point_masses([0.0]))
    with pytest.raises(MDPError, match="policy"):
        return_law_backup(mdp, DiscreteLaws.point_masses(np.zeros(mdp.n_states)), "all")
