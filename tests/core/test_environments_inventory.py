"""The inventory problem against Puterman's printed example, its rules, and the theorem on (s, S) policies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.environments.inventory import Economy, stock_control
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP


def optimal_worth(mdp: FiniteMDP, sweeps: int) -> np.ndarray:
    """Action values, (pairs,), after plain sweeps from zero."""
    matrix, value = mdp.continuing_matrix(), np.zeros(mdp.n_states)
    for _ in range(sweeps):
        worth = mdp.expected_reward + mdp.discount * (matrix @ value)
        value = np.maximum.reduceat(worth, mdp.state_ptr[:-1])
    return worth


def test_puterman_section_3_2_as_printed():
    """Prevents costs at the wrong moment. Puterman (1994), section 3.2.2: M = 3, K = 4, c = 2, h = 1, revenue 8."""
    mdp = stock_control(np.array([0.25, 0.5, 0.25]), 3, 1, Economy(8.0, 2.0, 4.0, 1.0), 1.0, name="puterman")
    rewards = [[0, -1, -2, -5], [5, 0, -3], [6, -1], [5]]
    laws = {
        0: [1, 0, 0, 0],
        1: [0.75, 0.25, 0, 0],
        2: [0.25, 0.5, 0.25, 0],
        3: [0, 0.25, 0.5, 0.25],
    }
    for stock, printed in enumerate(rewards):
        for order, reward in enumerate(printed):
            assert mdp.expected_reward[mdp.pair(stock, order)] == pytest.approx(reward, abs=1e-12)
            law = np.zeros(4)
            for p, following, _, ended in mdp.transitions(stock, order):
                law[following] += p
                assert not ended
            np.testing.assert_allclose(law, laws[stock + order], atol=1e-15)
    assert mdp.n_pairs == 10


def test_poisson_demand_and_lots():
    """Prevents a law that is cut off too early, and orders that do not fit. Sums over 100 demands, each by itself."""
    mdp = make("inventory", capacity=17, mean_demand=6.0, lot=4, fixed_cost=3.0, discount=0.9)
    assert mdp.action[mdp.state_ptr[9] : mdp.state_ptr[10]].tolist() == [0, 1, 2]
    demand = [math.exp(-6.0) * 6.0**count / math.factorial(count) for count in range(100)]
    for stock, lots in ((0, 0), (9, 2), (3, 1), (17, 0)):
        level = stock + 4 * lots
        law = np.zeros(18)
        for count, p in enumerate(demand):
            law[max(level - count, 0)] += p
        sales = sum(p * min(level, count) for count, p in enumerate(demand))
        found = np.zeros(18)
        for p, following, _, _ in mdp.transitions(stock, lots):
            found[following] += p
        np.testing.assert_allclose(found, law, rtol=1e-12, atol=1e-16)
        paid = 8 * sales - 2 * 4 * lots - 3 * (lots > 0) - level
        assert mdp.expected_reward[mdp.pair(stock, lots)] == pytest.approx(paid, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("parameters", "orders"),
    [
        ({}, True),
        ({"fixed_cost": 5.0}, True),
        ({"fixed_cost": 60.0}, True),
        ({"capacity": 40, "mean_demand": 3.5, "holding_cost": 0.3}, True),
        ({"fixed_cost": 10_000.0}, False),
    ],
)
def test_ordering_up_to_a_level_below_a_level_is_optimal(parameters, orders):
    """Prevents a cost that is not the one of the theorem. Scarf (1960): some (s, S) policy is optimal.

    The actions that are optimal up to rounding must include, for one s and one S, "up to S" below s and "nothing" else.
    """
    mdp = make("inventory", **parameters, discount=0.95)
    worth = optimal_worth(mdp, 800)
    best = np.maximum.reduceat(worth, mdp.state_ptr[:-1])
    optimal = worth >= best[mdp.pair_state] - 1e-8
    waiting = np.array([optimal[mdp.pair(stock, 0)] for stock in range(mdp.n_states)])
    s = 0 if waiting.all() else mdp.n_states - int(np.argmin(waiting[::-1]))
    assert (s > 0) == orders
    levels = [
        {stock + int(a) for a, best in zip(mdp.action[rows], optimal[rows], strict=True) if best and a > 0}
        for stock in range(s)
        for rows in [slice(mdp.state_ptr[stock], mdp.state_ptr[stock + 1])]
    ]
    assert not s or set.intersection(*levels), "one level S must do for all stocks below s"
    assert waiting[s:].all()


def test_too_many_transitions_are_refused_before_they_are_made():
    """Prevents a machine that swaps for ever."""
    with pytest.raises(ParameterError, match=r"inventory: parameter 'lot' is 1, which makes \d+ transitions; make it"):
        make("inventory", capacity=20_000, mean_demand=100)


def test_one_unit_and_hardly_any_demand():
    """Prevents an empty row at the smallest sizes."""
    mdp = make("inventory", capacity=1, mean_demand=1e-6)
    assert mdp.n_pairs == 3
    assert mdp.transitions(0, 0) == [(1.0, 0, 0.0, False)]
