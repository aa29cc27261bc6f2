"""Environments against numbers that their sources print, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from rlbook.environments import make
from rlbook.mdp import FiniteMDP


def policy_value(mdp: FiniteMDP, policy: np.ndarray) -> np.ndarray:
    """v of a stochastic policy (pairs,), by a sparse direct solve of (I - discount P) v = r."""
    mix = scipy.sparse.csr_array((policy, np.arange(mdp.n_pairs), mdp.state_ptr), shape=(mdp.n_states, mdp.n_pairs))
    system = scipy.sparse.eye_array(mdp.n_states) - mdp.discount * (
        mix @ scipy.sparse.csr_array(mdp.continuing_matrix())
    )
    return scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(system), mix @ mdp.expected_reward)


def uniform(mdp: FiniteMDP) -> np.ndarray:
    return 1.0 / np.repeat(np.diff(mdp.state_ptr), np.diff(mdp.state_ptr))


def optimal_value(mdp: FiniteMDP, sweeps: int) -> np.ndarray:
    """v after plain sweeps from zero; the callers know how many are enough."""
    matrix, value = mdp.continuing_matrix(), np.zeros(mdp.n_states)
    for _ in range(sweeps):
        value = np.maximum.reduceat(mdp.expected_reward + mdp.discount * (matrix @ value), mdp.state_ptr[:-1])
    return value


def test_gridworld_5x5_has_the_values_of_figures_3_2_and_3_5():
    """Prevents a wrong teleport, edge cost or discount. Sutton & Barto (2018), figures 3.2 and 3.5."""
    mdp = make("gridworld-5x5")
    equiprobable = [
        [3.3, 8.8, 4.4, 5.3, 1.5],
        [1.5, 3.0, 2.3, 1.9, 0.5],
        [0.1, 0.7, 0.7, 0.4, -0.4],
        [-1.0, -0.4, -0.4, -0.6, -1.2],
        [-1.9, -1.3, -1.2, -1.4, -2.0],
    ]
    best = [
        [22.0, 24.4, 22.0, 19.4, 17.5],
        [19.8, 22.0, 19.8, 17.8, 16.0],
        [17.8, 19.8, 17.8, 16.0, 14.4],
        [16.0, 17.8, 16.0, 14.4, 13.0],
        [14.4, 16.0, 14.4, 13.0, 11.7],
    ]
    np.testing.assert_allclose(policy_value(mdp, uniform(mdp)).reshape(5, 5), equiprobable, atol=0.0501)
    np.testing.assert_allclose(optimal_value(mdp, 400).reshape(5, 5), best, atol=0.0501)


def test_gridworld_4x4_has_the_values_of_figure_4_1():
    """Prevents a reward missing from the last step. Sutton & Barto (2018), figure 4.1, k = infinity."""
    mdp = make("gridworld-4x4", discount=1.0)
    printed = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    np.testing.assert_allclose(policy_value(mdp, uniform(mdp)).reshape(4, 4), printed, atol=1e-9)


def test_random_walk_has_the_values_of_example_6_2():
    """Prevents a reward on the wrong end. Sutton & Barto (2018), example 6.2: 1/6 to 5/6."""
    mdp = make("random-walk")
    np.testing.assert_allclose(policy_value(mdp, uniform(mdp)), np.arange(1, 6) / 6, rtol=1e-13)
    assert mdp.start.tolist() == [0, 0, 1, 0, 0]
    longer = make("random-walk", states=19)
    np.testing.assert_allclose(policy_value(longer, uniform(longer)), np.arange(1, 20) / 20, rtol=1e-12)


def test_gamblers_optimal_value_is_bold_plays():
    """Prevents stakes beyond the goal, or a stake of nothing. With p < 1/2 bold play is optimal (Dubins & Savage 1965).

    Bold play from 50 stakes 50: p. From 25: p squared. From 75: p + (1 - p) p.
    """
    mdp = make("gambler")
    value = optimal_value(mdp, 300)
    np.testing.assert_allclose(value[[25, 50, 75]], [0.16, 0.4, 0.64], rtol=1e-12)
    assert value[0] == value[100] == 0
    assert mdp.action[mdp.state_ptr[30] : mdp.state_ptr[31]].tolist() == list(range(1, 31))
    assert mdp.action[mdp.state_ptr[80] : mdp.state_ptr[81]].tolist() == list(range(1, 21))
    assert 0 not in np.delete(mdp.action, mdp.state_ptr[[0, 100]])


def test_gamblers_fair_game_gives_every_policy_the_same_value():
    """Prevents a bias in the coin: at p = 1/2 the capital is a martingale, so v(s) = s / goal."""
    mdp = make("gambler", p_heads=0.5)
    np.testing.assert_allclose(policy_value(mdp, uniform(mdp))[1:100], np.arange(1, 100) / 100, rtol=1e-10)


@pytest.mark.parametrize(("king_moves", "steps"), [(False, 15), (True, 7)])
def test_windy_takes_as_many_steps_as_the_book_says(king_moves, steps):
    """Prevents wind in the wrong direction or from the wrong column. Sutton & Barto (2018), ex. 6.5: 15 steps."""
    mdp = make("windy", king_moves=king_moves, discount=1.0)
    assert mdp.start @ optimal_value(mdp, 60) == -steps
    # The number of steps is the same with the wind from above, so one move is looked at.
    windy_cell, one_up_and_right, right = 3 * 10 + 3, 2 * 10 + 4, 1
    assert mdp.transitions(windy_cell, right) == [(1.0, one_up_and_right, -1.0, False)]


def test_cliffs_best_way_is_along_the_edge():
    """Prevents a fall from ending the episode. Sutton & Barto (2018), example 6.6: 13 steps along the cliff."""
    mdp = make("cliff", discount=1.0)
    assert mdp.start @ optimal_value(mdp, 60) == -13
    start = int(np.argmax(mdp.start))
    assert mdp.transitions(start, 1) == [(1.0, start, -100.0, False)]
    assert mdp.n_states == 38


def test_cliff_and_gymnasiums_cliff_walking_agree():
    """Prevents two cliffs in one book: Gymnasium's differs only in states for the cliff, which nobody enters."""
    ours, theirs = make("cliff", discount=0.9), make("cliff-walking", discount=0.9)
    at = [theirs.layout.cell.index(cell) for cell in ours.layout.cell]
    not_goal = np.arange(len(at)) != ours.layout.cell.index(47)
    np.testing.assert_allclose(optimal_value(ours, 300)[not_goal], optimal_value(theirs, 300)[at][not_goal])


