"""Static risk: against every policy of small worlds, backward induction, simulation, and bounds on rounding."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.chapters.ch08_distributional.convex_scoring_worlds import (
    all_history_laws,
    all_memoryless_laws,
    random_world,
    spread_world,
)
from rlbook.environments import make
from rlbook.errors import Cancelled, MDPError, ParameterError
from rlbook.mdp_rows import from_rows
from rlbook.tabular import backward_induction
from rlbook.tabular.distributional import (
    EntropicScore,
    ShortfallScore,
    VarianceScore,
    alternating_minimisation,
    augment,
    dkw_band,
    minimal_static_risk,
    reward_step,
)

SCORES = [
    VarianceScore(),
    VarianceScore(1.0, 0.1),
    ShortfallScore(0.1),
    ShortfallScore(0.3, 0.5),
    EntropicScore(0.2),
]
NAMES = [str(score) for score in SCORES]


def ending_world(seed: int, discount: float = 1.0):
    """Three states, two actions, rewards in quarters, and a third of the transitions end the episode."""
    random = np.random.default_rng(seed)
    first = random.uniform(0.2, 0.8, size=6)
    return from_rows(
        state_ptr=2 * np.arange(4),
        action=np.tile([0, 1], 3),
        row_ptr=2 * np.arange(7),
        next_state=np.concatenate([np.sort(random.choice(3, 2, replace=False)) for _ in range(6)]),
        probability=np.column_stack([first, 1 - first]).ravel(),
        reward=random.integers(-6, 7, size=12) / 4,
        terminated=random.random(12) < 1 / 3,
        discount=discount,
        start=[0.5, 0.5, 0.0],
    )


@pytest.mark.parametrize("score", SCORES, ids=NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_the_least_risk_is_that_of_the_best_of_all_policies(score, seed):
    """Prevents a dynamic programme, or a search over v, that misses policies which look at what has been earned."""
    world = random_world(seed)
    truth = float(score.of(all_history_laws(world, 3)).min())
    found = minimal_static_risk(augment(world, 3), score, tolerance=1e-4)
    assert found.risk == pytest.approx(truth, abs=1e-9)
    assert (found.reason == "tolerance") == (found.gap <= 1e-4)
    assert found.lower <= truth + 1e-9
    assert found.gap <= 2e-4
    assert score.of(found.law)[0] == found.risk


def test_a_level_below_the_chance_of_the_worst_is_certified_too():
    """Prevents exponentials that end before the worst cost is all that counts: the gap would stay wide."""
    score = EntropicScore(0.05)
    found = minimal_static_risk(augment(random_world(0), 3), score, tolerance=1e-3)
    assert found.risk == pytest.approx(-found.law.atom[0])
    assert found.law.mass[0] > 0.05
    assert found.reason == "tolerance"
    assert found.gap <= 1e-3


def test_four_decisions_have_32768_policies():
    world, score = random_world(3), ShortfallScore(0.2)
    laws = all_history_laws(world, 4)
    assert laws.n_laws == 2**15
    found = minimal_static_risk(augment(world, 4), score)
    assert found.risk == pytest.approx(float(score.of(laws).min()), abs=1e-9)


@pytest.mark.parametrize(("score", "most"), [(VarianceScore(), 1.0), (ShortfallScore(0.2), 0.1)])
def test_policies_without_memory_are_among_all_and_can_be_worse(score, most):
    loss = []
    for seed in range(20):
        world = random_world(seed)
        every, memoryless = all_history_laws(world, 3), all_memoryless_laws(augment(world, 3))
        assert memoryless.means().max() == pytest.approx(every.means().max())  # the mean needs no memory
        loss.append(score.of(memoryless).min() - score.of(every).min())
    assert min(loss) >= -1e-9
    assert max(loss) > most


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_level_one_is_backward_induction(discount):
    world = ending_world(0, discount)
    returns = augment(world, 6, 0.25 if discount == 1 else 1e-4)
    found = minimal_static_risk(returns, ShortfallScore(1.0))
    certain = backward_induction(world, 6).value_at_start
    assert abs(-found.risk - certain) <= found.shift + 1e-9
    assert found.shift == returns.rounding
    assert (returns.rounding == 0) == (discount == 1)


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_laws_are_those_of_simulated_episodes(discount):
    """Prevents a law, or a rounding bound, that the policy's own episodes do not bear out."""
    returns = augment(ending_world(1, discount), 8, None if discount == 1 else 0.05)
    found = minimal_static_risk(returns, ShortfallScore(0.2))
    drawn = returns.sample(found.policy, 20_000, seed=5)
    points = np.linspace(-8, 8, 200)
    share = (drawn[:, None] <= points).mean(axis=0)
    slack = returns.rounding + 1e-9
    allowed = dkw_band(20_000, 1e-6)
    assert np.all(share <= found.law.cdf(points + slack)[0] + allowed)
    assert np.all(share >= found.law.cdf(points - slack)[0] - allowed)


