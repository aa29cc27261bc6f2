"""The oracle against linear algebra, and agents whose values are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlbook.deep import dqn
from rlbook.deep.environments import CartPole, FiniteMDPEnvironment
from rlbook.deep.oracle import Oracle
from rlbook.environments import make
from rlbook.mdp import FiniteMDP
from rlbook.tabular.learning.truth import optimal_truth

from .small import TableConfig, table_algorithm

MDP = make("frozenlake-4x4")
WORLD = FiniteMDPEnvironment(MDP, time_limit=30)
DISCOUNT = 0.8  # not the MDP's own


def exact(mdp: FiniteMDP, discount: float) -> np.ndarray:
    """Optimal action values, (S, A)."""
    return optimal_truth(mdp.replace(discount=discount)).reshape(mdp.n_states, mdp.n_actions)


KNOWN = np.nan_to_num(exact(MDP, DISCOUNT))  # with anything where nobody comes


def value_at_start(mdp: FiniteMDP, policy: np.ndarray, discount: float) -> float:
    """By elimination, from the dense matrix."""
    rows = np.arange(mdp.n_states) * mdp.n_actions + policy
    going = mdp.continuing_matrix().toarray()[rows]
    return float(mdp.start @ np.linalg.solve(np.eye(mdp.n_states) - discount * going, mdp.expected_reward[rows]))


def judge(q: np.ndarray, world: FiniteMDPEnvironment = WORLD, discount: float = DISCOUNT) -> dict[str, float]:
    algorithm, config = table_algorithm(q), TableConfig(discount=discount)
    oracle = Oracle.of(world, algorithm, config)
    assert oracle is not None
    return oracle.judge(algorithm.init(config, None, None))


def test_an_exact_table_has_no_error_and_no_regret() -> None:
    """Prevents an oracle that grades by another discount, order of states or rule for ends than the agent's."""
    found = judge(KNOWN)
    assert found["q_error"] < 1e-6
    assert found["q_rms_error"] < 1e-6
    assert abs(found["bias"]) < 1e-6
    assert abs(found["regret"]) < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_regret_and_errors_are_those_of_linear_algebra(seed: int) -> None:
    """Prevents a regret that is sampled, of another policy, or from another start."""
    q = np.random.default_rng(seed).normal(size=(MDP.n_states, MDP.n_actions)).astype(np.float32)
    right = exact(MDP, DISCOUNT)
    found = judge(q)
    best = value_at_start(MDP, right.argmax(axis=1), DISCOUNT)
    assert found["regret"] == pytest.approx(best - value_at_start(MDP, q.argmax(axis=1), DISCOUNT), abs=1e-9)
    assert found["regret"] > 0
    visited = ~np.isnan(right[:, 0])
    assert found["q_error"] == pytest.approx(np.abs(q - right)[visited].max(), abs=1e-6)
    assert found["q_rms_error"] == pytest.approx(np.sqrt(np.mean((q - right)[visited] ** 2)), abs=1e-6)
    assert found["bias"] == pytest.approx(np.mean((q.max(axis=1) - right.max(axis=1))[visited]), abs=1e-6)


def test_values_that_are_too_high_everywhere_are_bias_and_no_regret() -> None:
    """Prevents a bias of the wrong sign."""
    found = judge(KNOWN + 0.5)
    assert found["bias"] == pytest.approx(0.5, abs=1e-6)
    assert found["q_error"] == pytest.approx(0.5, abs=1e-6)
    assert abs(found["regret"]) < 1e-9


def test_states_where_nobody_comes_do_not_count() -> None:
    """Prevents an error that no agent could learn away: Taxi's passenger is never at the destination at first."""
    mdp = make("taxi")
    q = exact(mdp, DISCOUNT)
    assert np.isnan(q).any()
    found = judge(np.where(np.isnan(q), 1e6, q), FiniteMDPEnvironment(mdp))
    assert found["q_error"] < 1e-5


def test_values_that_are_no_numbers_are_told_as_such() -> None:
    """Prevents an agent with NaN values that gets the grade of the policy that argmax makes of them."""
    assert all(np.isnan(value) for value in judge(np.full((MDP.n_states, MDP.n_actions), np.nan)).values())


def test_without_a_discount_a_policy_that_never_ends_has_no_regret() -> None:
    """Prevents training that breaks at its first evaluation because the greedy policy still runs into a wall."""
    mdp = make("cliff-walking")
    world, right = FiniteMDPEnvironment(mdp), exact(mdp, 1.0)
    ends = np.nan_to_num(right, nan=-1e3)
    assert judge(ends, world, 1.0)["regret"] == pytest.approx(0.0, abs=1e-9)
    found = judge(-ends, world, 1.0)
    assert np.isnan(found["regret"])
    assert found["q_error"] > 1


def test_other_environments_have_no_oracle() -> None:
    """Prevents grades that nobody knows the truth of."""
    assert Oracle.of(CartPole(), dqn.ALGORITHM, dqn.Config()) is None


@pytest.mark.parametrize("driver", ["compiled", "gym"])
def test_both_drivers_grade_at_every_evaluation(driver: Any) -> None:
    """Prevents a driver without oracle, and an agent that does not come nearer to the exact values."""
    result = table_algorithm(KNOWN).train(
        WORLD, seeds=1, steps=20, evaluations=2, evaluation_episodes=1, driver=driver, discount=DISCOUNT, shift=0.1
    )
    assert result.q_error.values[0] == pytest.approx([1.0, 2.0], abs=1e-5)
    assert result.bias.values[0] == pytest.approx([1.0, 2.0], abs=1e-5)
    assert np.abs(result.regret.values).max() < 1e-9