def test_four_rooms_are_those_of_the_paper():
    """Prevents another map or another slip. Sutton, Precup & Singh (1999): 104 cells, 2/3 ahead, 1/9 each other way."""
    mdp = make("four-rooms")
    assert mdp.n_states == 104
    hallways = [cell for cell in mdp.layout.cell if divmod(cell, 13) in {(3, 6), (6, 2), (7, 9), (10, 6)}]
    assert len(hallways) == 4
    middle = mdp.layout.cell.index(2 * 13 + 2)
    law = sorted(probability for probability, *_ in mdp.transitions(middle, 0))
    np.testing.assert_allclose(law, [1 / 9, 1 / 9, 1 / 9, 2 / 3])
    goal = mdp.layout.cell.index(7 * 13 + 9)
    assert {int(state) for state in mdp.next_state[mdp.reward == 1.0]} == {goal}
    assert mdp.start[goal] == 0


def test_chain_forward_earns_what_strens_prints():
    """Prevents slips that pay the wrong action's reward. Strens (2000), table 1: 3677 in 1000 steps, always forward."""
    mdp = make("chain")
    forward = (mdp.action == 0).astype(float)
    step = scipy.sparse.csr_array((forward, np.arange(10), mdp.state_ptr), shape=(5, 10)) @ mdp.continuing_matrix()
    stationary = np.linalg.matrix_power(step.toarray(), 200)[0]
    earned = 1000 * stationary @ mdp.expected_reward[mdp.action == 0]
    assert earned == pytest.approx(3677, abs=0.5)
    best = optimal_value(mdp, 4000)
    np.testing.assert_allclose(policy_value(mdp, forward), best, rtol=1e-10)


