"""Particles that fit joint laws: gradients by differences, steps that never rise, and targets that are unbiased."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rlbook.errors import ParameterError
from rlbook.tabular.distributional import EnergyKernel, GaussianKernel, LaplaceKernel, MultiquadricKernel
from rlbook.tabular.distributional.joint_laws import JointLaws, backed_up
from rlbook.tabular.distributional.joint_metrics import joint_mmd
from rlbook.tabular.distributional.joint_particles import (
    fitted_particles,
    joint_particle_laws,
    learned_joint_particles,
    mmd_gradient,
    spread_particles,
)
from rlbook.tabular.distributional.joint_returns import joint_return_laws
from rlbook.tabular.distributional.vector_rewards import VectorRewardMDP

KERNELS = (EnergyKernel(1.0), EnergyKernel(1.5), GaussianKernel(0.7), LaplaceKernel(2.0), MultiquadricKernel(0.5))
DESCENDING = (EnergyKernel(1.0), EnergyKernel(1.3), EnergyKernel(1.9), MultiquadricKernel(0.5))


def target(seed: int, n: int = 2, atoms: int = 9, d: int = 2) -> JointLaws:
    random = np.random.default_rng(seed)
    return JointLaws.from_arrays(random.normal(size=(n, atoms, d)), random.dirichlet(np.ones(atoms), n))


def squared(particles: np.ndarray, laws: JointLaws, kernel) -> np.ndarray:
    return joint_mmd(JointLaws.from_arrays(particles), laws, kernel) ** 2


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_gradients_are_those_of_differences(kernel):
    laws = target(1, d=3)
    particles = np.random.default_rng(2).normal(size=(2, 4, 3))
    gradient = mmd_gradient(particles, laws, kernel)
    for index in [(0, 0, 0), (1, 2, 1), (1, 3, 2)]:
        change = np.zeros_like(particles)
        change[index] = 1e-5
        slope = (squared(particles + change, laws, kernel) - squared(particles - change, laws, kernel)) / 2e-5
        assert gradient[index] == pytest.approx(slope[index[0]], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kernel", DESCENDING, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_a_step_never_raises_the_distance(kernel, seed):
    """The theorem of the convex-concave procedure, which is about the distance as it is: softening is 0 here."""
    laws = target(seed)
    particles = 3 * np.random.default_rng(seed + 50).normal(size=(2, 6, 2))
    before = squared(particles, laws, kernel)
    for _ in range(12):
        particles = fitted_particles(laws, particles, kernel, iterations=1, softening=0.0)
        after = squared(particles, laws, kernel)
        assert np.all(after <= before + 1e-12)
        before = after
    first = squared(3 * np.random.default_rng(seed + 50).normal(size=(2, 6, 2)), laws, kernel)
    assert np.all(before < 0.5 * first)


def test_one_particle_is_the_spatial_median():
    """A single particle has nothing to push it: with beta = 1 it minimises the mean distance to the atoms."""
    corners = JointLaws.from_arrays([[[0.0, 0.0], [4.0, 0.0], [0.0, 3.0], [4.0, 3.0]]])
    at = fitted_particles(corners, [[[1.0, 0.7]]], iterations=300, softening=0.0)
    np.testing.assert_allclose(at[0, 0], [2.0, 1.5], atol=1e-6)


def test_fixed_points_have_no_gradient():
    laws = target(4, n=1, atoms=40)
    kernel = MultiquadricKernel(0.5)
    found = fitted_particles(laws, spread_particles(laws, 5), kernel, iterations=2000, softening=0.0)
    assert np.abs(mmd_gradient(found, laws, kernel)).max() < 1e-8
    assert np.abs(mmd_gradient(spread_particles(laws, 5), laws, kernel)).max() > 1e-2


def test_fitted_particles_beat_drawn_ones():
    """Prevents a fit that is no better than chance: support points should do better than most draws of their number."""
    laws = target(6, n=1, atoms=200)
    fitted = squared(fitted_particles(laws, spread_particles(laws, 16), iterations=100), laws, EnergyKernel(1.0))
    random = np.random.default_rng(0)
    atoms, masses = laws.law(0)
    draws = atoms[random.choice(len(atoms), size=(200, 16), p=masses)]
    by_chance = [squared(each[None], laws, EnergyKernel(1.0))[0] for each in draws]
    assert fitted[0] < 0.5 * min(by_chance)


def chain(p: float = 0.4) -> VectorRewardMDP:
    rows = [[(p, s, (1.0, 2.0)), (1 - p, s, (0.0, 0.0))] for s in (1, 2, None)]
    return VectorRewardMDP.from_transitions([{0: row} for row in rows], 0.9)


def test_dynamic_programming_settles_near_the_truth():
    world, policy = chain(), np.zeros(3, dtype=np.int32)
    truth = joint_return_laws(world, policy)
    assert truth.error_bounds.max() == 0.0, "three steps, then the end"
    found = joint_particle_laws(world, policy, 24)
    assert found.changes[-1] <= 1e-3
    assert joint_mmd(found.laws, truth.laws, EnergyKernel(1.0)).max() < 0.08
    again = joint_particle_laws(world, policy, 24)
    assert np.array_equal(found.particles, again.particles)


def test_the_gradient_of_the_backup_is_the_mean_over_transitions():
    """What lets sampled targets learn: the gradient is linear in the target law."""
    world = chain(0.3)
    rows = world.policy_rows(np.zeros(3, dtype=np.int32))
    after = np.random.default_rng(1).normal(size=(3, 5, 2))
    whole = backed_up(rows, JointLaws.from_arrays(after), 0.9)
    particles = np.random.default_rng(2).normal(size=(3, 5, 2))
    for kernel in KERNELS:
        expected = np.zeros_like(particles)
        for e in range(len(rows.weight)):
            s = int(np.searchsorted(rows.entry_ptr, e, side="right")) - 1
            follows = 0.9 * after[rows.source[e]] if rows.source[e] >= 0 else np.zeros((1, 2))
            single = JointLaws.from_arrays((rows.reward[e] + follows)[None])
            expected[s] += rows.weight[e] * mmd_gradient(particles[s][None], single, kernel)[0]
        np.testing.assert_allclose(mmd_gradient(particles, whole, kernel), expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [EnergyKernel(1.0), MultiquadricKernel(1.0)], ids=str)
def test_sampled_targets_come_near_the_truth(kernel):
    world, policy = chain(), np.zeros(3, dtype=np.int32)
    truth = joint_return_laws(world, policy).laws
    far = [joint_mmd(truth, truth.product_of_marginals(), kernel)[0]]
    near = []
    for seed in range(20):
        particles = learned_joint_particles(world, policy, 12, kernel, steps=600, decay=60.0, seed=seed)
        near.append(joint_mmd(truth, JointLaws.from_arrays(particles), kernel)[0])
    assert np.mean(near) + 3 * np.std(near) / np.sqrt(20) < 0.6 * far[0]
    assert len({round(value, 12) for value in near}) == 20, "each seed has its own luck"
    assert np.array_equal(
        learned_joint_particles(world, policy, 4, kernel, steps=9, seed=3),
        learned_joint_particles(world, policy, 4, kernel, steps=9, seed=3),
    )


def test_one_learning_step_goes_down_the_gradient():
    """A plain computation of the first step, in a world where only one transition can be drawn."""
    world = VectorRewardMDP.from_transitions([{0: [(1.0, None, (1.0, -2.0))]}], 0.9)
    kernel, policy = EnergyKernel(1.0), np.zeros(1, dtype=np.int32)
    start = learned_joint_particles(world, policy, 6, kernel, steps=0)
    after = learned_joint_particles(world, policy, 6, kernel, steps=1, step_size=0.2)
    gradient = mmd_gradient(start, JointLaws.point_masses([[1.0, -2.0]]), kernel)
    np.testing.assert_allclose(after, start - 0.2 * 6 / 4 * gradient, atol=1e-14)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda: fitted_particles(target(0), np.zeros((2, 3, 2)), EnergyKernel(0.5)), "beta >= 1"),
        (lambda: fitted_particles(target(0), np.zeros((2, 3, 2)), GaussianKernel(1.0)), "multiquadric"),
        (lambda: fitted_particles(target(0), np.zeros((2, 3, 3))), "particles has shape (2, 3, 3)"),
        (lambda: fitted_particles(target(0), np.zeros((2, 3, 2)), iterations=-1), "iterations is -1"),
        (lambda: spread_particles(target(0), 0), "m is 0"),
        (lambda: joint_particle_laws(chain(), np.zeros(3, dtype=np.int32), sweeps=0), "sweeps is 0"),
        (
            lambda: learned_joint_particles(chain(), np.zeros(3, dtype=np.int32), step_size=0.0),
            "step_size is 0.0; give a finite number above 0",
        ),
    ],
)
def test_what_is_wrong_is_said(run, says):
    with pytest.raises(ParameterError, match=re.escape(says)):
        run()


def test_learning_can_be_cancelled():
    """Prevents a learner that only ends by itself."""
    world, policy = chain(), np.zeros(3, dtype=np.int32)
    stopped = learned_joint_particles(world, policy, 4, steps=10**12, seed=3, cancel=np.ones(1, dtype=np.uint8))
    assert np.array_equal(stopped, learned_joint_particles(world, policy, 4, steps=0, seed=3))


def test_dynamic_programming_says_why_it_ended():
    world, policy = chain(), np.zeros(3, dtype=np.int32)
    flag = np.ones(1, dtype=np.uint8)
    for run in (joint_particle_laws, joint_return_laws):
        assert run(world, policy, cancel=flag).reason == "cancelled"
        assert run(world, policy).reason == "tolerance"
    assert joint_particle_laws(world, policy, sweeps=1, tolerance=0.0).reason == "iteration limit"
