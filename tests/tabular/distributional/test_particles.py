"""Particles: draws that are keyed, right on average, less noisy in strata, and the same in every sweep."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.errors import ParameterError
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import DiscreteLaws, Particles, return_laws, wasserstein
from tests.tabular.distributional.dyadic_worlds import coin_world

LAW = DiscreteLaws.from_arrays([-2.0, 0.0, 1.0, 5.0], [0.15, 0.35, 0.3, 0.2])


def draws(m: int, stratified: bool, seeds: int = 4000) -> np.ndarray:
    return np.concatenate([Particles(m, seed, stratified).project(LAW) for seed in range(seeds)])


@pytest.mark.parametrize("stratified", [True, False])
def test_particles_are_drawn_from_the_law(stratified):
    """Prevents levels that are not uniform; the allowance is five standard errors of the worst frequency."""
    found = draws(4, stratified)
    for x, p in zip(*LAW.law(0), strict=True):
        assert np.mean(found == x) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / found.size))
    assert np.all(np.diff(found, axis=1) >= 0)


def test_strata_make_means_less_noisy():
    """With one level from each m-th there is noise only where a share of levels holds two atoms."""
    assert draws(16, True).mean(axis=1).std() < 0.3 * draws(16, False).mean(axis=1).std()


def test_a_draw_is_a_function_of_seed_and_law():
    """Prevents draws that depend on the laws beside them, and laws that share their luck."""
    three = LAW.mixture(np.ones((3, 1)))
    by = Particles(40, 7, stratified=False)
    together = by.project(three)
    assert np.array_equal(together[:1], by.project(LAW))
    assert np.array_equal(together, by.project(three))
    assert len({row.tobytes() for row in together}) == 3
    assert not np.array_equal(together, Particles(40, 8, stratified=False).project(three))


def test_a_stratified_projection_misses_at_most_its_share():
    for seed in range(200):
        by = Particles(6, seed)
        assert wasserstein(LAW, by.laws(by.project(LAW)))[0] <= by.missed_share * 7.0 + 1e-12


def test_sweeps_converge_since_levels_stay():
    """Prevents fresh draws in each sweep, with which dynamic programming never comes to rest."""
    mdp = coin_world()
    for stratified in (True, False):
        found = return_laws(mdp, Particles(30, 3, stratified), uniform_policy(mdp), tolerance=1e-9)
        assert found.converged
        assert np.all(found.changes[1:] <= 0.9 * found.changes[:-1] + 1e-12)


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, True])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ParameterError, match="give a whole number from 0"):
        Particles(3, seed)
