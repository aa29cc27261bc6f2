"""The lab on heavy tails: that its noise has the law it names, and that both learners meet the same transitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm, t

from rlbook.chapters.ch08_distributional.heavy_tails import (
    QTD_STEPS,
    TD_STEPS,
    HeavyTails,
    HeavyTailsParameters,
    HeavyTailsView,
    ratios,
)
from rlbook.chapters.ch08_distributional.heavy_tails_world import noisy_walk, student, tail_world
from rlbook.lab import Context
from rlbook.tabular.distributional import Expectiles, ExpectileTD
from rlbook.tabular.learning.experience import Batch, draw_trajectory
from rlbook.tabular.learning.q_learning import QLearning
from rlbook.tabular.learning.replication import replicate

LAB = HeavyTails()
SMALL = HeavyTailsParameters(steps=500, quantiles=5)


@pytest.mark.parametrize("tail", [1.1, 1.5, 3.0])
def test_draws_are_students(tail):
    """Prevents a law of another tail index, which no figure would show."""
    assert kstest(student(tail, 20_000, 4), t(tail).cdf).pvalue > 0.01
    far = np.abs(student(tail, 400_000, 5))
    for q in (1e-2, 1e-3):
        bound = t(tail).ppf(1 - q / 2)
        assert np.mean(far > bound) == pytest.approx(q, rel=0.25)


@pytest.mark.parametrize("world", ["garnet", "ring"])
def test_a_noisy_walk_is_the_walk_and_noise(world):
    mdp = tail_world(world)
    plain, noisy = draw_trajectory(mdp, None, 5000, 3), noisy_walk(mdp, "normal", 1.5, 5000, 3)
    assert np.array_equal(plain.pair, noisy.pair)
    assert np.array_equal(plain.next_state, noisy.next_state)
    assert kstest(noisy.reward - plain.reward, norm.cdf).pvalue > 0.01
    assert not np.array_equal(noisy.reward, noisy_walk(mdp, "normal", 1.5, 5000, 4).reward)


def test_what_stands_for_td_is_td():
    """Prevents a race against something slower: on a world without choice Q-learning is TD(0), as is one expectile."""
    mdp = tail_world("garnet")
    walk = Batch(noisy_walk(mdp, "student", 1.5, 800, 1), in_order=True)
    run = {"steps": 800, "checkpoints": 8, "truth": None, "keep": "estimates"}
    plain, other = (
        replicate(mdp, learner, [0], **run)["estimates"].values
        for learner in (QLearning(experience=walk), ExpectileTD(Expectiles(1), experience=walk))
    )
    assert np.array_equal(plain, other)


def test_each_is_judged_at_its_best_step_size():
    result = LAB.run(SMALL, range(8), Context())
    assert result["TD(0)"].shape[:2] == (8, len(TD_STEPS))
    assert result["quantile TD"].shape[:2] == (8, len(QTD_STEPS))
    ends = {name: result[name].values[:, :, -1] for name in ("TD(0)", "quantile TD")}
    best = {name: each[:, np.median(each, axis=0).argmin()] for name, each in ends.items()}
    np.testing.assert_array_equal(ratios(result), best["quantile TD"] / best["TD(0)"])


@pytest.mark.parametrize("quantity", ["step sizes", "time"])
@pytest.mark.parametrize("seeds", [1, 6])
def test_it_can_be_drawn(quantity, seeds):
    result, view = LAB.run(SMALL, range(seeds), Context()), HeavyTailsView(quantity=quantity)
    figure = LAB.figure(result, view)
    assert all(np.all(np.isfinite(np.asarray(trace.y, dtype=float))) for trace in figure.data)
    assert "nan" not in LAB.alt_text(result, view)
    assert LAB.verdict(result).n == seeds
