"""DiscreteLaws: what is accepted, how it is ordered, and its statistics against fractions and sampling by hand."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.errors import ParameterError
from rlbook.tabular.distributional import DiscreteLaws


@st.composite
def some_laws(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    """Atoms and masses with ties, zeros and eighths as masses."""
    n, k = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    atoms = [[draw(st.integers(-3, 3)) / 2 for _ in range(k)] for _ in range(n)]
    masses = []
    for _ in range(n):
        cuts = sorted(draw(st.lists(st.integers(0, 8), min_size=k - 1, max_size=k - 1)))
        masses.append([(b - a) / 8 for a, b in zip([0, *cuts], [*cuts, 8], strict=True)])
    return atoms, masses


@settings(deadline=None, max_examples=60)
@given(some_laws())
def test_laws_are_sorted_merged_and_have_the_moments_of_their_atoms(given_laws):
    """Prevents lost mass, atoms out of order, and statistics of the wrong law (ragged rows after merging)."""
    atoms, masses = given_laws
    laws = DiscreteLaws.from_arrays(atoms, masses)
    assert laws.n_laws == len(atoms)
    for i in range(len(atoms)):
        places, share = laws.law(i)
        wanted: dict[Fraction, Fraction] = {}
        for x, p in zip(atoms[i], masses[i], strict=True):
            if p > 0:
                wanted[Fraction(x)] = wanted.get(Fraction(x), Fraction(0)) + Fraction(p)
        assert dict(zip(map(Fraction, places), map(Fraction, share), strict=True)) == wanted
        assert np.all(np.diff(places) > 0)
        mean = sum(x * p for x, p in wanted.items())
        assert laws.means()[i] == pytest.approx(float(mean), abs=1e-12)
        assert laws.variances()[i] == pytest.approx(
            float(sum((x - mean) ** 2 * p for x, p in wanted.items())), abs=1e-12
        )


@settings(deadline=None, max_examples=60)
@given(some_laws(), st.lists(st.integers(1, 16), min_size=1, max_size=5), st.lists(st.integers(-8, 8), max_size=5))
def test_quantiles_and_distribution_functions_follow_their_definitions(given_laws, sixteenths, quarters):
    """Prevents off-by-one at levels that a distribution function reaches exactly, and points met out of order."""
    laws = DiscreteLaws.from_arrays(*given_laws)
    levels, points = np.array(sixteenths) / 16, np.array(quarters) / 4
    found, below = laws.quantiles(levels), laws.cdf(points)
    for i in range(laws.n_laws):
        places, share = laws.law(i)
        for level, quantile in zip(levels, found[i], strict=True):
            assert quantile == min(x for x in places if share[places <= x].sum() >= level)
        for point, reached in zip(points, below[i], strict=True):
            assert reached == share[places <= point].sum()


def test_a_level_that_rounding_misses_by_an_ulp_counts_as_reached():
    """Prevents a quantile that jumps to the next atom because ten tenths sum to less than 1."""
    laws = DiscreteLaws.from_arrays(np.arange(10.0))
    assert laws.quantiles(np.arange(1, 11) / 10)[0].tolist() == list(range(10))


@settings(deadline=None, max_examples=60)
@given(some_laws(), st.sampled_from([-2.0, -0.5, 0.0, 1.0, 2.0]), st.integers(-2, 2))
def test_moved_laws_are_the_laws_of_the_moved_variable(given_laws, scale, offset):
    """Prevents atoms out of order after a negative scale, and unmerged atoms at scale 0."""
    atoms, masses = given_laws
    moved = DiscreteLaws.from_arrays(atoms, masses).shifted(offset, scale)
    wanted = DiscreteLaws.from_arrays(offset + scale * np.array(atoms), masses)
    np.testing.assert_array_equal(moved.ptr, wanted.ptr)
    np.testing.assert_array_equal(moved.atom, wanted.atom)
    np.testing.assert_array_equal(moved.mass, wanted.mass)


@settings(deadline=None, max_examples=60)
@given(some_laws(), st.integers(0, 2**32 - 1))
def test_mixtures_conserve_mass_and_mix_distribution_functions(given_laws, seed):
    """Prevents lost mass, and sparse weights read differently from dense ones."""
    laws = DiscreteLaws.from_arrays(*given_laws)
    weights = np.random.default_rng(seed).dirichlet(np.ones(laws.n_laws), 3)
    mixed, sparse = laws.mixture(weights), laws.mixture(scipy.sparse.csr_matrix(weights))
    points = np.arange(-4, 5) / 2
    np.testing.assert_allclose(mixed.cdf(points), weights @ laws.cdf(points), rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.add.reduceat(mixed.mass, mixed.ptr[:-1]), 1, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(mixed.mass, sparse.mass)


def test_shared_atoms_and_shared_masses_serve_all_laws():
    """Prevents a shape that the contract allows from being refused or broadcast the wrong way."""
    shared = DiscreteLaws.from_arrays([2.0, 1.0], [[0.25, 0.75], [1.0, 0.0]])
    assert [part.tolist() for part in shared.law(0)] == [[1.0, 2.0], [0.75, 0.25]]
    assert [part.tolist() for part in shared.law(1)] == [[2.0], [1.0]]
    assert DiscreteLaws.from_arrays([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.5]).means().tolist() == [1.5, 3.5]
    points = DiscreteLaws.point_masses([3.0, -1.0])
    assert points.means().tolist() == [3.0, -1.0]
    assert [bound.tolist() for bound in shared.bounds()] == [[1.0, 2.0], [2.0, 2.0]]


def test_variance_survives_a_large_mean():
    """Prevents E X^2 - (E X)^2, which loses all digits here."""
    laws = DiscreteLaws.from_arrays([1e9 - 1, 1e9 + 1])
    assert laws.variances()[0] == pytest.approx(1.0, rel=1e-9)


def test_pickled_laws_stay_read_only():
    """Prevents a second compilation of every kernel in worker processes."""
    laws = pickle.loads(pickle.dumps(DiscreteLaws.from_arrays([1.0, 2.0])))
    for array in (laws.ptr, laws.atom, laws.mass):
        assert not array.flags.writeable
    assert laws.quantiles([0.5])[0, 0] == 1.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DiscreteLaws.from_arrays([1.0, np.nan]), r"atoms\[0, 1\] is nan"),
        (lambda: DiscreteLaws.from_arrays([1.0, 2.0], [0.5, 0.6]), r"masses\[0\] sums to 1\.1"),
        (lambda: DiscreteLaws.from_arrays([1.0, 2.0], [1.5, -0.5]), r"masses\[0, 1\] is -0\.5"),
        (lambda: DiscreteLaws.from_arrays([1.0, 2.0], [1.0]), "one mass for each atom"),
        (lambda: DiscreteLaws.from_arrays(np.ones((2, 1)), np.ones((3, 1))), "one mass for each atom"),
        (lambda: DiscreteLaws.from_arrays([]), "atoms has shape"),
        (lambda: DiscreteLaws(np.array([0, 2]), np.array([2.0, 1.0]), np.array([0.5, 0.5])), "not above"),
        (lambda: DiscreteLaws(np.array([0, 2]), np.array([1.0, 2.0]), np.array([1.0, 0.0])), r"mass\[1\] is 0\.0"),
        (lambda: DiscreteLaws(np.array([0, 0]), np.array([]), np.array([])), "ptr must start at 0"),
        (lambda: DiscreteLaws(np.array([0, 1]), np.array([1.0]), np.array([0.9])), "sum to 0.9"),
        (lambda: DiscreteLaws(np.array([0, 1]), np.array([np.inf]), np.array([1.0])), "not finite"),
        (lambda: DiscreteLaws(np.array([0, 1]), np.array([1.0, 2.0]), np.array([1.0])), r"ptr asks for \(1,\)"),
        (lambda: DiscreteLaws.point_masses([0.0]).quantiles([0.0]), r"levels\[0\] is 0"),
        (lambda: DiscreteLaws.point_masses([0.0]).cdf([np.nan]), "is nan"),
        (lambda: DiscreteLaws.point_masses([0.0]).mixture([[0.5, 0.5]]), "one column for each of 1 laws"),
        (lambda: DiscreteLaws.point_masses([0.0]).mixture([[0.5]]), r"weights\[0\] sums to 0\.5"),
        (lambda: DiscreteLaws.point_masses([0.0]).mixture(scipy.sparse.csr_matrix([[0.5]])), r"weights\[0\] sums to"),
        (lambda: DiscreteLaws.point_masses([0.0]).shifted(np.inf), "offset is inf"),
        (lambda: DiscreteLaws.point_masses([0.0]).shifted(0, [1.0, 2.0]), "scale has shape"),
        (lambda: DiscreteLaws.point_masses([0.0]).law(1), "law 1 does not exist"),
    ],
)
def test_what_is_no_law_is_refused_in_words(make, said):
    """Prevents laws of mass 0.9, with atoms at infinity, or out of order, from entering a kernel."""
    with pytest.raises(ParameterError, match=said):
        make()