def test_riverswim_has_the_papers_numbers():
    """Prevents the later variant (0.35, 0.6, 0.05) under the same citation. Strehl & Littman (2008)."""
    mdp = make("riverswim")
    left, right = 0, 1
    assert mdp.transitions(0, left) == [(1.0, 0, 5.0, False)]
    assert mdp.transitions(0, right) == [(0.7, 0, 0.0, False), (0.3, 1, 0.0, False)]
    assert mdp.transitions(3, left) == [(1.0, 2, 0.0, False)]
    assert mdp.transitions(3, right) == [(0.1, 2, 0.0, False), (0.6, 3, 0.0, False), (0.3, 4, 0.0, False)]
    assert mdp.transitions(5, right) == [(0.7, 4, 0.0, False), (0.3, 5, 10_000.0, False)]
    assert mdp.start.tolist() == [0, 0.5, 0.5, 0, 0, 0]


@pytest.mark.parametrize("scrambled", [False, True])
@pytest.mark.parametrize("size", [2, 10, 30])
def test_deep_sea_pays_099_at_best_and_a_random_agent_hardly_ever(size, scrambled):
    """Prevents a treasure that can be found by a detour. bsuite (Osband et al. 2019): the best return is 0.99."""
    mdp = make("deep-sea", size=size, scrambled=scrambled)
    assert mdp.start @ optimal_value(mdp, size) == pytest.approx(0.99)
    treasure = mdp.replace(expected_reward=(mdp.expected_reward > 0.5).astype(float))
    assert treasure.start @ policy_value(treasure, uniform(treasure)) == pytest.approx(0.5**size)


def test_deep_seas_seed_turns_the_actions_and_nothing_else():
    """Prevents every seed from giving one mapping, or the mapping from changing the values."""
    first, second = make("deep-sea", seed=1), make("deep-sea", seed=2)
    assert first != second
    assert make("deep-sea", seed=1) == first
    np.testing.assert_array_equal(optimal_value(first, 10), optimal_value(second, 10))


def test_garnet_has_the_shape_asked_for():
    """Prevents repeated next states, which would make a smaller branching than asked for."""
    mdp = make("garnet", states=50, actions=3, branching=7, seed=1)
    assert (mdp.n_states, mdp.n_actions, mdp.n_transitions) == (50, 3, 50 * 3 * 7)
    rows = mdp.next_state.reshape(-1, 7)
    assert (np.diff(rows, axis=1) > 0).all()
    assert mdp.reward is None
    assert make("garnet", states=50, actions=3, branching=7, seed=1) == mdp
    assert make("garnet", states=50, actions=3, branching=7, seed=2) != mdp
    assert make("garnet", states=6, branching=6).next_state.reshape(-1, 6).tolist()[0] == list(range(6))
    assert set(make("garnet", states=6, branching=1).probability.tolist()) == {1.0}


def test_garnet_draws_every_set_of_next_states_equally_often():
    """Prevents a method of drawing that favours some states, such as retries or the last ones of Floyd's loop."""
    mdp = make("garnet", states=5, actions=10_000, branching=2, seed=0)
    pairs = mdp.next_state.reshape(-1, 2)
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25)
    counts = counts[counts > 0]
    assert len(counts) == 10
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert statistic < 27.9, "chi-squared with 9 degrees of freedom, at one in a thousand"


def test_garnet_cuts_the_interval_uniformly_and_draws_normal_rewards():
    """Prevents normalised uniform weights, whose law is not that of cut points, and rewards of another scale."""
    mdp = make("garnet", states=200, actions=100, branching=3, seed=0)
    # Pieces of an interval cut at two uniform points have mean 1/3 and variance 1/18 (Dirichlet(1, 1, 1)).
    assert mdp.probability.var() == pytest.approx(1 / 18, rel=0.03)
    assert mdp.expected_reward.mean() == pytest.approx(0, abs=0.03)
    assert mdp.expected_reward.std() == pytest.approx(1, abs=0.03)
