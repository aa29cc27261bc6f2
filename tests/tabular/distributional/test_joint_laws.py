"""Joint laws of vector returns: the exact backup in rationals, its marginals, merging, Monte Carlo and distances."""

from __future__ import annotations

import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

from rlbook.errors import MDPError, ParameterError
from rlbook.tabular import evaluate_policy
from rlbook.tabular.distributional import (
    DiscreteLaws,
    EnergyKernel,
    GaussianKernel,
    LaplaceKernel,
    MultiquadricKernel,
    joint_kernels,
    mmd,
    return_law_backup,
    return_variance,
    wasserstein,
)
from rlbook.tabular.distributional.joint_laws import JointLaws, joint_law_backup
from rlbook.tabular.distributional.joint_metrics import joint_mmd, joint_wasserstein
from rlbook.tabular.distributional.joint_returns import joint_return_laws, sampled_joint_returns
from rlbook.tabular.distributional.vector_rewards import VectorRewardMDP

# Two states, two actions; the first action has two outcomes with equal next state and equal sum of rewards.
OUTCOMES = [
    {
        0: [(0.25, None, (4.0, -1.0)), (0.5, 1, (1.0, 0.0)), (0.25, 1, (0.0, 1.0))],
        2: [(0.5, 0, (0.5, 0.5)), (0.5, None, (0.0, 2.0))],
    },
    {0: [(0.5, 0, (-1.0, 0.0)), (0.25, 1, (2.0, 2.0)), (0.25, None, (0.0, 0.0))]},
]
POLICY = np.array([0.5, 0.5, 1.0])
WORLD = VectorRewardMDP.from_transitions(OUTCOMES, 0.5, ("one", "two"))


def drawn(seed: int, n: int = 2, atoms: int = 4, d: int = 2) -> JointLaws:
    random = np.random.default_rng(seed)
    return JointLaws.from_arrays(random.normal(size=(n, atoms, d)), random.dirichlet(np.ones(atoms), n))


def in_rationals(laws: list[dict[tuple, Fraction]]) -> list[dict[tuple, Fraction]]:
    """One backup under POLICY, from the table above and not from the MDP."""
    found = []
    for s, choices in enumerate(OUTCOMES):
        law: dict[tuple, Fraction] = {}
        for row in choices.values():
            for p, following, reward in row:
                after = {(Fraction(0), Fraction(0)): Fraction(1)} if following is None else laws[following]
                for atom, mass in after.items():
                    at = tuple(Fraction(r) + x / 2 for r, x in zip(reward, atom, strict=True))
                    law[at] = law.get(at, Fraction(0)) + mass * Fraction(p) * Fraction(1, 2 if s == 0 else 1)
        found.append(law)
    return found


def test_backups_are_those_of_rationals():
    """Prevents outcomes merged because their sums agree, rewards out of order, and laws after the end."""
    exact = [{(Fraction(0), Fraction(0)): Fraction(1)}] * 2
    laws = JointLaws.point_masses(np.zeros((2, 2)))
    for _ in range(4):
        exact = in_rationals(exact)
        laws = joint_law_backup(WORLD, laws, POLICY)
    for i, law in enumerate(exact):
        atoms, masses = laws.law(i)
        assert {tuple(atom): mass for atom, mass in zip(atoms, masses, strict=True)} == {
            tuple(map(float, atom)): float(mass) for atom, mass in law.items()
        }


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, -0.5)])
def test_sums_of_a_joint_backup_are_the_scalar_backup(weights):
    """The law of w . G backs up like the scalar law of the reward w . R."""
    laws = drawn(3)
    scalar = return_law_backup(WORLD.weighted_mdp(weights), laws.along(weights), POLICY)
    np.testing.assert_allclose(wasserstein(joint_law_backup(WORLD, laws, POLICY).along(weights), scalar), 0, atol=1e-14)


def test_moments_are_those_of_the_scalar_solvers():
    laws = joint_return_laws(WORLD, POLICY, most_atoms=10_000, sweeps=7).laws
    for source in range(2):
        mdp = WORLD.source_mdp(source)
        np.testing.assert_allclose(laws.means()[:, source], evaluate_policy(mdp, POLICY).values, atol=2e-2)
        np.testing.assert_allclose(laws.covariances()[:, source, source], return_variance(mdp, POLICY), atol=5e-2)


