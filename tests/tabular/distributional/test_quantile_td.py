"""Quantile learners: their expected updates, their fixed points, and rewards that have no mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

from rlbook.mdp_rows import from_transitions
from rlbook.tabular.distributional import (
    Categorical,
    DiscreteLaws,
    ExpectedShortfall,
    Expectiles,
    Mean,
    Quantiles,
    Wang,
    return_law_backup,
    return_laws,
)
from rlbook.tabular.distributional.categorical_td import CategoricalQ, CategoricalTD
from rlbook.tabular.distributional.expectile_td import ExpectileTD
from rlbook.tabular.distributional.implicit_quantiles import CosineQuantiles, ImplicitQuantileQ
from rlbook.tabular.distributional.law_learning_kernels import law_updates, law_walk
from rlbook.tabular.distributional.quantile_td import QuantileQ, QuantileTD
from rlbook.tabular.learning.experience import Batch, Generative, Trajectory, Transitions, draw_trajectory
from rlbook.tabular.learning.learner import varied
from rlbook.tabular.learning.q_learning import QLearning
from rlbook.tabular.learning.replication import replicate
from rlbook.tabular.learning.schedules import polynomial
from rlbook.tabular.sampling_tables import ENDED

from .learned_laws import ALPHA, POLICY, after_one, expected_update, small_world


@pytest.mark.parametrize("m", [1, 2, 7])
def test_the_expected_update_compares_levels_with_the_backed_up_law(m):
    """Prevents a wrong count of targets, above all where the law's own row is its target, and where episodes end."""
    mdp, kept = small_world(), Quantiles(m)
    laws = DiscreteLaws.from_arrays(np.random.default_rng(m).normal(size=(mdp.n_states, m)))
    first = kept.project(laws)
    found = expected_update(mdp, QuantileTD(kept, policy=POLICY, initial=laws), first)
    backup = return_law_backup(mdp, laws, POLICY)
    for s in range(mdp.n_states):
        atoms, masses = backup.law(s)
        below = [masses[atoms < theta].sum() for theta in first[s]]
        np.testing.assert_allclose(found[s], kept.levels - below, atol=1e-13)


def test_rows_out_of_order_are_compared_one_by_one():
    """Prevents a walk over targets that assumes rising locations: learners let them change places."""
    mdp = from_transitions([{0: [(1.0, 0, 0.0, False)]}], 0.5)
    row = np.zeros(9)
    paid = np.random.default_rng(0).normal(size=400)
    batch = Batch(Transitions(np.zeros(400, int), paid, np.zeros(400, int)), in_order=True)
    learner = QuantileTD(Quantiles(9), step_size=0.7, experience=batch)
    found = replicate(mdp, learner, [0], steps=400, checkpoints=400, truth=None, keep="laws")
    crossed = 0
    for reward, wanted in zip(paid, found["parameters"].values[0, :, 0], strict=True):
        targets = reward + 0.5 * row
        row = row + 0.7 * (learner.representation.levels - [(targets < theta).mean() for theta in row])
        np.testing.assert_allclose(row, wanted, atol=1e-12)
        row = wanted.copy()
        crossed += int(np.any(np.diff(row) < 0))
    assert crossed > 0


@pytest.mark.parametrize("experience", [Trajectory(), Generative(), Generative(synchronous=True)], ids=str)
def test_it_goes_to_the_fixed_point_of_dynamic_programming(experience):
    mdp, kept = small_world(), Quantiles(7)
    truth = return_laws(mdp, kept, POLICY, tolerance=1e-10, sweeps=1000).parameters
    learner = QuantileTD(kept, policy=POLICY, step_size=polynomial(5.0, 0.7), experience=experience)
    found = replicate(mdp, learner, range(24), steps=40_000, checkpoints=[400, 40_000], truth=None, keep="laws")
    early, late = (np.abs(found["parameters"].values[:, k] - truth).mean(axis=(1, 2)) for k in (0, 1))
    assert np.median(late) < 0.25 * np.median(early)
    assert np.median(late) < 0.1


def cauchy_walks(seeds, steps):
    """One state that leads to itself and pays 1 plus a Cauchy number, one walk for each seed."""
    noise = [np.random.default_rng([seed, 7]).standard_cauchy(steps) for seed in seeds]
    nowhere = np.zeros(steps, dtype=int)
    return [Batch(Transitions(nowhere, 1.0 + each, nowhere), in_order=True) for each in noise]


def spread(sample: np.ndarray) -> np.ndarray:
    """Between the quartiles, along the first axis."""
    return np.subtract(*np.quantile(sample, [0.75, 0.25], axis=0))


def test_rewards_without_a_mean():
    """The return is 2 + 2 x Cauchy at discount 1/2, since Cauchy laws add up: its quartiles are 0, 2 and 4.

    Quantile TD settles there; TD(0), an average of Cauchy numbers, is as wide at 16 times the steps.
    """
    mdp, walks, marks = (
        from_transitions([{0: [(1.0, 0, 1.0, False)]}], 0.5),
        cauchy_walks(range(40), 16_000),
        [1000, 16_000],
    )
    run = {"steps": 16_000, "checkpoints": marks, "truth": None, "grid": {"experience": walks}}
    learner = QuantileTD(Quantiles(51), step_size=polynomial(20.0, 0.8))
    table = replicate(mdp, learner, [0], keep="laws", **run)["parameters"].values[:, 0, :, 0]
    value = replicate(mdp, QLearning(step_size=polynomial(1.0, 1.0)), [0], keep="estimates", **run)
    plain = value["estimates"].values[:, 0, :, 0]
    middle = table[:, :, 25]
    assert np.abs(middle[:, 1] - 2.0).max() < 0.5
    assert np.abs(np.median(table[:, 1, [12, 25, 38]], axis=0) - [0.0, 2.0, 4.0]).max() < 0.3
    assert spread(middle)[1] < 0.5 * spread(middle)[0]
    assert spread(plain)[1] > 0.5 * spread(plain)[0]


