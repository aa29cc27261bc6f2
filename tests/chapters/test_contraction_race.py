"""The race of contractions: its counterexamples in rationals, and that nothing is allowed away."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from rlbook.chapters.ch08_distributional.contraction_race import (
    ContractionRace,
    RaceParameters,
    operator_of,
)
from rlbook.chapters.ch08_distributional.contraction_ratios import worst_ratios
from rlbook.chapters.ch08_distributional.contraction_worlds import modulus, race_pair, race_world
from rlbook.lab import Context
from rlbook.mdp import FiniteMDP
from rlbook.tabular.distributional import DiscreteLaws, greedy_return_law_backup, wasserstein

LAB = ContractionRace()


def distances(seeds=range(20), **parameters) -> dict[str, np.ndarray]:
    result = LAB.run(RaceParameters(**parameters), seeds, Context())
    return {str(name): result["distance"].sel(metric=name).values for name in result["metric"].values}


@pytest.mark.parametrize("metric", ["W1", "W2", "W-infinity", "l3", "Cramer", "energy MMD", "means"])
@pytest.mark.parametrize("discount", [0.3, 0.95])
def test_moduli_are_sharp_where_nothing_is_random(metric, discount):
    """Prevents a modulus, or an allowance for rounding, so generous that no metric could fail."""
    found = distances(world="ring", discount=discount, backups=1)[metric]
    worst = float((found[:, 1] / found[:, 0]).max())
    assert worst == pytest.approx(modulus(metric, discount), rel=1e-6)


def test_the_multiquadric_nears_its_modulus_at_long_distances():
    far = distances(world="ring", backups=1)["multiquadric MMD"]
    assert 0.98 * math.sqrt(0.9) < (far[:, 1] / far[:, 0]).max() < math.sqrt(0.9)


@pytest.mark.parametrize("operator", ["evaluation", "categorical", "optimality"])
@pytest.mark.parametrize("discount", [0.5, 0.99])
def test_what_contracts_beyond_the_canonical_sets(operator, discount):
    """Evaluation contracts in all of them; on fixed atoms in all l_p, W_1 among them; greedy backups in means alone."""
    result = LAB.run(RaceParameters(operator=operator, discount=discount), range(12), Context())
    worst = worst_ratios(result, discount)
    contracting = {
        "evaluation": ["W1", "W2", "W-infinity", "l3", "Cramer", "energy MMD", "multiquadric MMD", "means"],
        "categorical": ["W1", "l3", "Cramer"],
        "optimality": ["means"],
    }[operator]
    assert {name: worst[name] for name in contracting if worst[name] > 1} == {}


WASSERSTEIN, L_P, KERNELS = {"W1", "W2", "W-infinity"}, {"W1", "l3", "Cramer"}, {"energy MMD", "multiquadric MMD"}


@pytest.mark.parametrize(
    ("operator", "worlds", "shrinks", "grows"),
    [
        ("evaluation", ("garnet", "ring"), WASSERSTEIN | L_P | KERNELS | {"means"}, {"Kolmogorov", "Gaussian MMD"}),
        ("categorical", ("ring",), L_P, {"W2", "W-infinity", "Kolmogorov", "Gaussian MMD"}),
        ("quantile", ("crossing",), {"W-infinity"}, {"W1", "W2", "l3", "Cramer", "means"} | KERNELS),
        ("optimality", ("tie",), {"means"}, WASSERSTEIN | L_P | KERNELS),
    ],
)
def test_the_chapter_reads_its_table_as_it_comes_out(operator, worlds, shrinks, grows):
    """Prevents prose about which metrics stay in which column that the table above it does not show."""
    found = [
        worst_ratios(LAB.run(RaceParameters(operator=operator, world=w), range(20), Context()), 0.9) for w in worlds
    ]
    worst = {metric: max(each[metric] for each in found) for metric in shrinks | grows}
    assert {metric for metric, ratio in worst.items() if ratio <= 1} == shrinks


def test_a_ring_moves_atoms_and_leaves_masses_alone():
    found = distances(world="ring")
    for metric in ("Kolmogorov", "total variation"):
        np.testing.assert_allclose(found[metric], found[metric][:, :1] * np.ones((1, 6)), rtol=1e-14)
    divergence = found["KL"][::4]
    np.testing.assert_allclose(divergence, divergence[:, :1] * np.ones((1, 6)), rtol=1e-14)


def test_the_gaussian_kernel_sees_wide_laws_come_apart():
    """Prevents a control that fails for its modulus alone: the distance itself grows, by less than discount^-1/2."""
    wide = distances(seeds=[3], world="ring", backups=1)["Gaussian MMD"][0]
    assert 1.01 < wide[1] / wide[0] < 0.9**-0.5


def quantile(law: list[tuple[Fraction, Fraction]], level: Fraction) -> Fraction:
    total = Fraction(0)
    for atom, mass in sorted(law):
        total += mass
        if total >= level:
            return atom
    raise AssertionError(level)


@pytest.mark.parametrize("seed", range(8))
def test_crossing_quantiles_in_rationals(seed):
    """In state 0 both quantiles move by discount x d, while every state before moved one atom of two by d."""
    discount, chances = Fraction(9, 10), [Fraction(4, 10), Fraction(3, 10), Fraction(3, 10)]
    after = []
    before = race_pair("crossing", seed)
    for table in before:
        mixed = [
            (discount * Fraction(float(x)), p * Fraction(float(m)))
            for state, p in zip((1, 2, 3), chances, strict=True)
            for x, m in zip(*table.law(state), strict=True)
        ]
        after.append([quantile(mixed, Fraction(1, 4)), quantile(mixed, Fraction(3, 4))])
    move = Fraction(1, 2 ** (2 + seed))
    assert [b - a for a, b in zip(*after, strict=True)] == [discount * move, discount * move]
    assert wasserstein(*before).max() == float(move / 2)
    found = distances(seeds=[seed], world="crossing", operator="quantile", backups=1)
    assert found["W1"][0, 1] / found["W1"][0, 0] == pytest.approx(2 * 0.9, rel=1e-9)
    assert found["W-infinity"][0, 1] / found["W-infinity"][0, 0] == pytest.approx(0.9, rel=1e-9)
    assert found["Cramer"][0, 1] / found["Cramer"][0, 0] == pytest.approx(math.sqrt(2 * 0.9), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_near_tie_has_no_bound(seed):
    """W_1 is 2 e before and the discount after, for any small e: greedy backups are not even continuous."""
    found = distances(seeds=[seed], world="tie", operator="optimality", backups=1)["W1"][0]
    assert found[0] == 2 * 2.0 ** -(2 + seed)
    assert found[1] == pytest.approx(0.9, rel=1e-14)


def test_greedy_laws_need_not_settle_while_their_means_do():
    """States 1 and 2 swap a vanishing advantage, so state 0 changes its mind for ever between a constant and a coin."""
    leads = np.zeros((4, 2, 4))
    leads[0, 0, 1] = leads[0, 1, 3] = 1.0
    leads[1, :, 2] = leads[2, :, 1] = leads[3, :, 3] = 1.0
    reward = np.zeros((4, 2))
    mdp = FiniteMDP.from_dense(leads, reward, 0.9)
    laws = DiscreteLaws.from_arrays([[0.0, 0.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0]])
    sizes = []
    for _ in range(40):
        laws, _ = greedy_return_law_backup(mdp, laws)
        sizes.append(int(laws.sizes[0]))
    assert sizes == [1, 2] * 20
    assert np.abs(laws.means()).max() < 0.02


def test_projected_races_start_from_projected_laws():
    """Prevents a first ratio that compares laws which the projected operator never sees."""
    parameters = RaceParameters(operator="quantile", metric="W-infinity")
    mdp = race_world("garnet", 0.9, 0)
    apply, representation = operator_of(parameters, mdp)
    first = race_pair("garnet", 0)[0]
    assert representation is not None
    projected = representation.laws(representation.project(first))
    assert np.all(apply(projected).sizes <= representation.n_parameters)
    result = LAB.run(parameters, [0], Context())
    other = representation.laws(representation.project(race_pair("garnet", 0)[1]))
    start = wasserstein(projected, other, math.inf).max()
    assert float(result["distance"].sel(metric="W-infinity", backup=0)[0]) == start