def test_error_bounds_hold_and_count_merging():
    """Prevents a bound that forgets the tail, or the merging: both are measured against a law that is nearly exact."""
    truth = joint_return_laws(WORLD, POLICY, most_atoms=10_000, sweeps=7)
    for most, sweeps in ((12, 30), (40, 3), (25, 6)):
        rough = joint_return_laws(WORLD, POLICY, most_atoms=most, sweeps=sweeps)
        assert rough.laws.sizes.max() <= most
        apart = joint_wasserstein(rough.laws, truth.laws.merged(150)[0])
        assert np.all(apart <= rough.error_bounds + truth.error_bounds + truth.laws.merged(150)[1])
        assert np.all(rough.error_bounds < 40 * apart)


def test_merging_keeps_means_and_knows_its_cost():
    laws = drawn(5, atoms=90, d=3)
    merged, cost = laws.merged(20)
    assert 5 < merged.sizes.max() <= 20
    np.testing.assert_allclose(merged.means(), laws.means(), atol=1e-14)
    apart = joint_wasserstein(laws, merged)
    assert np.all(apart <= cost + 1e-9)
    assert np.all(cost < 3 * apart)
    same, nothing = laws.merged(90)
    assert np.array_equal(same.atom, laws.atom)
    assert not nothing.any()


def test_monte_carlo_agrees_with_the_exact_law():
    """Shares no code with the backup; the bound is seven standard errors of MMD under the same law."""
    truth = joint_return_laws(WORLD, POLICY, most_atoms=3000, sweeps=25).laws
    for state in range(2):
        returns = sampled_joint_returns(WORLD, POLICY, state, 4000, seed=1)
        sample = JointLaws.from_arrays(returns[None])
        assert joint_mmd(truth.only(state), sample, EnergyKernel(1.0))[0] < 7 / math.sqrt(4000)
        assert joint_mmd(truth.only(1 - state), sample, EnergyKernel(1.0))[0] > 7 / math.sqrt(4000)
    again = sampled_joint_returns(WORLD, POLICY, 0, 4000, seed=1)
    assert np.array_equal(again, sampled_joint_returns(WORLD, POLICY, 0, 4000, seed=1))


def test_product_of_marginals_keeps_marginals_and_nothing_else():
    laws = drawn(6, d=3)
    product = laws.product_of_marginals()
    assert np.array_equal(product.sizes, laws.sizes**3)
    for source in range(3):
        np.testing.assert_allclose(wasserstein(product.marginals(source), laws.marginals(source)), 0, atol=1e-14)
    covariance = product.covariances()
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(covariance[:, off], 0, atol=1e-13)
    assert np.abs(laws.covariances()[:, off]).max() > 0.1


@pytest.mark.parametrize(
    "kernel", [EnergyKernel(1.0), EnergyKernel(1.5), GaussianKernel(0.7), LaplaceKernel(2.0), MultiquadricKernel(0.5)]
)
def test_distances_of_one_source_are_the_scalar_ones(kernel):
    a, b = drawn(7, d=1), drawn(8, atoms=6, d=1)
    scalar = [DiscreteLaws(laws.ptr, laws.atom[:, 0], laws.mass) for laws in (a, b)]
    np.testing.assert_allclose(joint_mmd(a, b, kernel), mmd(*scalar, kernel), rtol=1e-9)
    for p in (1.0, 2.0):
        np.testing.assert_allclose(joint_wasserstein(a, b, p), wasserstein(*scalar, p), rtol=1e-7)


def test_transport_in_the_plane_turns_with_it():
    """Closed forms: a shift costs its length, and distances are Euclidean, so no direction is special."""
    a = JointLaws.from_arrays(np.random.default_rng(0).normal(size=(1, 7, 2)))
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    b = drawn(10, n=1)
    moved = JointLaws.from_arrays(a.atom[None] + [3.0, 4.0])
    for p in (1.0, 2.0):
        assert joint_wasserstein(a, moved, p)[0] == pytest.approx(5.0, rel=1e-12)
        turned = [JointLaws.from_arrays((laws.atom @ turn)[None], laws.mass[None]) for laws in (a, b)]
        assert joint_wasserstein(*turned, p)[0] == pytest.approx(joint_wasserstein(a, b, p)[0], rel=1e-7)


