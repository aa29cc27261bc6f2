"""Distances between discrete laws against other libraries, linear programs, closed forms and their own properties."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import energy_distance, ks_2samp, norm, wasserstein_distance

from rlbook.errors import ParameterError
from rlbook.tabular.distributional import DiscreteLaws
from rlbook.tabular.distributional.metrics import (
    EnergyKernel,
    GaussianKernel,
    LaplaceKernel,
    MultiquadricKernel,
    cramer,
    kolmogorov,
    kullback_leibler,
    lp_cdf,
    mmd,
    total_variation,
    wasserstein,
)

KERNELS = (EnergyKernel(0.5), EnergyKernel(1.5), GaussianKernel(0.7), LaplaceKernel(2.0), MultiquadricKernel(0.5))
METRICS = {
    "W1": wasserstein,
    "W2": lambda a, b: wasserstein(a, b, 2.0),
    "W-infinity": lambda a, b: wasserstein(a, b, math.inf),
    "l3": lambda a, b: lp_cdf(a, b, 3.0),
    "Cramer": cramer,
    "Kolmogorov": kolmogorov,
    "total variation": total_variation,
    **{str(kernel): lambda a, b, kernel=kernel: mmd(a, b, kernel) for kernel in (EnergyKernel(1.0), *KERNELS)},
}


def drawn(seed: int, n: int = 4, atoms: int = 6) -> DiscreteLaws:
    random = np.random.default_rng(seed)
    return DiscreteLaws.from_arrays(random.normal(size=(n, atoms)), random.dirichlet(np.ones(atoms), n))


@st.composite
def laws(draw: st.DrawFn) -> DiscreteLaws:
    """Laws on a few shared places, so that atoms and levels meet."""
    size = draw(st.integers(1, 5))
    places = draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    shares = np.array(draw(st.lists(st.integers(1, 4), min_size=size, max_size=size)), dtype=float)
    return DiscreteLaws.from_arrays(places, shares / shares.sum())


def test_w1_and_energy_agree_with_scipy():
    a, b = drawn(0), drawn(1, atoms=3)
    for i in range(a.n_laws):
        (x, f), (y, g) = a.law(i), b.law(i)
        assert wasserstein(a, b)[i] == pytest.approx(wasserstein_distance(x, y, f, g), rel=1e-12)
        assert mmd(a, b, EnergyKernel(1.0))[i] == pytest.approx(energy_distance(x, y, f, g), rel=1e-12)


def test_kolmogorov_agrees_with_scipy():
    x, y = np.random.default_rng(3).normal(size=(2, 40))
    ours = kolmogorov(DiscreteLaws.from_arrays(x), DiscreteLaws.from_arrays(y))[0]
    assert ours == pytest.approx(ks_2samp(x, y).statistic, abs=1e-14)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 5.0])
def test_wasserstein_is_the_optimum_over_all_couplings(p):
    """Prevents a coupling that is not optimal, or a power taken at the wrong place."""
    a, b = drawn(4), drawn(5, atoms=4)
    for i in range(a.n_laws):
        (x, f), (y, g) = a.law(i), b.law(i)
        cost = np.abs(x[:, None] - y[None, :]) ** p
        rows = np.kron(np.eye(len(x)), np.ones(len(y)))
        columns = np.kron(np.ones(len(x)), np.eye(len(y)))
        best = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([f, g])).fun
        assert wasserstein(a, b, p)[i] == pytest.approx(best ** (1 / p), rel=1e-7)


def test_w_infinity_is_the_largest_gap_of_quantiles():
    a, b = drawn(6), drawn(7)
    levels = np.linspace(1e-4, 1 - 1e-4, 40_001)
    sampled = np.abs(a.quantiles(levels) - b.quantiles(levels)).max(axis=1)
    exact = wasserstein(a, b, math.inf)
    assert np.all(sampled <= exact + 1e-12)
    np.testing.assert_allclose(sampled, exact, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_mmd_is_the_double_sum_of_its_kernel(kernel):
    similarity = {
        EnergyKernel: lambda d: -(d ** getattr(kernel, "beta", 1)),
        GaussianKernel: lambda d: np.exp(-(d**2) / (2 * 0.7**2)),
        LaplaceKernel: lambda d: np.exp(-d / 2.0),
        MultiquadricKernel: lambda d: -np.sqrt(1 + (d / 0.5) ** 2),
    }[type(kernel)]
    a, b = drawn(8), drawn(9, atoms=9)
    for i in range(a.n_laws):
        (x, f), (y, g) = a.law(i), b.law(i)
        between = [
            u @ similarity(np.abs(p[:, None] - q)) @ v for p, u, q, v in [(x, f, x, f), (y, g, y, g), (x, f, y, g)]
        ]
        assert mmd(a, b, kernel)[i] ** 2 == pytest.approx(between[0] + between[1] - 2 * between[2], rel=1e-10)


def test_energy_kernel_of_power_one_keeps_to_the_general_sum():
    """Prevents the short way by the Cramer distance from going elsewhere than the double sum."""
    a, b = drawn(10), drawn(11)
    np.testing.assert_allclose(mmd(a, b, EnergyKernel(1.0)), mmd(a, b, EnergyKernel(1.0 + 1e-13)), rtol=1e-10)


def test_normal_laws_have_the_known_w2():
    """W_2 between N(m, s^2) and N(n, t^2) is sqrt((m - n)^2 + (s - t)^2); laws at 20,000 midpoints are that near."""
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    distance = wasserstein(DiscreteLaws.from_arrays(1 + 2 * z), DiscreteLaws.from_arrays(-1 + 0.5 * z), 2.0)[0]
    assert distance == pytest.approx(2.5, abs=1e-3)


@pytest.mark.parametrize("gap", [1e-9, 1.0, 1e6])
def test_two_points_have_distances_in_closed_form(gap):
    a, b = DiscreteLaws.point_masses([0.0]), DiscreteLaws.from_arrays([0.0, gap], [0.75, 0.25])
    for p in (1.0, 2.0, 7.0, 300.0):
        assert wasserstein(a, b, p)[0] == pytest.approx(gap * 0.25 ** (1 / p), rel=1e-12)
        assert lp_cdf(a, b, p)[0] == pytest.approx(0.25 * gap ** (1 / p), rel=1e-12)
    assert wasserstein(a, b, math.inf)[0] == gap
    assert kolmogorov(a, b)[0] == total_variation(a, b)[0] == 0.25
    assert kullback_leibler(a, b)[0] == pytest.approx(math.log(1 / 0.75))
    assert kullback_leibler(b, a)[0] == math.inf
    assert mmd(a, b, GaussianKernel(1.0))[0] == pytest.approx(0.25 * math.sqrt(-2 * math.expm1(-(gap**2) / 2)))


def test_rounded_levels_move_no_mass_far():
    """Prevents a W-infinity of 100 from a mass of 1e-17: 0.1 + 0.2 is not 0.3 in doubles."""
    a = DiscreteLaws.from_arrays([0.0, 1.0, 100.0], [0.1, 0.2, 0.7])
    b = DiscreteLaws.from_arrays([0.0, 1.0, 100.0], [0.1, 0.3 - 0.1, 0.7])
    assert wasserstein(a, b, math.inf)[0] == 0.0
    assert wasserstein(a, b, 20.0)[0] == 0.0


@settings(deadline=None, max_examples=40)
@given(laws(), laws(), laws())
def test_metrics_are_metrics(a, b, c):
    for name, distance in METRICS.items():
        ab, bc, ac = distance(a, b)[0], distance(b, c)[0], distance(a, c)[0]
        assert distance(a, a)[0] == 0.0, name
        assert ab == pytest.approx(distance(b, a)[0], rel=1e-12, abs=1e-15), name
        assert ac <= ab + bc + 3e-7, name
        same = np.array_equal(a.atom, b.atom) and np.allclose(a.mass, b.mass, rtol=0, atol=1e-12)
        assert (ab < 1e-6) == same, name


@settings(deadline=None, max_examples=40)
@given(laws(), laws())
def test_distances_are_ordered_as_theory_says(a, b):
    w1, w2, most = (wasserstein(a, b, p)[0] for p in (1.0, 2.0, math.inf))
    assert w1 <= w2 * (1 + 1e-9) + 1e-7
    assert w2 <= most * (1 + 1e-9)
    assert kolmogorov(a, b)[0] <= total_variation(a, b)[0] + 1e-15
    divergence = kullback_leibler(a, b)[0]
    assert total_variation(a, b)[0] <= math.sqrt(divergence / 2) + 1e-7  # Pinsker's inequality
    assert abs(a.means()[0] - b.means()[0]) <= w1 + 1e-12


@settings(deadline=None, max_examples=25)
@given(laws(), laws(), st.sampled_from([0.25, 0.5, 0.9]))
def test_homogeneity_is_that_of_the_table(a, b, scale):
    """Prevents a modulus in the table that belongs to another metric."""
    near, far = a.shifted(3.0, scale), b.shifted(3.0, scale)
    powers = {"W1": 1, "W2": 1, "W-infinity": 1, "l3": 1 / 3, "Cramer": 0.5, "Kolmogorov": 0, "total variation": 0}
    powers |= {str(EnergyKernel(beta)): beta / 2 for beta in (0.5, 1.0, 1.5)}
    for name, power in powers.items():
        expected = METRICS[name](a, b)[0] * scale**power
        assert METRICS[name](near, far)[0] == pytest.approx(expected, rel=1e-7, abs=2e-7), name
    kernel = MultiquadricKernel(0.5)
    assert mmd(near, far, kernel)[0] <= math.sqrt(scale) * mmd(a, b, kernel)[0] + 2e-7


@pytest.mark.parametrize("kernel", [GaussianKernel(0.05), LaplaceKernel(0.05)], ids=str)
def test_bounded_kernels_let_distances_grow(kernel):
    """Prevents a table that calls the Gaussian kernel harmless: wide laws grow by nearly 1 / sqrt(scale)."""
    a = DiscreteLaws.from_arrays(np.linspace(-4.0, 0.0, 400))
    b = DiscreteLaws.from_arrays(np.linspace(0.0, 4.0, 400))
    growth = mmd(a.shifted(0.0, 0.5), b.shifted(0.0, 0.5), kernel)[0] / mmd(a, b, kernel)[0]
    assert 1.35 < growth <= math.sqrt(2)


def test_bad_arguments_are_named():
    a, b = drawn(0), drawn(0, n=2)
    with pytest.raises(ParameterError, match="second holds 2 laws, but first holds 4"):
        cramer(a, b)
    for p in (0.5, math.nan):
        with pytest.raises(ParameterError, match=re.escape(f"p is {p}")):
            wasserstein(a, a, p)
    with pytest.raises(ParameterError, match=re.escape("beta is 2.0")):
        EnergyKernel(2.0)
    with pytest.raises(ParameterError, match=re.escape("width is 0.0")):
        GaussianKernel(0.0)
