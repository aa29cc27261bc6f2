"""Implicit quantiles: their cosines, one update written out in numpy, and what they learn."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.errors import ParameterError
from rlbook.keyed_random import keyed_uniforms
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.distributional import (
    CPW,
    DiscreteLaws,
    ExpectedShortfall,
    Mean,
    Wang,
    wasserstein,
)
from rlbook.tabular.distributional.implicit_quantiles import CosineQuantiles, ImplicitQuantileQ, ImplicitQuantileTD
from rlbook.tabular.learning.experience import Batch, Generative, Transitions
from rlbook.tabular.learning.frame import LEARNER, OWN
from rlbook.tabular.learning.replication import replicate
from rlbook.tabular.learning.schedules import polynomial
from rlbook.tabular.policy_evaluation import evaluate_policy
from rlbook.tabular.sampling_tables import ENDED

from .learned_laws import small_world, without_choice


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(("samples", "target_samples"), [(1, 1), (5, 3), (2, 7)])
def test_one_update_by_hand(ended, samples, target_samples):
    """Prevents a wrong sign, weight or scale of the loss, and fractions that two parts of it share."""
    kept = CosineQuantiles(6, samples, target_samples, kappa=0.3)
    drawn = DiscreteLaws.from_arrays(np.random.default_rng(5).normal(size=(3, 8)))
    following = ENDED if ended else 2
    batch = Batch(Transitions(np.array([0]), np.array([0.4]), np.array([following])), in_order=True)
    learner = ImplicitQuantileTD(kept, step_size=0.5, initial=drawn, experience=batch)
    found = replicate(without_choice(), learner, [11], steps=1, truth=None, keep="laws")["parameters"].values[0, 0]
    first = kept.project(drawn)
    tau = keyed_uniforms(11, OWN + samples + target_samples, purpose=LEARNER)[OWN:]
    own, other = tau[:samples], tau[samples:]
    target = np.full(target_samples, 0.4) + (0.0 if ended else 0.8 * kept.quantiles(first[2:], other)[0])
    off = target - kept.quantiles(first[:1], own).T
    weight = np.where(off < 0, 1 - own[:, None], own[:, None]) * np.clip(off / 0.3, -1, 1)
    wanted = first[0] + 0.5 * (weight[:, :, None] * kept.phi(own)[:, None]).mean(axis=(0, 1))
    np.testing.assert_allclose(found[0], wanted, atol=1e-13)
    assert np.array_equal(found[1:], first[1:])


@pytest.mark.parametrize("measure", [Mean(), ExpectedShortfall(0.25), Wang(0.5), CPW(0.71)], ids=str)
def test_measures_are_linear_in_the_weights(measure):
    """Prevents a distorted mean of other levels: against the measure of the law of a rising quantile function."""
    kept = CosineQuantiles(4)
    law = kept.project(DiscreteLaws.from_arrays(np.linspace(-1, 1, 300)))
    assert np.all(np.diff(kept.quantiles(law, np.linspace(0, 1, 400))[0]) > 0)
    weights = kept.rule(measure)[4]
    np.testing.assert_allclose(law @ weights, measure.of(kept.laws(law)), atol=5e-3)


def test_quantiles_of_one_law_are_learned():
    """Ten equally likely rewards and the end: the learned law is as near as 12 cosines can be, and a bit."""
    paid = np.arange(10.0)
    mdp = from_transitions([{0: [(0.1, 0, reward, True) for reward in paid]}], 0.9)
    kept = CosineQuantiles(12, 8, 8, kappa=0.1)
    learner = ImplicitQuantileTD(kept, step_size=polynomial(5.0, 0.6))
    found = replicate(mdp, learner, range(20), steps=8000, checkpoints=[100, 8000], truth=None, keep="laws")
    exact = DiscreteLaws.from_arrays(paid)
    near = wasserstein(kept.laws(kept.project(exact)), exact)[0]
    tables = found["parameters"].values[:, :, 0]
    apart = [[wasserstein(learner.laws_of(each[None]), exact)[0] for each in seed] for seed in tables]
    early, late = np.median(apart, axis=0)
    assert late < near + 0.1
    assert late < 0.6 * early


def test_a_constant_with_a_wide_kappa_learns_means():
    """Within kappa the loss is quadratic, and a constant sees its weight 1/2 on average: TD(0) at half the pace."""
    mdp = without_choice()
    kept = CosineQuantiles(1, 8, 8, kappa=10.0)
    learner = ImplicitQuantileTD(kept, step_size=polynomial(20.0, 0.7), experience=Generative(True))
    found = replicate(mdp, learner, range(12), steps=3000, checkpoints=1, truth=None, keep="estimates")
    values = evaluate_policy(mdp, [0, 0, 0]).values
    np.testing.assert_allclose(found["estimates"].values[:, -1].mean(axis=0), values, atol=0.1)


def test_actions_are_greedy_in_the_measure():
    coin = [(0.5, 0, 0.0, True), (0.5, 0, 3.0, True)]
    mdp = from_transitions([{0: [(1.0, 0, 1.0, True)], 1: coin}], 0.9)
    for measure, best in ((Mean(), 1), (ExpectedShortfall(0.25), 0)):
        learner = ImplicitQuantileQ(CosineQuantiles(), measure=measure, exploration=0.3, step_size=polynomial(5.0, 0.7))
        found = replicate(mdp, learner, range(20), steps=4000, checkpoints=1, truth=None, keep="estimates")
        assert np.all(np.argmax(found["estimates"].values[:, -1], axis=1) == best)


def test_projection_and_point_masses():
    kept = CosineQuantiles(16)
    np.testing.assert_allclose(kept.quantiles(kept.project(DiscreteLaws.point_masses([2.5])), [0.1, 0.9]), 2.5)
    assert np.array_equal(kept.initial(3), np.zeros((3, 16)))
    rising = DiscreteLaws.from_arrays(np.linspace(0, 1, 256))
    assert wasserstein(kept.laws(kept.project(rising)), rising)[0] < 0.01


def test_refusals():
    for given, name in (({"features": 0}, "features"), ({"samples": 1.5}, "samples"), ({"kappa": 0.0}, "kappa")):
        with pytest.raises(ParameterError, match=name):
            CosineQuantiles(**given)
    with pytest.raises(ParameterError, match="keeps laws as CosineQuantiles"):
        ImplicitQuantileTD(small_world())
    with pytest.raises(ParameterError, match="256 cosines at most"):
        CosineQuantiles(300).project(DiscreteLaws.point_masses([0.0]))
