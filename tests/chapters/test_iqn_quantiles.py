"""The lab on implicit quantiles: the exact laws it is judged against, and the fork that they were built for."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.chapters.ch08_distributional.iqn_quantiles import MEASURES, IQNParameters, IQNQuantiles, IQNView, gaps
from rlbook.chapters.ch08_distributional.short_cliff import FORK, RIGHT, UP, measured_laws, short_cliff
from rlbook.lab import Context
from rlbook.tabular import solve
from rlbook.tabular.bellman import action_values
from rlbook.tabular.distributional import Mean, sampled_returns

LAB = IQNQuantiles()
SMALL = IQNParameters(sweeps=50, features=4)


def test_the_cliff():
    """Prevents wind that lifts, falls that do not end the episode, and moves off the grid."""
    mdp = short_cliff(0.25)
    assert mdp.state_names[FORK] == "(2, 0)"
    along = sorted(mdp.transitions(FORK, RIGHT))
    assert [(p, paid, ended) for p, _, paid, ended in along] == [(0.25, -10.0, True), (0.75, -1.0, False)]
    up = {mdp.state_names[s]: p for p, s, _, _ in mdp.transitions(FORK, UP)}
    assert up == {"(1, 0)": 0.75, "(2, 0)": 0.25}


@pytest.mark.parametrize("wind", [0.0, 0.05, 0.2])
def test_neutral_laws_have_the_optimal_values(wind):
    mdp = short_cliff(wind)
    _, worth, actions = measured_laws(mdp, Mean())
    values = solve(mdp, 1e-9).values
    np.testing.assert_allclose(worth, action_values(mdp, values), atol=0.05)  # of 200 quantiles
    chosen = worth[mdp.state_ptr[:-1] + actions]
    np.testing.assert_allclose(chosen, np.maximum.reduceat(worth, mdp.state_ptr[:-1]))


@pytest.mark.parametrize("name", MEASURES)
def test_exact_laws_are_those_of_sampled_returns(name):
    """Prevents laws of another policy than the one that is greedy in the measure."""
    mdp, measure = short_cliff(0.05), MEASURES[name]
    laws, _, actions = measured_laws(mdp, measure)
    drawn = sampled_returns(mdp, actions, FORK, 20_000, seed=2)
    chosen = laws.law(int(mdp.state_ptr[FORK] + actions[FORK]))
    assert drawn.mean() == pytest.approx(float(chosen[0] @ chosen[1]), abs=0.06)
    assert drawn.std() == pytest.approx(float(np.sqrt(laws.variances()[mdp.state_ptr[FORK] + actions[FORK]])), abs=0.1)


@pytest.mark.parametrize(("name", "along"), [("neutral", True), ("CPW", True), ("CVaR", False), ("Wang", False)])
def test_measures_part_at_the_fork(name, along):
    """Prevents a lab in which nothing switches: gaps of half a move at the least, to either side."""
    _, worth, _ = measured_laws(short_cliff(0.05), MEASURES[name])
    up, right = worth[short_cliff(0.05).state_ptr[FORK] + np.array([UP, RIGHT])]
    assert (right - up > 0.5) if along else (up - right > 0.5)


def test_one_cosine_reads_one_number():
    """Prevents a control that fails for want of data alone: a constant is worth the same under every measure."""
    one = {
        name: LAB.run(IQNParameters(measure=name, features=1, sweeps=60), [0], Context()) for name in ("CVaR", "Wang")
    }
    np.testing.assert_allclose(one["CVaR"]["worth"].values, one["Wang"]["worth"].values, rtol=1e-9)


def test_it_can_be_drawn():
    result = LAB.run(SMALL, range(3), Context())
    for seed in range(3):
        figure = LAB.figure(result, IQNView(seed=seed))
        assert all(np.all(np.isfinite(np.asarray(trace.y, dtype=float))) for trace in figure.data)
        assert "nan" not in LAB.alt_text(result, IQNView(seed=seed))
    verdict = LAB.verdict(result)
    assert verdict.n == 3
    agree = np.mean((gaps(result)[:, -1] > 0) == (float(np.diff(result["exact_worth"].values)[0]) > 0))
    assert verdict.estimate == agree
