"""Expectile learners: their expected updates, their fixed points, and that one expectile is TD(0)."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.tabular.distributional import DiscreteLaws, Expectiles, return_law_backup, return_laws
from rlbook.tabular.distributional.expectile_td import ExpectileTD
from rlbook.tabular.learning.experience import Batch, Generative, Trajectory, draw_trajectory
from rlbook.tabular.learning.q_learning import QLearning
from rlbook.tabular.learning.replication import replicate
from rlbook.tabular.learning.schedules import polynomial
from rlbook.tabular.learning.td import TD

from .learned_laws import POLICY, expected_update, small_world, without_choice


@pytest.mark.parametrize("naive", [False, True])
def test_the_expected_update_is_the_expectile_equation_of_the_backed_up_law(naive):
    """Prevents targets from another law than the imputed one, and sides that are weighted the wrong way round."""
    mdp, kept = small_world(), Expectiles(7, naive=naive)
    drawn = DiscreteLaws.from_arrays(np.random.default_rng(1).normal(size=(mdp.n_states, 9)))
    first = kept.project(drawn)
    found = expected_update(mdp, ExpectileTD(kept, policy=POLICY, initial=drawn), first)
    backup = return_law_backup(mdp, kept.laws(first), POLICY)
    for s in range(mdp.n_states):
        off = backup.law(s)[0][:, None] - first[s]
        weight = np.where(off >= 0, kept.levels, 1 - kept.levels)
        np.testing.assert_allclose(found[s], backup.law(s)[1] @ (2 * weight * off), atol=1e-12)


@pytest.mark.parametrize("step_size", [0.1, polynomial(1.0, 0.6), 1.0], ids=str)
def test_one_expectile_is_td_bit_for_bit(step_size):
    mdp = small_world()
    run = {"steps": 2000, "checkpoints": 40, "truth": None, "keep": "estimates"}
    plain = replicate(mdp, TD(policy=POLICY, step_size=step_size), range(3), **run)
    one = replicate(mdp, ExpectileTD(Expectiles(1), policy=POLICY, step_size=step_size), range(3), **run)
    for name in ("estimates", "reward", "episode"):
        assert np.array_equal(plain[name].values, one[name].values)


@pytest.mark.parametrize("kind", ["generative", "synchronous", "batch", "ordered batch"])
def test_one_expectile_is_q_learning_without_choice_bit_for_bit(kind):
    """Prevents other transitions than those of the learners of means, with the same seed."""
    mdp = without_choice()
    walk = draw_trajectory(mdp, None, 500, 2)
    experience = {
        "generative": Generative(),
        "synchronous": Generative(True),
        "batch": Batch(walk),
        "ordered batch": Batch(walk, in_order=True),
    }[kind]
    run = {"steps": 1000, "checkpoints": 20, "truth": None, "keep": "steps"}
    plain = replicate(mdp, QLearning(experience=experience), range(3), **run)
    one = replicate(mdp, ExpectileTD(Expectiles(1), experience=experience), range(3), **run)
    for name in ("estimates", "td_error", "actor", "reward"):
        assert np.array_equal(plain[name].values, one[name].values)


def test_the_middle_expectile_is_td_among_others():
    """The mean of an imputed law is its middle expectile, so the others never touch it, but for rounding."""
    mdp = small_world()
    run = {"steps": 2000, "checkpoints": 40, "truth": None, "keep": "estimates"}
    plain = replicate(mdp, TD(policy=POLICY), range(3), **run)
    many = replicate(mdp, ExpectileTD(Expectiles(9), policy=POLICY), range(3), **run)
    np.testing.assert_allclose(many["estimates"].values, plain["estimates"].values, atol=1e-10)


@pytest.mark.parametrize("experience", [Trajectory(), Generative(True)], ids=str)
def test_it_goes_to_the_fixed_point_of_dynamic_programming(experience):
    """Over 24 seeds; naive targets go elsewhere, to laws that have lost their spread."""
    mdp, kept = small_world(), Expectiles(5)
    truth = return_laws(mdp, kept, POLICY, tolerance=1e-10, sweeps=2000).parameters
    learner = ExpectileTD(kept, policy=POLICY, step_size=polynomial(1.0, 0.7), experience=experience)
    run = {"steps": 20_000, "checkpoints": [200, 20_000], "truth": None, "keep": "laws"}
    found = replicate(mdp, learner, range(24), **run)["parameters"].values
    early, late = (np.abs(found[:, k] - truth).mean(axis=(1, 2)) for k in (0, 1))
    assert np.median(late) < 0.25 * np.median(early)
    noise = found[:, 1].std(axis=0, ddof=1) / np.sqrt(24)
    assert np.all(np.abs(found[:, 1].mean(axis=0) - truth) < 5 * noise + 0.02)
    naive = ExpectileTD(Expectiles(5, naive=True), policy=POLICY, step_size=polynomial(1.0, 0.7), experience=experience)
    shrunk = replicate(mdp, naive, range(24), **run)["parameters"].values[:, 1]
    width, lost = np.ptp(truth, axis=1), np.ptp(shrunk.mean(axis=0), axis=1)
    assert np.all(lost < 0.9 * width)
