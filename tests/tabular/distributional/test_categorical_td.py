"""Categorical learners: their expected updates, their fixed points, and that mass and means are kept."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.errors import ParameterError
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.distributional import (
    CPW,
    Categorical,
    DiscreteLaws,
    ExpectedShortfall,
    Mean,
    Quantiles,
    Wang,
    return_law_backup,
    return_laws,
)
from rlbook.tabular.distributional.categorical_td import CategoricalQ, CategoricalTD
from rlbook.tabular.learning.experience import Batch, Generative, Trajectory, draw_trajectory
from rlbook.tabular.learning.replication import replicate
from rlbook.tabular.learning.schedules import polynomial
from rlbook.tabular.learning.td import TD

from .learned_laws import POLICY, expected_update, small_world

EVEN = Categorical.uniform(-8.0, 9.0, 18)
UNEVEN = Categorical(np.sort(np.random.default_rng(4).uniform(-8.0, 9.0, 14)))


@pytest.mark.parametrize("atoms", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_the_expected_update_is_that_of_the_projected_operator(atoms):
    """Prevents a wrong projection, a forgotten ending, and expected rewards in place of those that were paid."""
    mdp = small_world()
    masses = np.random.default_rng(3).dirichlet(np.ones(atoms.n_parameters), size=mdp.n_states)
    laws = atoms.laws(masses)
    found = expected_update(mdp, CategoricalTD(atoms, policy=POLICY, initial=laws), atoms.project(laws))
    wanted = atoms.project(return_law_backup(mdp, laws, POLICY)) - atoms.project(laws)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize("experience", [Trajectory(), Generative(), Generative(synchronous=True)], ids=str)
def test_it_goes_to_the_fixed_point_of_dynamic_programming(experience):
    """Over 24 seeds: the mean table is the fixed point but for noise, and each one is near it in Cramer distance."""
    mdp = small_world()
    truth = return_laws(mdp, EVEN, POLICY, tolerance=1e-10, sweeps=1000).parameters
    learner = CategoricalTD(EVEN, policy=POLICY, step_size=polynomial(1.0, 0.7), experience=experience)
    found = replicate(mdp, learner, range(24), steps=20_000, checkpoints=[200, 20_000], truth=None, keep="laws")
    tables = found["parameters"].values
    early, late = (np.array([EVEN.distance(each, truth).max() for each in tables[:, k]]) for k in (0, 1))
    assert np.median(late) < 0.25 * np.median(early)
    assert late.max() < 0.15
    noise = tables[:, 1].std(axis=0, ddof=1) / np.sqrt(24)
    assert np.all(np.abs(tables[:, 1].mean(axis=0) - truth) < 5 * noise + 2e-3)


def test_means_follow_td_where_no_target_leaves_the_atoms():
    mdp = small_world()
    steps = {"steps": 3000, "checkpoints": 30, "truth": None, "keep": "estimates"}
    plain = replicate(mdp, TD(policy=POLICY), range(3), **steps)
    wide = replicate(mdp, CategoricalTD(Categorical.uniform(-20, 20, 41), policy=POLICY), range(3), **steps)
    np.testing.assert_allclose(wide["estimates"].values, plain["estimates"].values, atol=1e-12)
    assert np.array_equal(wide["reward"].values, plain["reward"].values)


def test_mass_is_kept_and_never_negative():
    """Prevents drift: sums stay 1 to 1e-12 after many updates with large and changing steps."""
    for atoms in (EVEN, UNEVEN):
        learner = CategoricalTD(atoms, policy=POLICY, step_size=0.9)
        found = replicate(small_world(), learner, range(2), steps=50_000, truth=None, checkpoints=5, keep="laws")
        masses = found["parameters"].values
        assert np.abs(masses.sum(axis=-1) - 1).max() < 1e-12
        assert masses.min() >= 0
        assert learner.laws_of(masses[0, -1]).n_laws == 3


def gamble():
    """One state: 1 for sure, or 0 or 3 by a coin."""
    return from_transitions([{0: [(1.0, 0, 1.0, True)], 1: [(0.5, 0, 0.0, True), (0.5, 0, 3.0, True)]}], 0.9)


@pytest.mark.parametrize("measure", [Mean(), ExpectedShortfall(0.25), Wang(-0.75), Wang(0.75), CPW(0.71)], ids=str)
def test_what_stands_for_a_law_is_its_measure(measure):
    """Prevents a table of a distortion that is read at the wrong levels."""
    learner = CategoricalQ(Categorical.uniform(-1, 4, 11), measure=measure, exploration=0.5)
    found = replicate(gamble(), learner, [0], steps=500, checkpoints=[50, 500], truth=None, keep="laws")
    for at in (0, 1):
        wanted = measure.of(learner.laws_of(found["parameters"].values[0, at]))
        np.testing.assert_allclose(found["estimates"].values[0, at], wanted, atol=2e-3)


def test_caution_changes_what_is_chosen():
    """By the mean the coin is better, 1.5 to 1; by the worst quarter, 0, it is worse."""
    for measure, best in ((Mean(), 1), (ExpectedShortfall(0.25), 0)):
        learner = CategoricalQ(EVEN, measure=measure, exploration=0.3, step_size=polynomial(1.0, 0.6))
        found = replicate(gamble(), learner, range(20), steps=3000, checkpoints=1, truth=None, keep="estimates")
        assert np.all(np.argmax(found["estimates"].values[:, -1], axis=1) == best)


@pytest.mark.parametrize("experience", ["trajectory", "generative", "batch"])
def test_control_learns_the_law_of_the_best_policy(experience):
    """Prevents targets that follow another action than the best one."""
    mdp = small_world()
    given = {
        "trajectory": Trajectory(),
        "generative": Generative(True),
        "batch": Batch(draw_trajectory(mdp, None, 60_000, 5)),
    }[experience]
    truth = return_laws(mdp, EVEN, "optimal", tolerance=1e-10, sweeps=1000)
    learner = CategoricalQ(EVEN, step_size=polynomial(1.0, 0.7), exploration=0.5, experience=given)
    found = replicate(mdp, learner, range(4), steps=30_000, checkpoints=1, truth=None, keep="laws")
    best = mdp.state_ptr[:-1] + np.asarray(truth.policy)
    for table in found["parameters"].values[:, -1]:
        assert EVEN.distance(table[best], truth.parameters).max() < 0.15


def test_seeds_stand_alone_and_episodes_can_be_counted():
    learner = CategoricalTD(EVEN, policy=POLICY)
    together = replicate(small_world(), learner, [3, 8], episodes=20, truth=None, keep="laws")
    alone = replicate(small_world(), learner, [8], episodes=20, truth=None, keep="laws", workers=1)
    assert np.array_equal(together["parameters"].values[1], alone["parameters"].values[0])
    assert together["parameters"].dims == ("seed", "checkpoint", "state", "parameter")
    assert together["episode"].values[0, -1] == 20


def test_refusals():
    mdp, learner = small_world(), CategoricalTD(EVEN, policy=POLICY)
    with pytest.raises(ParameterError, match="keeps laws as Categorical"):
        CategoricalTD(Quantiles(5))
    with pytest.raises(ParameterError, match="Mean\\(\\), ExpectedShortfall"):
        CategoricalQ(EVEN, measure="CVaR")
    with pytest.raises(ParameterError, match="Trajectory\\(\\), Generative\\(\\) or Batch"):
        CategoricalTD(EVEN, experience="batch")
    with pytest.raises(ParameterError, match="have 0 parameters"):
        replicate(mdp, TD(), [0], steps=5, truth=None, keep="laws")
    with pytest.raises(ParameterError, match="have 14 and 18 parameters"):
        replicate(mdp, learner, [0], steps=5, truth=None, keep="laws", grid={"representation": [EVEN, UNEVEN]})
    with pytest.raises(ParameterError, match="'errors', 'estimates', 'steps', 'laws'"):
        replicate(mdp, learner, [0], steps=5, truth=None, keep="law")
    with pytest.raises(ParameterError, match="initial holds 2 laws"):
        replicate(mdp, CategoricalTD(EVEN, initial=DiscreteLaws.point_masses([0.0, 1.0])), [0], steps=5, truth=None)
    with pytest.raises(ParameterError, match="nobody walks"):
        replicate(mdp, CategoricalTD(EVEN, experience=Generative()), [0], episodes=5, truth=None)
    by_episodes = CategoricalTD(EVEN, step_size=polynomial(1.0, 1.0, clock="episodes"), experience=Generative())
    with pytest.raises(ParameterError, match="counts episodes"):
        replicate(mdp, by_episodes, [0], steps=5, truth=None)
    off_policy = CategoricalTD(EVEN, policy=[0, 0, 0], experience=Batch(draw_trajectory(mdp, None, 100, 0)))
    with pytest.raises(ParameterError, match="takes action 1 in state 0, which policy never does"):
        replicate(mdp, off_policy, [0], steps=5, truth=None)