def test_assignment_and_linear_program_agree():
    a, b = (JointLaws.from_arrays(np.random.default_rng(s).normal(size=(1, 6, 2))) for s in (1, 2))
    nearly = np.full((1, 6), 1 / 6) + 1e-10 * np.array([[1, -1, 1, -1, 1, -1]])
    by_program = JointLaws.from_arrays(b.atom[None], nearly)
    assert joint_wasserstein(a, by_program)[0] == pytest.approx(joint_wasserstein(a, b)[0], rel=1e-7)


def test_pickled_laws_serve_the_kernels_that_are_compiled():
    """Prevents a second compiled version for arrays that come back writable."""
    a, b = pickle.loads(pickle.dumps(drawn(1))), drawn(2)
    assert not a.atom.flags.writeable
    assert joint_mmd(a, b, EnergyKernel(1.0))[0] == joint_mmd(drawn(1), b, EnergyKernel(1.0))[0]
    for kernel in (joint_kernels.joint_similarities, joint_kernels.joint_gradients, joint_kernels.fit_particles):
        assert len(kernel.dispatcher.signatures) <= 1


def test_vector_rewards_keep_the_order_of_transitions():
    assert WORLD.mdp.n_transitions == 8
    paid = WORLD.rewards[WORLD.mdp.row_ptr[0] : WORLD.mdp.row_ptr[1]].tolist()
    assert paid == [[1.0, 0.0], [0.0, 1.0], [4.0, -1.0]], "the end comes last"
    assert WORLD.mdp.continuing_end[0] == 2


@pytest.mark.parametrize(
    ("run", "error", "says"),
    [
        (lambda: VectorRewardMDP(WORLD.mdp, np.zeros((3, 2))), MDPError, "rewards has shape (3, 2)"),
        (lambda: VectorRewardMDP(WORLD.mdp, np.full((8, 2), np.nan)), MDPError, "rewards[0, 0] is nan"),
        (lambda: VectorRewardMDP.from_transitions([{0: [(1.0, None, ())]}], 0.5), MDPError, "shape (1, 0)"),
        (
            lambda: VectorRewardMDP.from_transitions([{0: [(0.5, 0, (1.0,)), (0.5, 0, (1.0, 2.0))]}], 0.5),
            MDPError,
            "[1, 2] entries",
        ),
        (lambda: WORLD.weighted_mdp([1.0]), ParameterError, "weights has shape (1,)"),
        (lambda: WORLD.source_mdp(2), ParameterError, "source is 2"),
        (lambda: joint_law_backup(WORLD, drawn(0, n=3), POLICY), MDPError, "laws holds 3 laws"),
        (lambda: JointLaws.from_arrays(np.zeros((2, 2))), ParameterError, "atoms has shape (2, 2)"),
        (lambda: JointLaws.from_arrays(np.zeros((1, 2, 2)), [[0.5, 0.6]]), ParameterError, "sum to 1"),
        (lambda: JointLaws([0, 0], np.zeros((0, 2)), []), ParameterError, "ptr must start at 0"),
        (lambda: JointLaws([0, 1], np.zeros((2, 2)), [1.0]), ParameterError, "atom has shape (2, 2)"),
        (lambda: JointLaws([0, 1], np.zeros((1, 2)), [0.5]), ParameterError, "mass must be positive"),
        (lambda: drawn(0).law(2), ParameterError, "law 2 does not exist"),
        (lambda: drawn(0).merged(0), ParameterError, "most_atoms is 0"),
        (lambda: joint_wasserstein(drawn(0), drawn(1), math.inf), ParameterError, "p is inf"),
        (lambda: joint_mmd(drawn(0), drawn(1, d=3), EnergyKernel()), ParameterError, "3 sources"),
        (lambda: sampled_joint_returns(WORLD, POLICY, 2, 5), ParameterError, "state is 2"),
        (lambda: joint_return_laws(WORLD, POLICY, sweeps=0), ParameterError, "sweeps is 0"),
    ],
)
def test_what_is_wrong_is_said(run, error, says):
    with pytest.raises(error, match=re.escape(says)):
        run()
