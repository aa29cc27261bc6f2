"""The moving law: what its verdict may not let through, and figures that show what was computed."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.chapters.ch08_distributional.moving_law import MovingLaw, MovingParameters
from rlbook.chapters.ch08_distributional.moving_worlds import Truth, distance_and_reach, moving_world
from rlbook.lab import Context
from rlbook.tabular.distributional import (
    Categorical,
    DiscreteLaws,
    ExactLaws,
    Expectiles,
    Quantiles,
    return_law_backup,
    return_laws,
    sampled_returns,
    wasserstein,
)

LAB = MovingLaw()


def test_fair_bits_are_uniform():
    """Prevents a truth that is wrong: at discount 1/2 the return is uniform on [0, 2], in closed form."""
    truth = Truth.of(moving_world("bits", 0.5, 0))
    places = np.linspace(0.0, 2.0, 2001)
    uniform = DiscreteLaws.from_arrays((places[1:] + places[:-1]) / 2)
    assert wasserstein(truth.laws, uniform)[0] <= truth.missed[0] + 0.0005
    assert truth.missed[0] < 0.01


def test_the_truth_of_the_garnet_agrees_with_sampled_returns():
    mdp = moving_world("garnet", 0.8, 2)
    truth = Truth.of(mdp)
    for state in (0, 3):
        drawn = DiscreteLaws.from_arrays(
            sampled_returns(mdp, np.zeros(4, dtype=np.int32), state, 40_000, seed=1, most_steps=100)
        )
        law = DiscreteLaws.from_arrays(*truth.laws.law(state))
        assert wasserstein(law, drawn)[0] < truth.missed[state] + 0.05


def test_each_sweep_is_one_projected_backup():
    """Prevents a history that is drawn one sweep off, or of another world than the seed's."""
    result = LAB.run(MovingParameters(m=6), [4], Context())
    mdp, by = moving_world("garnet", 0.8, 4), Quantiles(6)
    tables = result["parameter"].values[0]
    for k in (0, 1, 7):
        after = by.project(return_law_backup(mdp, by.laws(tables[k]), np.zeros(4, dtype=np.int32)))
        np.testing.assert_allclose(tables[k + 1], after, rtol=0, atol=1e-12)


def test_the_jackpot_is_missed_by_the_quantiles_and_not_by_the_bound():
    """The control fails since the prize is not seen, and with enough quantiles it is."""
    blind = LAB.run(MovingParameters(world="jackpot", m=20, discount=0.5), [0], Context())
    assert np.all(blind["parameter"].values == 0)
    seeing = LAB.run(MovingParameters(world="jackpot", m=101, discount=0.5), [0], Context())
    assert seeing["parameter"].values[0, -1].max() > 1


def test_expected_rewards_miss_the_law_and_keep_the_mean():
    """The control fails since the law is wrong, not since something else broke."""
    each = LAB.run(MovingParameters(representation="categorical", world="bits", m=51, discount=0.5), [0], Context())
    mean = LAB.run(
        MovingParameters(representation="categorical", world="bits", m=51, discount=0.5, rewards="expected"),
        [0],
        Context(),
    )
    atoms = np.linspace(0.0, 2.0, 51)
    tables = [result["parameter"].values[0, -1, 0] for result in (each, mean)]
    assert [table @ atoms for table in tables] == pytest.approx([1.0, 1.0], abs=1e-3)
    spread = [table @ (atoms - 1) ** 2 for table in tables]
    assert spread[0] == pytest.approx(1 / 3, rel=0.02)
    assert spread[1] < 1 / 20


def test_what_the_chapter_says_of_widths_is_so():
    """Prevents prose on fixed points that its table does not show: masses too wide and on the mean, quantiles off it,
    on both sides of the true width, and naive expectiles far too narrow."""
    mdp, policy = moving_world("garnet", 0.8, 0), np.zeros(4, dtype=np.int32)
    truth = return_laws(mdp, ExactLaws(1500), policy, tolerance=1e-4).laws
    off, width = {}, {}
    for by in (Categorical.covering(mdp, 31), Quantiles(31), Expectiles(31), Expectiles(31, naive=True)):
        laws = return_laws(mdp, by, policy, sweeps=500).laws
        off[by] = np.abs(laws.means() - truth.means()).max()
        width[by] = np.sqrt(laws.variances() / truth.variances())
    categorical, quantiles, imputed, naive = width
    assert off[categorical] < 1e-3
    assert 1 < width[categorical].min() < width[categorical].max() < 1.1
    assert off[quantiles] > 1e-2
    assert width[quantiles].min() < 0.98 < 1.02 < width[quantiles].max()
    assert np.abs(width[imputed] - 1).max() < 0.02
    assert width[naive].max() < 0.6


@pytest.mark.parametrize("sweep", [0, 5, 10_000])
def test_the_histogram_holds_all_mass(sweep):
    """Prevents mass beyond the first or last bin from getting lost."""
    for parameters in LAB.canonical:
        result = LAB.run(parameters, [1], Context())
        figure = LAB.figure(result, LAB.make_view(result, {"sweep": sweep}))
        assert sum(figure.data[0].y) == pytest.approx(1.0)
        assert sum(figure.data[1].y) == pytest.approx(1.0)


def test_expectiles_move_and_prove_nothing():
    """Prevents a verdict that holds for a representation of which nothing is proven, and means that drift."""
    result = LAB.run(MovingParameters(representation="expectiles", m=8), [0, 2], Context())
    assert result.sizes["number"] == 9
    verdict = LAB.verdict(result)
    assert verdict.status == "inconclusive"
    assert "nothing is proven" in verdict.note
    for row, seed in enumerate([0, 2]):
        truth = Truth.of(moving_world("garnet", 0.8, seed))
        middle = result["parameter"].values[row, -1][:, 4]
        np.testing.assert_allclose(middle, truth.laws.means(), atol=truth.missed.max() + 1e-3)
    drawn = [trace.name for trace in LAB.figure(result, LAB.make_view(result)).data]
    assert "bound of as many quantiles" in drawn
    assert "proven bound at rest" not in drawn


def test_reach_widens_what_is_said():
    """Prevents verdicts that take the pruned truth for the truth."""
    truth = Truth.of(moving_world("bits", 0.9, 0))
    laws = DiscreteLaws.point_masses([5.0])
    near, small = distance_and_reach(laws, truth, "Wasserstein-1")
    far, root = distance_and_reach(laws, truth, "Cramer")
    assert small[0] == truth.missed[0] > 0
    assert root[0] == np.sqrt(truth.missed[0])
    assert 0 < far[0] ** 2 <= near[0] + small[0]
