"""The variance Bellman equation against exact laws, exact second moments and sampled returns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import DiscreteLaws, return_law_backup
from rlbook.tabular.distributional.return_variance import return_variance


def drawn_mdp(seed: int, states: int = 4, discount: float = 0.75) -> FiniteMDP:
    """Two actions, rewards that vary within a pair, and some termination, all in short binary fractions."""
    random = np.random.default_rng(seed)
    transition = np.zeros((states, 2, states))
    for _ in range(8):
        chosen = random.integers(states, size=(states, 2))
        np.add.at(transition, (*np.indices((states, 2)), chosen), 0.125)
    reward = random.integers(-8, 9, size=(states, 2, states)) / 4
    terminated = np.broadcast_to(np.arange(states) == states - 1, (states, 2, states))
    return FiniteMDP.from_dense(transition, reward, discount, terminated=terminated)


def exact_variance(mdp: FiniteMDP, weight: np.ndarray) -> list[Fraction]:
    """Var(G) from the equations of the first and second moment, in rationals."""
    n = mdp.n_states
    discount = Fraction(mdp.discount)
    mean_rows = [[Fraction(0)] * n for _ in range(n)]
    first = [Fraction(0)] * n
    for s in range(n):
        for i in range(mdp.state_ptr[s], mdp.state_ptr[s + 1]):
            for p, following, r, over in mdp.transitions(s, int(mdp.action[i])):
                share = Fraction(weight[i]) * Fraction(p)
                first[s] += share * Fraction(r)
                if not over:
                    mean_rows[s][following] += share * discount
    mean = solved(mean_rows, first)
    second = [Fraction(0)] * n
    for s in range(n):
        for i in range(mdp.state_ptr[s], mdp.state_ptr[s + 1]):
            for p, following, r, over in mdp.transitions(s, int(mdp.action[i])):
                share, after = Fraction(weight[i]) * Fraction(p), 0 if over else discount * mean[following]
                second[s] += share * (Fraction(r) ** 2 + 2 * Fraction(r) * after)
    squares = solved([[discount * entry for entry in row] for row in mean_rows], second)
    return [m2 - m**2 for m2, m in zip(squares, mean, strict=True)]


def solved(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """x of x = right + rows x, by Gauss-Jordan elimination in rationals."""
    n = len(right)
    table = [[Fraction(int(i == j)) - rows[i][j] for j in range(n)] + [right[i]] for i in range(n)]
    for k in range(n):
        pivot = next(i for i in range(k, n) if table[i][k] != 0)
        table[k], table[pivot] = table[pivot], table[k]
        table[k] = [entry / table[k][k] for entry in table[k]]
        for i in range(n):
            if i != k:
                table[i] = [a - table[i][k] * b for a, b in zip(table[i], table[k], strict=True)]
    return [row[-1] for row in table]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("discount", [0.0, 0.75, 0.984375])
def test_variance_equals_exact_second_moments(seed, discount):
    """Prevents expected rewards in the place of drawn ones, and a discount that is not squared."""
    mdp = drawn_mdp(seed, discount=discount)
    weight = np.tile([0.25, 0.75], mdp.n_states)
    expected = [float(v) for v in exact_variance(mdp, weight)]
    np.testing.assert_allclose(return_variance(mdp, weight), expected, rtol=1e-11, atol=1e-12)


def test_variance_is_that_of_the_exact_laws():
    """Laws after eight backups: what comes later is discounted below 1e-11."""
    mdp = drawn_mdp(1, states=2, discount=0.03125)
    laws = DiscreteLaws.point_masses(np.zeros(mdp.n_states))
    for _ in range(8):
        laws = return_law_backup(mdp, laws, uniform_policy(mdp))
    np.testing.assert_allclose(return_variance(mdp, uniform_policy(mdp)), laws.variances(), rtol=1e-9, atol=1e-9)


def test_variance_is_that_of_sampled_returns():
    mdp = drawn_mdp(2, discount=0.75)
    random, count = np.random.default_rng(7), 100_000
    state, alive = np.zeros(count, dtype=int), np.ones(count, dtype=bool)
    total, factor = np.zeros(count), 1.0
    reward, edges = mdp.reward, zip(mdp.row_ptr[:-1], mdp.row_ptr[1:], strict=True)
    cumulative = np.array([np.cumsum(np.pad(mdp.probability[a:b], (0, 8)))[:8] for a, b in edges])
    for _ in range(60):
        pair = mdp.state_ptr[state] + random.integers(2, size=count)
        step = mdp.row_ptr[pair] + (random.random(count)[:, None] >= cumulative[pair]).sum(axis=1)
        total += np.where(alive, factor * reward[step], 0.0)
        alive &= ~mdp.terminated[step]
        state, factor = mdp.next_state[step], factor * mdp.discount
    squares = (total - total.mean()) ** 2
    reach = 5 * squares.std() / np.sqrt(count)
    assert abs(return_variance(mdp, uniform_policy(mdp))[0] - squares.mean()) < reach


def test_a_deterministic_world_has_no_variance_and_a_coin_has_its_own():
    chain = make("gridworld", slip=0.0)
    assert np.all(return_variance(chain, np.zeros(chain.n_states, dtype=np.int32)) == 0.0)
    coin = FiniteMDP.from_dense(np.array([[[0.5, 0.5]], [[0.5, 0.5]]]), np.array([[[1.0, -1.0]], [[1.0, -1.0]]]), 0.5)
    np.testing.assert_allclose(return_variance(coin, uniform_policy(coin)), 1 / (1 - 0.25), rtol=1e-13)


def test_undiscounted_episodes_have_a_variance_and_endless_ones_do_not():
    """A state that is left with probability 1/2 a step, for a reward of 1 each: a geometric law, variance 2."""
    walk = FiniteMDP.from_dense(
        np.array([[[0.5, 0.5]], [[0.0, 1.0]]]),
        np.array([[[1.0, 1.0]], [[0.0, 0.0]]]),
        1.0,
        terminated=np.array([[[False, True]], [[True, True]]]),
    )
    np.testing.assert_allclose(return_variance(walk, uniform_policy(walk)), [2.0, 0.0], rtol=1e-12)
    endless = FiniteMDP.from_dense(np.ones((1, 1, 1)), np.ones((1, 1)), 1.0)
    with pytest.raises(MDPError):
        return_variance(endless, uniform_policy(endless))
