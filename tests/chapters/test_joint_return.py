"""The labs of joint returns: what their worlds share, that nothing is allowed away, and that every view draws."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.chapters.ch08_distributional.joint_contraction import (
    JointContraction,
    JointContractionParameters,
    modulus,
)
from rlbook.chapters.ch08_distributional.joint_return import JointReturn, JointReturnParameters
from rlbook.chapters.ch08_distributional.joint_return_worlds import joint_world
from rlbook.lab import Context
from rlbook.tabular.distributional import EnergyKernel
from rlbook.tabular.distributional.joint_laws import JointLaws
from rlbook.tabular.distributional.joint_metrics import joint_mmd
from rlbook.tabular.distributional.joint_returns import joint_return_laws

SIGNS = {"correlated": 1, "anti-correlated": -1, "exclusive": -1, "shared ending": 1, "independent": 0}


@pytest.mark.parametrize(("world", "sign"), SIGNS.items())
def test_worlds_share_what_they_say(world, sign):
    """Prevents a world whose name and law differ; laws are exact, since episodes end within `length` steps."""
    for seed in range(5):
        made = joint_world(world, 4, 0.9, seed)
        found = joint_return_laws(made, np.zeros(made.n_states, dtype=np.int32))
        assert found.error_bounds[0] == 0.0
        covariance = found.laws.covariances()[0]
        correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        if sign == 0:
            assert abs(correlation) < 1e-12
        else:
            assert 0.1 < sign * correlation <= 1 + 1e-12
        if world == "exclusive":
            atoms, _ = found.laws.law(0)
            assert np.all(atoms.min(axis=1) == 0), "never both"


def test_monte_carlo_returns_come_from_the_same_law():
    """Prevents grey points in the figure from another world than the one judged."""
    for world in ("exclusive", "shared ending"):
        result = JointReturn().run(JointReturnParameters(world=world), range(8), Context())
        assert np.all(result["sample_distance"] < 5 / np.sqrt(500))
        assert result["sample_distance"].mean() > 0.2 / np.sqrt(500)


def test_the_judged_distances_are_those_of_the_drawn_particles():
    parameters = JointReturnParameters(world="anti-correlated", discount=1.0)
    result = JointReturn().run(parameters, [3], Context())
    world = joint_world("anti-correlated", 4, 1.0, 3)
    truth = joint_return_laws(world, np.zeros(4, dtype=np.int32)).laws.only(0)
    model = JointLaws.from_arrays(result["particles"].values)
    assert float(result["joint_distance"][0]) == joint_mmd(truth, model, EnergyKernel(1.0))[0]


@pytest.mark.parametrize("metric", ["W1", "W2", "energy MMD"])
@pytest.mark.parametrize("discount", [0.3, 0.95])
def test_moduli_are_sharp_where_nothing_is_random(metric, discount):
    """Prevents a modulus, or an allowance for rounding, so generous that nothing could fail."""
    parameters = JointContractionParameters(metric=metric, world="ring", discount=discount, backups=1, sources=3)
    distance = JointContraction().run(parameters, range(3), Context())["distance"].sel(metric=metric).values
    assert (distance[:, 1] / distance[:, 0]).max() == pytest.approx(modulus(metric, discount), rel=1e-6)


def test_the_gaussian_distance_itself_grows():
    """Prevents a control that fails only because its modulus is below 1."""
    lab = JointContraction()
    distance = lab.run(lab.controls[0], range(12), Context())["distance"].sel(metric="Gaussian MMD").values
    assert (distance[:, 1:] / distance[:, :-1]).max() > 1.005


def test_every_world_and_model_draws():
    lab = JointReturn()
    for world in SIGNS:
        result = lab.run(JointReturnParameters(world=world, particles=4), [0, 1], Context())
        for shown in ("joint particles", "product of marginals"):
            view = lab.make_view(result, {"shown": shown, "seed": 1})
            figure = lab.figure(result, view)
            assert len(figure.data) == 6
            assert shown in lab.alt_text(result, view)
