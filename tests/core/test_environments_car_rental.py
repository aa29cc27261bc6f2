"""Jack's car rental against its rules, told again car by car, and against what Sutton & Barto print."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP

MANY = 40  # customers a day; more have a probability below 1e-20


def chance(count: int, mean: float) -> float:
    return math.exp(-mean) * mean**count / math.factorial(count)


def evening(cars: int, most: int, requests: float, returns: float) -> tuple[dict[int, float], float]:
    """The law of a location's cars after a day, and its expected rentals, by adding up all that can happen."""
    law: dict[int, float] = defaultdict(float)
    rented = 0.0
    for asked in range(MANY):
        for brought in range(MANY):
            p = chance(asked, requests) * chance(brought, returns)
            law[min(cars - min(cars, asked) + brought, most)] += p
            rented += p * min(cars, asked)
    return law, rented


@pytest.mark.parametrize(
    ("most", "moves", "free_move", "parking_cost"), [(3, 2, False, 0.0), (3, 3, True, 4.0), (12, 1, True, 4.0)]
)
def test_every_pair_follows_the_rules(most, moves, free_move, parking_cost):
    """Prevents cars that move the wrong way, rentals of returned cars, and costs on the wrong side."""
    mdp = make("jacks-car-rental", cars=most, moves=moves, free_move=free_move, parking_cost=parking_cost)
    assert mdp.n_states == (most + 1) ** 2
    seen = 0
    for first in range(most + 1):
        for second in range(0, most + 1, max(1, most // 3)):
            for moved in range(-moves, moves + 1):
                state = first * (most + 1) + second
                if moved > first or -moved > second:
                    assert moved + moves not in mdp.action[mdp.state_ptr[state] : mdp.state_ptr[state + 1]]
                    continue
                kept = min(first - moved, most), min(second + moved, most)
                (first_law, first_rented), (second_law, second_rented) = (
                    evening(kept[0], most, 3, 3),
                    evening(kept[1], most, 4, 2),
                )
                pair = mdp.pair(state, moved + moves)
                for p, following, _, ended in mdp.transitions(state, moved + moves):
                    one, other = divmod(following, most + 1)
                    assert p == pytest.approx(first_law[one] * second_law[other], rel=1e-9, abs=1e-16)
                    assert not ended
                cost = 2 * (abs(moved) - (free_move and moved > 0)) + parking_cost * sum(k > 10 for k in kept)
                expected = 10 * (first_rented + second_rented) - cost
                assert mdp.expected_reward[pair] == pytest.approx(expected, rel=1e-12)
                seen += 1
    assert seen > 10


def improved(mdp: FiniteMDP, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The value of a policy (pair indices), and the greedy policy for it, that of the fewest changes among ties."""
    matrix = mdp.continuing_matrix()
    system = np.eye(mdp.n_states) - mdp.discount * matrix[policy].toarray()
    value = np.linalg.solve(system, mdp.expected_reward[policy])
    worth = mdp.expected_reward + mdp.discount * (matrix @ value)
    best = np.maximum.reduceat(worth, mdp.state_ptr[:-1])
    first_best = np.array(
        [
            a + int(np.argmax(worth[a:b] >= m - 1e-9))
            for a, b, m in zip(mdp.state_ptr, mdp.state_ptr[1:], best, strict=False)
        ]
    )
    return value, np.where(worth[policy] >= best - 1e-9, policy, first_best)


def test_policy_iteration_goes_through_figure_4_2():
    """Prevents a change of the problem. Sutton & Barto (2018), figure 4.2: five policies, from no moves to the last.

    The last moves up to 5 cars to the second location and up to 4 back; all cars at the first location call for 5.
    """
    mdp = make("jacks-car-rental")
    policy = np.array([mdp.pair(state, 5) for state in range(mdp.n_states)])
    policies = [policy]
    while True:
        value, following = improved(mdp, policies[-1])
        if np.array_equal(following, policies[-1]):
            break
        policies.append(following)
    assert len(policies) == 5
    last = (mdp.action[policies[-1]] - 5).reshape(21, 21)
    assert (last.min(), last.max()) == (-4, 5)
    assert last[20, 0] == 5
    assert last[0, 20] == -4
    assert last[20, 20] == last[10, 10] == last[0, 0] == 0
    # A car more at the first location never calls for fewer moves there, one more at the second never for more.
    assert (np.diff(last, axis=0) >= 0).all()
    assert (np.diff(last, axis=1) <= 0).all()
    value = value.reshape(21, 21)
    assert (np.diff(value, axis=0) > 0).all()
    assert (np.diff(value, axis=1) > 0).all()
    assert value[0, 0] == value.min() == pytest.approx(421, abs=0.5)
    assert value[20, 20] == value.max() == pytest.approx(637, abs=0.5)


def test_the_free_move_is_worth_what_it_saves():
    """Prevents options that do nothing, or that help where they should cost (exercise 4.7)."""
    plain, free, parked = (
        make("jacks-car-rental", **options) for options in ({}, {"free_move": True}, {"parking_cost": 4.0})
    )
    saved = free.expected_reward - plain.expected_reward
    assert set(saved[plain.action > 5]) == {2.0}
    assert set(saved[plain.action <= 5]) == {0.0}
    paid = plain.expected_reward - parked.expected_reward
    np.testing.assert_allclose(sorted(set(paid.round(9))), [0, 4, 8])


def test_the_layout_is_that_of_figure_4_2():
    """Prevents a picture that is turned over: the first location's cars go up, the second's to the right."""
    layout = make("jacks-car-rental").layout
    assert layout is not None
    assert layout.cell[0] == 20 * 21
    assert layout.cell[20 * 21 + 20] == 20


def test_more_moves_than_cars_are_refused():
    """Prevents action labels that no state has."""
    with pytest.raises(ParameterError, match="jacks-car-rental: parameter 'moves' is 5, but there are at most 3 cars"):
        make("jacks-car-rental", cars=3)