def test_rewards_of_infinite_variance():
    """Student's t with 1.5 degrees of freedom has a mean and no variance; episodes end at once, so its own quantiles
    are the fixed point.

    Prevents steps that grow with the reward. TD(0)'s averages come in slowly where a few draws outweigh all others:
    over seeds their spread stays above that of the learned median, which every draw moves alike.
    """
    law, steps, seeds = student_t(1.5), 40_000, range(24)
    mdp = from_transitions([{0: [(1.0, 0, 0.0, True)]}], 0.9)
    nowhere, over = np.zeros(steps, dtype=int), np.full(steps, ENDED)
    walks = [
        Batch(Transitions(nowhere, law.rvs(steps, random_state=np.random.default_rng([seed, 3])), over), in_order=True)
        for seed in seeds
    ]
    run = {"steps": steps, "checkpoints": 1, "truth": None, "grid": {"experience": walks}}
    kept = Quantiles(9)
    found = replicate(mdp, QuantileTD(kept, step_size=polynomial(10.0, 0.8)), [0], keep="laws", **run)
    table = found["parameters"].values[:, 0, -1, 0]
    np.testing.assert_allclose(np.median(table, axis=0), law.ppf(kept.levels), atol=0.1)
    assert np.abs(table[:, 4]).max() < 0.1
    plain = replicate(mdp, QLearning(step_size=polynomial(1.0, 1.0)), [0], keep="estimates", **run)
    assert spread(plain["estimates"].values[:, 0, -1, 0]) > 2 * spread(table[:, 4])


def test_no_update_is_longer_than_the_step():
    mdp, laws = small_world(), DiscreteLaws.from_arrays(np.random.default_rng(2).normal(size=(3, 5)))
    learner = QuantileTD(Quantiles(5), initial=laws)
    for paid in (-1e300, 1e300):
        moved = after_one(mdp, learner, 0, paid, 1) - learner.representation.project(laws)
        assert np.abs(moved).max() < ALPHA


@pytest.mark.parametrize("measure", [Mean(), ExpectedShortfall(0.25), Wang(-0.75)], ids=str)
def test_control_is_greedy_in_its_measure(measure):
    """Prevents weights of a distortion at the wrong quantiles, and choices by another number than the recorded one."""
    coin = [(0.5, 0, 0.0, True), (0.5, 0, 3.0, True)]
    mdp = from_transitions([{0: [(1.0, 0, 1.0, True)], 1: coin}], 0.9)
    learner = QuantileQ(Quantiles(20), measure=measure, exploration=0.3, step_size=polynomial(5.0, 0.7))
    found = replicate(mdp, learner, range(20), steps=4000, checkpoints=1, truth=None, keep="laws")
    exact = measure.of(DiscreteLaws.from_arrays([[1.0, 1.0], [0.0, 3.0]]))
    estimates = found["estimates"].values[:, -1]
    assert np.all(np.argmax(estimates, axis=1) == np.argmax(exact))
    np.testing.assert_allclose(estimates, np.broadcast_to(exact, estimates.shape), atol=0.3)
    for row, table in zip(estimates, found["parameters"].values[:, -1], strict=True):
        np.testing.assert_allclose(row, measure.of(learner.laws_of(np.sort(table, axis=1))), atol=0.05)


def test_control_learns_the_law_of_the_best_policy():
    mdp, kept = small_world(), Quantiles(11)
    truth = return_laws(mdp, kept, "optimal", tolerance=1e-10, sweeps=1000)
    learner = QuantileQ(kept, step_size=polynomial(5.0, 0.7), experience=Generative(True))
    found = replicate(mdp, learner, range(4), steps=30_000, checkpoints=1, truth=None, keep="laws")
    best = mdp.state_ptr[:-1] + np.asarray(truth.policy)
    assert np.abs(found["parameters"].values[:, -1, best] - truth.parameters).mean() < 0.1


def test_kernels_are_called_as_they_are_declared():
    """Prevents a second compilation, with its pause, for one of the representations."""
    mdp = small_world()
    kinds = [
        CategoricalTD(Categorical.uniform(-5, 5, 11)),
        CategoricalQ(Categorical.uniform(-5, 5, 11), measure=Wang(0.5)),
        QuantileTD(Quantiles(3)),
        QuantileQ(Quantiles(3), exploration=polynomial(1.0, 0.5)),
        ExpectileTD(Expectiles(3)),
        ExpectileTD(Expectiles(3, naive=True)),
        ImplicitQuantileQ(CosineQuantiles()),
    ]
    for learner in kinds:
        walk = Batch(draw_trajectory(mdp, None, 10, 0))
        for experience in (Trajectory(), Generative(), walk):
            replicate(mdp, varied(learner, {"experience": experience}), [0], steps=3, truth=None, keep="laws")
    for each in (law_walk, law_updates):
        assert each.dispatcher.signatures == [each.signature]