def test_rounding_moves_the_least_risk_no_more_than_its_bound():
    world, score = ending_world(2, 0.9), ShortfallScore(0.2)
    fine = minimal_static_risk(augment(world, 5, 1e-4), score)
    coarse = minimal_static_risk(augment(world, 5, 0.2), score)
    assert 0 < abs(fine.risk - coarse.risk) <= fine.shift + coarse.shift
    assert coarse.shift < 0.5


def test_what_is_left_after_the_horizon_is_bounded():
    """Prevents a bound on an infinite horizon that forgets how much can still come."""
    world, score = ending_world(4, 0.8), ShortfallScore(0.2)
    short, long = (minimal_static_risk(augment(world, horizon, 0.02), score) for horizon in (6, 30))
    left = short.augmented.tail + long.augmented.tail
    assert 0 < abs(short.risk - long.risk) <= left + short.shift + long.shift
    assert long.augmented.tail < 0.02


def test_alternation_never_rises_and_stays_above_the_least():
    returns = augment(random_world(4), 4)
    for score in SCORES:
        least = minimal_static_risk(returns, score, tolerance=1e-3)
        low, high = score.range(*returns.final_costs[[0, -1]])
        ends = [alternating_minimisation(returns, score, v) for v in np.linspace(low, high, 7)]
        assert all(np.all(np.diff(each.risks) <= 0) for each in ends)
        assert all(each.risk >= least.lower - 1e-9 for each in ends)


def test_a_world_without_chance_has_one_risk():
    world = from_rows(
        state_ptr=np.array([0, 2]),
        action=np.array([0, 1]),
        row_ptr=np.array([0, 1, 2]),
        next_state=np.zeros(2, dtype=int),
        probability=np.ones(2),
        reward=np.array([1.0, 2.0]),
        discount=1.0,
    )
    for score, risk in ((ShortfallScore(0.1), -6.0), (EntropicScore(0.1), -6.0), (VarianceScore(), 0.0)):
        assert minimal_static_risk(augment(world, 3), score, tolerance=0.1).risk == pytest.approx(risk, abs=1e-9)


def test_returns_are_kept_no_longer_than_they_can_grow():
    """Prevents tables that grow by rewards which are paid at the end alone: ICU-Sepsis has two returns, not twenty."""
    sepsis = augment(make("icu-sepsis"), 20)
    assert [len(points) for points in sepsis.points] == [1] * 21
    assert sepsis.final_costs.tolist() == [-1.0, 0.0]
    once = augment(ending_world(0).replace(continuing_end=ending_world(0).row_ptr[:-1]), 9)
    assert once.horizon == 1
    assert once.law(once.memoryless(np.zeros(3))).mass.sum() == pytest.approx(1.0)


def test_steps_are_the_largest_that_fit():
    assert reward_step(ending_world(0)) == 0.25
    assert reward_step(spread_world()) == 1.0
    assert reward_step(make("gridworld").replace(expected_reward=np.zeros(make("gridworld").n_pairs), reward=None)) == 1
    with pytest.raises(MDPError, match="give a step"):
        reward_step(make("garnet"))


def test_what_cannot_be_is_named():
    world = random_world(0)
    with pytest.raises(ParameterError, match="horizon is 0"):
        augment(world, 0)
    with pytest.raises(ParameterError, match="step is -1"):
        augment(world, 2, -1)
    with pytest.raises(ParameterError, match="give a larger step"):
        augment(make("garnet"), 30, 1e-7)
    with pytest.raises(ParameterError, match="too many for a double"):
        augment(world, 2, 1e-20)
    with pytest.raises(ParameterError, match="tolerance is -1"):
        minimal_static_risk(augment(world, 2), ShortfallScore(0.5), tolerance=-1)
    with pytest.raises(ParameterError, match="does not have"):
        augment(world, 2).memoryless(np.full(2, 2))
    with pytest.raises(Cancelled):
        minimal_static_risk(augment(world, 2), ShortfallScore(0.5), cancel=np.ones(1, dtype=np.uint8))
