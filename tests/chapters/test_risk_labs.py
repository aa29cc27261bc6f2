"""The labs on static risk: their worlds, what stays still in the alternating scheme, and what caution must do."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.chapters.ch08_distributional import risk_plans
from rlbook.chapters.ch08_distributional.battery_arbitrage import BatteryArbitrage, BatteryParameters
from rlbook.chapters.ch08_distributional.convex_scoring_lab import ConvexScoringParameters, ConvexScoringRisk
from rlbook.chapters.ch08_distributional.convex_scoring_worlds import (
    all_history_laws,
    all_memoryless_laws,
    casino,
    random_world,
    spread_world,
)
from rlbook.chapters.ch08_distributional.risk_measures_lab import RiskMeasures, RiskMeasuresParameters
from rlbook.chapters.ch08_distributional.risk_worlds import gusty_cliff
from rlbook.environments import make
from rlbook.errors import Cancelled, ParameterError
from rlbook.lab import Context
from rlbook.tabular import backward_induction
from rlbook.tabular.distributional import (
    ExpectedShortfall,
    ShortfallScore,
    VarianceScore,
    alternating_minimisation,
    augment,
    minimal_static_risk,
)


def test_without_wind_the_cliff_is_that_of_the_catalogue():
    assert gusty_cliff(0.0, 100.0) == make("cliff", discount=1.0)


def test_the_wind_blows_down_over_the_edge_and_onto_the_goal():
    cliff = gusty_cliff(0.25, 10.0)
    name = cliff.state_names.index
    start, goal = name("(3, 0)"), name("(3, 11)")
    right = cliff.action_names.index("right")
    assert sorted(cliff.transitions(name("(0, 3)"), right)) == [
        (0.25, name("(1, 4)"), -1.0, False),
        (0.75, name("(0, 4)"), -1.0, False),
    ]
    assert sorted(cliff.transitions(name("(2, 3)"), right)) == [
        (0.25, start, -10.0, False),
        (0.75, name("(2, 4)"), -1.0, False),
    ]
    assert sorted(cliff.transitions(name("(2, 10)"), right)) == [
        (0.25, goal, -1.0, True),
        (0.75, name("(2, 11)"), -1.0, False),
    ]
    assert cliff.transitions(start, right) == [(1.0, start, -10.0, False)]


@pytest.mark.parametrize("make_world", [random_world, casino])
def test_all_policies_are_listed_and_the_best_mean_is_backward_induction(make_world):
    """Prevents a list that leaves policies out, which would make any scheme look optimal."""
    for seed in range(4):
        world = make_world(seed)
        laws = all_history_laws(world, 3)
        assert laws.means().max() == pytest.approx(backward_induction(world, 3).value_at_start, abs=1e-12)
        assert all_memoryless_laws(augment(world, 3)).means().max() == pytest.approx(laws.means().max(), abs=1e-12)
    assert all_history_laws(random_world(0), 3).n_laws == 2**7


def test_the_spread_returns_to_its_mean():
    world = spread_world()
    for state in range(world.n_states):
        spread = state // 3 - 3
        moves = sum(p * (following // 3 - 3 - spread) for p, following, _, _ in world.transitions(state, 1))
        assert np.sign(moves) == -np.sign(spread) or abs(moves) < 1e-12
    short = world.transitions(3 * 5 + 1, 0)  # from spread 2, without a position: earns 2 per step, less 1 for the trade
    assert sum(p * paid for p, _, paid, _ in short) == pytest.approx(2 * (0.45 - 0.2 - 0.05) - 1)


def test_the_alternating_scheme_stays_where_neither_step_leads_further():
    """The reason for what is refuted: both steps are at rest, and the least risk is elsewhere."""
    stuck, score = 0, VarianceScore()
    for seed in range(20):
        returns = augment(random_world(seed), 3)
        least = minimal_static_risk(returns, score).risk
        for start in returns.final_costs[::3]:
            ended = alternating_minimisation(returns, score, start)
            again = alternating_minimisation(returns, score, float(score.best(ended.law)[0]))
            assert again.risk == pytest.approx(ended.risk, abs=1e-9)
            stuck += ended.risk > least + 1e-3
    assert stuck > 0


def test_every_share_is_best_served_by_its_own_policy():
    """Prevents a shortfall that is optimised for one level and reported for another."""
    returns = augment(gusty_cliff(0.01, 10.0), 40)
    levels = (1.0, 0.2, 0.05)
    laws = [minimal_static_risk(returns, ShortfallScore(level), tolerance=1e-3).law for level in levels]
    for level, own in zip(levels, laws, strict=True):
        best = ExpectedShortfall(level).of(own)[0]
        assert all(ExpectedShortfall(level).of(other)[0] <= best + 1e-3 for other in laws)


def test_the_two_policies_of_the_cliff_are_judged_by_episodes_that_agree_with_their_laws():
    lab = RiskMeasures()
    result = lab.run(RiskMeasuresParameters(), range(6), Context())
    sampled = result["sampled"].values
    error = sampled.std(axis=0, ddof=1) / np.sqrt(6)
    assert np.all(np.abs(sampled.mean(axis=0) - result["exact"].values) <= 6 * error + 0.05)


def test_plans_are_made_once_for_all_seeds(monkeypatch):
    """Prevents planning again for each chunk of seeds, which took most of a chapter's time."""
    solved = []

    def counting(*arguments, **options):
        solved.append(arguments[1].level)
        return minimal_static_risk(*arguments, **options)

    monkeypatch.setattr(risk_plans, "minimal_static_risk", counting)
    risk_plans.plan.cache_clear()
    lab, other = RiskMeasures(), RiskMeasuresParameters(level=0.05)
    first = lab.run(other, [0], Context())
    assert len(solved) == len(set(solved)) == first.sizes["curve_level"]
    again = lab.run(other, [1, 2], Context())
    assert len(solved) == first.sizes["curve_level"]
    np.testing.assert_array_equal(first["exact"], again["exact"])
    lab.run(RiskMeasuresParameters(level=0.05, fall=20.0), [0], Context())
    assert len(solved) == 2 * first.sizes["curve_level"]


def test_a_plan_that_was_cancelled_is_not_remembered():
    risk_plans.plan.cache_clear()
    stop, go = np.ones(1, dtype=np.uint8), np.zeros(1, dtype=np.uint8)
    with pytest.raises(Cancelled):
        risk_plans.plan(risk_plans.Place.of("gusty cliff", 0.01, 10.0, stop), 0.1)
    found = risk_plans.plan(risk_plans.Place.of("gusty cliff", 0.01, 10.0, go), 0.1)
    assert found is risk_plans.plan(risk_plans.Place.of("gusty cliff", 0.01, 10.0, stop), 0.1)


def test_a_weight_on_the_worst_days_never_raises_the_mean_or_lowers_them():
    lab = BatteryArbitrage()
    result = lab.run(BatteryParameters(periods=8), range(3), Context())
    (mean, worst), (averse_mean, averse_worst) = result["profit"].values.transpose(1, 2, 0)
    assert np.all(averse_mean <= mean + 1e-9)
    assert np.all(averse_worst >= worst - 1e-9)
    assert np.any(averse_worst > worst + 1.0)


def test_what_would_never_end_is_refused():
    parameters = ConvexScoringParameters(world="spread trading", scheme="no memory")
    with pytest.raises(ParameterError, match="too many"):
        ConvexScoringRisk().run(parameters, [0], Context())
