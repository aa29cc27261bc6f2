"""The table of what contracts, row by row, on the operators themselves: each factor holds, and none is too large."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import (
    DiscreteLaws,
    EnergyKernel,
    GaussianKernel,
    LaplaceKernel,
    MultiquadricKernel,
    Quantiles,
    cramer,
    kolmogorov,
    kullback_leibler,
    lp_cdf,
    mmd,
    return_law_backup,
    total_variation,
    wasserstein,
)
from tests.tabular.distributional.dyadic_worlds import dyadic_policies, dyadic_worlds

Distance = Callable[[DiscreteLaws, DiscreteLaws], np.ndarray]
# The distance, and the factor by which one backup shrinks its largest value over states, for a discount g.
TABLE: dict[str, tuple[Distance, Callable[[float], float]]] = {
    **{f"W_{p:g}": (lambda a, b, p=p: wasserstein(a, b, p), lambda g: g) for p in (1.0, 1.5, 2.0, 4.0, math.inf)},
    **{f"l_{p:g}": (lambda a, b, p=p: lp_cdf(a, b, p), lambda g, p=p: g ** (1 / p)) for p in (1.0, 2.0, 3.0)},
    "Cramer": (cramer, math.sqrt),
    **{
        f"energy {beta:g}": (
            lambda a, b, beta=beta: mmd(a, b, EnergyKernel(beta)),
            lambda g, beta=beta: g ** (beta / 2),
        )
        for beta in (0.5, 1.0, 1.5)
    },
    "multiquadric": (lambda a, b: mmd(a, b, MultiquadricKernel(0.5)), math.sqrt),
    "Kolmogorov": (kolmogorov, lambda g: 1.0),
    "total variation": (total_variation, lambda g: 1.0),
    "Kullback-Leibler": (kullback_leibler, lambda g: 1.0),
    "Gaussian": (lambda a, b: mmd(a, b, GaussianKernel(0.5)), lambda g: 1 / math.sqrt(g)),
    "Laplace": (lambda a, b: mmd(a, b, LaplaceKernel(0.5)), lambda g: 1 / math.sqrt(g)),
}
DISCOUNTED = [0.5, 0.75]


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(0, 2**32 - 1), st.booleans())
def test_no_backup_shrinks_less_than_the_table_says(data, seed, shared):
    """Prevents a factor that belongs to another metric. Laws on shared atoms keep divergences finite."""
    mdp = data.draw(dyadic_worlds().filter(lambda world: world.discount in DISCOUNTED))
    weights = data.draw(dyadic_policies(mdp))
    rng = np.random.default_rng(seed)
    places = rng.normal(size=5) if shared else rng.normal(size=(mdp.n_states, 5))
    pair = [DiscreteLaws.from_arrays(places, rng.dirichlet(np.ones(5), mdp.n_states)) for _ in range(2)]
    after = [return_law_backup(mdp, laws, weights) for laws in pair]
    for name, (distance, factor) in TABLE.items():
        before = distance(*pair).max()
        assert distance(*after).max() <= factor(mdp.discount) * before * (1 + 1e-7) + 3e-7, name


def loop(discount: float) -> FiniteMDP:
    return FiniteMDP.from_dense(np.ones((1, 1, 1)), [[0.0]], discount)


@pytest.mark.parametrize("discount", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("name", [name for name in TABLE if name not in ("multiquadric", "Gaussian", "Laplace")])
def test_the_factors_are_attained(name, discount):
    """Prevents factors that are true but too large: one state, no reward, and laws with two atoms."""
    distance, factor = TABLE[name]
    pair = [DiscreteLaws.from_arrays([0.0, 1.0], masses) for masses in ([0.75, 0.25], [0.25, 0.75])]
    after = [return_law_backup(loop(discount), laws, np.ones(1)) for laws in pair]
    assert distance(*after)[0] == pytest.approx(factor(discount) * distance(*pair)[0], rel=1e-9)


@pytest.mark.parametrize("name", ["Gaussian", "Laplace"])
def test_bounded_kernels_come_near_their_factor(name):
    """Prevents a table that calls them harmless: wide laws move apart by nearly 1 / sqrt(g)."""
    distance, factor = TABLE[name]
    wide = np.linspace(0.0, 200.0, 1000)
    pair = [DiscreteLaws.from_arrays(wide), DiscreteLaws.from_arrays(-wide)]
    after = [return_law_backup(loop(0.5), laws, np.ones(1)) for laws in pair]
    assert 1.35 < distance(*after)[0] / distance(*pair)[0] <= factor(0.5)


@pytest.mark.parametrize(("gap", "shrinks"), [(1e6, np.sqrt(0.5)), (1e-4, 0.5)])
def test_the_multiquadric_shrinks_by_its_factor_far_out_and_by_more_nearby(gap, shrinks):
    """Prevents a factor below sqrt(g), which distances far above the kernel's length attain."""
    distance, _ = TABLE["multiquadric"]
    pair = [DiscreteLaws.point_masses([0.0]), DiscreteLaws.point_masses([gap])]
    after = [return_law_backup(loop(0.5), laws, np.ones(1)) for laws in pair]
    assert distance(*after)[0] / distance(*pair)[0] == pytest.approx(shrinks, rel=1e-5)


def test_point_masses_never_meet_in_total_variation_or_divergence():
    """What "no" means in the table: distances that stay at their largest for ever, whatever the discount."""
    pair = [DiscreteLaws.point_masses([0.0]), DiscreteLaws.point_masses([1.0])]
    for _ in range(20):
        pair = [return_law_backup(loop(0.5), laws, np.ones(1)) for laws in pair]
        assert total_variation(*pair)[0] == kolmogorov(*pair)[0] == 1.0
        assert kullback_leibler(*pair)[0] == math.inf
    assert wasserstein(*pair)[0] == 0.5**20


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_quantile_sweeps_expand_wasserstein_p(p):
    """Quantile projections contract in W-infinity only.

    Each of two successors moves one of its two locations by 1, so each law moves by (1/2)^(1/p); both that moved are
    the quantiles of the mixture, which moves by the whole discount, and so by more.
    """
    gamma, by = 0.9, Quantiles(2)
    follow = [(1 / 3, s, 0.0, False) for s in (1, 2, 3)]
    mdp = from_transitions([{0: follow}, *({0: [(1.0, s, 0.0, True)]} for s in (1, 2, 3))], gamma, normalise=True)
    tables = [
        np.array([[0.0, 0.0], [low, 15.0], [-10.0, high], [5.0, 30.0]]) for low, high in ((0.0, 20.0), (1.0, 21.0))
    ]
    after = [np.empty_like(table) for table in tables]
    for old, new in zip(tables, after, strict=True):
        by.evaluation_sweep(mdp, uniform_policy(mdp), old, new)
    before = wasserstein(*map(by.laws, tables), p).max()
    moved = wasserstein(*map(by.laws, after), p).max()
    assert before == pytest.approx(0.5 ** (1 / p), rel=1e-12)
    assert moved == pytest.approx(gamma, rel=1e-12)
    assert moved > before
    assert by.distance(*after).max() == pytest.approx(gamma * by.distance(*tables).max(), rel=1e-12)
