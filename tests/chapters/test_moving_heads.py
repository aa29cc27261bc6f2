"""Moving heads: a truth that others agree with, point masses that stay where they belong, figures of what was noted."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.lab import Context
from rlbook.tabular.distributional import DiscreteLaws, sampled_returns, wasserstein

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from rlbook.chapters.ch09_deep_q.head_worlds import distances, head_mdp, head_truth, laws_of
from rlbook.chapters.ch09_deep_q.moving_heads import HeadParameters, MovingHeads

LAB = MovingHeads()


@pytest.fixture(scope="module")
def short():
    return LAB.run(HeadParameters(steps=1_000), [3, 5], Context())


def test_the_truth_agrees_with_sampled_returns():
    """Prevents laws of another policy, discount or order of pairs than the agents are held against."""
    mdp, truth = head_mdp(), head_truth()
    for state in truth.states[[0, 7, 18]]:
        drawn = sampled_returns(mdp, truth.best, int(state), 20_000, seed=1, most_steps=200)
        atoms, mass = truth.pairs.law(int(state) * 4 + int(truth.best[state]))
        exact = DiscreteLaws.from_arrays(atoms, mass)
        assert wasserstein(exact, DiscreteLaws.from_arrays(drawn))[0] < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_no_point_mass_gets_below_one(seed):
    """Prevents a threshold that a single number could reach."""
    truth = head_truth()
    mean = truth.pairs.means().reshape(-1, 4, 1)
    atoms = mean + 0.3 * seed * np.random.default_rng(seed).normal(size=mean.shape)
    far = distances(atoms, np.ones_like(atoms))[truth.states, truth.best[truth.states]].mean()
    assert far >= truth.sure - truth.missed


def test_the_exact_laws_are_at_no_distance():
    """Prevents distances from the laws of other pairs."""
    truth = head_truth()
    levels = (np.arange(2_000) + 0.5) / 2_000
    near = truth.pairs.quantiles(levels).reshape(-1, 4, 2_000)
    assert distances(near, np.full(near.shape, 1 / 2_000)).max() < 2e-3


def test_the_histogram_holds_all_mass_of_the_law_that_is_asked_for(short):
    """Prevents mass beyond the ends from getting lost, and a law of another look, state or action."""
    assert short["step"].values[[0, 2, 20]].tolist() == [0, 100, 1_000]
    view = LAB.make_view(short, {"look": 0, "state": 3, "action": "down", "seed": 1})
    figure = LAB.figure(short, view)
    bars, exact = figure.data[0].y, figure.data[1].y
    assert np.sum(bars) == pytest.approx(1.0)
    assert np.sum(exact) == pytest.approx(1.0)
    np.testing.assert_allclose(bars, short["mass"].sel(seed=5, state=3, action="down")[0], atol=1e-6)


def test_shares_are_distances_of_best_actions(short):
    """Prevents a verdict on other pairs than it says."""
    truth = head_truth()
    row = short.sel(seed=5).isel(look=4)
    each = []
    for state in truth.states:
        pair = row.sel(state=state).isel(action=int(truth.best[state]))
        believed = laws_of(pair["atom"].values[None], pair["mass"].values[None])
        exact = DiscreteLaws.from_arrays(*truth.pairs.law(4 * int(state) + int(truth.best[state])))
        each.append(wasserstein(believed, exact)[0])
    assert float(row["share"]) == pytest.approx(np.mean(each) / truth.sure)
