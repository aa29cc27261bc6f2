"""Fixed points of every representation: ten million sampled returns, the scalar solvers, and mass that stays 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import evaluate_policy, solve, uniform_policy
from rlbook.tabular.distributional import (
    Categorical,
    CosineQuantiles,
    DiscreteLaws,
    ExactLaws,
    Expectiles,
    Particles,
    Quantiles,
    cramer,
    dkw_band,
    return_laws,
    return_variance,
    sampled_returns,
    wasserstein,
)
from rlbook.tabular.distributional.return_range import return_range
from tests.tabular.distributional.dyadic_worlds import coin_world, dyadic_policies, dyadic_worlds
from tests.tabular.strategies import small_mdps

RETURNS, FAILURE, STATE = 10_000_000, 1e-9, 1  # FAILURE: the chance that the band of the one sample misses
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def sampled() -> DiscreteLaws:
    """Ten million returns of the coin world, as a law."""
    mdp = coin_world()
    drawn = np.sort(sampled_returns(mdp, uniform_policy(mdp), STATE, RETURNS, most_steps=300))
    new = np.flatnonzero(np.diff(drawn, prepend=-np.inf) > 0)
    mass = np.diff(new, append=RETURNS) / RETURNS
    return DiscreteLaws(np.array([0, len(new)]), drawn[new], mass)


def forms(mdp) -> dict[str, object]:
    """With so many parameters that expected rewards in place of those of transitions would be told apart."""
    covering = Categorical.covering(mdp, 1201)
    uneven = np.unique(np.concatenate([covering.atoms[:600], covering.atoms[600::2], covering.atoms[-1:]]))
    return {
        "exact": ExactLaws(4000),
        "categorical": covering,
        "uneven categorical": Categorical(uneven),
        "quantiles": Quantiles(1200),
        "particles": Particles(1200, 7),
    }


@pytest.mark.parametrize("form", ["exact", "categorical", "uneven categorical", "quantiles", "particles"])
def test_fixed_points_agree_with_ten_million_sampled_returns(form, sampled):
    """Prevents laws from expected rewards, or without terminations, whose means are right or nearly so.

    |F_n - F| stays in the Dvoretzky-Kiefer-Wolfowitz band, so W_1 is off by at most the band times the range of
    returns, and Cramer distance by the band times its root; the fixed point is off by its proven bound in either. The
    control has the same means and other laws.
    """
    mdp, band = coin_world(), dkw_band(RETURNS, FAILURE)
    low, high = return_range(mdp)
    assert sampled.bounds()[0][0] >= low
    assert sampled.bounds()[1][0] <= high
    by, policy = forms(mdp)[form], uniform_policy(mdp)
    for model, within in ((mdp, True), (mdp.replace(reward=None), False)):
        found = return_laws(model, by, policy, tolerance=1e-4)
        assert found.converged
        own = DiscreteLaws.from_arrays(*found.laws.law(STATE))
        allowed = band * (high - low) + found.wasserstein_bounds[STATE]
        assert (wasserstein(own, sampled)[0] <= allowed) == within
        assert own.means()[0] == pytest.approx(evaluate_policy(mdp, policy).values[STATE], abs=allowed)
        if found.metric == "Cramer distance":
            allowed = band * np.sqrt(high - low) + found.error_bounds[STATE]
            assert (cramer(own, sampled)[0] <= allowed) == within


def test_coarse_fixed_points_keep_to_their_bounds_too(sampled):
    """Prevents bounds that are only true of many parameters; and that they say something: errors reach a tenth."""
    mdp, spare = coin_world(), dkw_band(RETURNS, FAILURE)
    low, high = return_range(mdp)
    nearest = 0.0
    for m in (5, 20, 80):
        for by in (Categorical.covering(mdp, m), Quantiles(m), Particles(m, 3), Expectiles(m | 1)):
            found = return_laws(mdp, by, uniform_policy(mdp), tolerance=1e-6)
            away = wasserstein(DiscreteLaws.from_arrays(*found.laws.law(STATE)), sampled)[0]
            assert away <= found.wasserstein_bounds[STATE] + spare * (high - low)
            if np.isfinite(found.wasserstein_bounds[STATE]):
                nearest = max(nearest, away / found.wasserstein_bounds[STATE])
    assert nearest > 0.1


@settings(deadline=None, max_examples=15)
@given(st.data(), st.integers(2, 25))
def test_means_are_the_scalar_solvers_within_the_proven_error(data, m):
    """Prevents a bound of one metric that is taken for another; two projections keep means besides.

    The categorical one does where no target leaves the atoms: the next test says where one does.
    """
    mdp = data.draw(dyadic_worlds().filter(lambda world: world.discount in (0.5, 0.75)))
    policy = data.draw(dyadic_policies(mdp))
    values = evaluate_policy(mdp, policy).values
    reach = 2.0 / (1 - mdp.discount)
    closed = Categorical.uniform(-reach, reach, m)
    for by in (
        Categorical.covering(mdp, m),
        closed,
        Quantiles(m),
        Particles(m, 5),
        ExactLaws(m),
        Expectiles(2 * m + 1),
    ):
        found = return_laws(mdp, by, policy, tolerance=1e-7)
        off = np.abs(found.laws.means() - values)
        assert np.all(off <= found.wasserstein_bounds + 1e-9)
        if by is closed or isinstance(by, Expectiles):
            assert np.all(off <= 1e-5)


@pytest.mark.parametrize("discount", [0.5, 0.75, 0.9])
def test_a_sure_return_is_covered_although_its_range_is_rounding(discount):
    """Prevents atoms that lie a rounding apart, or on each other: 1 for ever, discounted by 3/4, came out as 4 to 4 and
    an ulp."""
    by = Categorical.covering(from_transitions([{0: [(1.0, 0, 1.0, False)]}], discount), 4)
    assert by.atoms[-1] - by.atoms[0] == pytest.approx(1.0)
    assert by.atoms.mean() == pytest.approx(1 / (1 - discount))


def test_atoms_that_cover_all_returns_do_not_keep_all_means():
    """Prevents the belief that they do: a sure 0 becomes a coin between the atoms -1 and 1, after 1 + half of which 1.5
    is cut off. The proven bound counts that."""
    after = [(1.0, 0, 0.0, False)]
    mdp = from_transitions([{0: after}, {0: [(1.0, 0, 1.0, False)]}, {0: [(1.0, 0, -1.0, False)]}], 0.5)
    by = Categorical.covering(mdp, 2)
    assert by.atoms.tolist() == [-1.0, 1.0]
    found = return_laws(mdp, by, np.ones(3), tolerance=1e-9)
    assert found.laws.means() == pytest.approx([0.0, 0.75, -0.75])
    assert np.all(found.wasserstein_bounds >= 0.25)


def test_what_proves_nothing_says_so():
    """Prevents bounds for expectiles, for rewards beyond the atoms, and at discount 1."""
    mdp = coin_world()
    for by in (Expectiles(5), Categorical.uniform(-1.0, 1.0, 5)):
        assert np.all(return_laws(mdp, by, uniform_policy(mdp), sweeps=3).wasserstein_bounds == np.inf)
    endless = return_laws(coin_world(discount=1.0), Quantiles(5), uniform_policy(mdp), sweeps=3)
    assert np.all(endless.wasserstein_bounds == np.inf)


def test_the_wasserstein_bound_of_categorical_laws_is_nearly_attained():
    """Prevents a bound below the truth: one projection that misses half a gap, and a discount that keeps adding to it.

    A coin that pays 0 or 1 in steps of a gap of 1 is seen exactly; one that pays a half is off by a half, once.
    """
    half = from_transitions([{0: [(1.0, 0, 0.5, True)]}], 0.0)
    by = Categorical.uniform(0.0, 2.0, 3)
    found = return_laws(half, by, np.ones(1))
    assert wasserstein(found.laws, DiscreteLaws.point_masses([0.5]))[0] == 0.5 == by.wasserstein_bound(half)
    assert by.wasserstein_bound(half.replace(discount=0.5)) == pytest.approx(1.0)


@settings(deadline=None, max_examples=40)
@given(small_mdps([0.5, 0.9]), SEEDS, st.integers(1, 9))
def test_every_representation_conserves_mass(mdp, seed, m):
    """To 1e-12, through projections and through sweeps, whatever the rewards. Prevents laws that leak."""
    rng = np.random.default_rng(seed)
    laws = DiscreteLaws.from_arrays(
        rng.normal(size=(mdp.n_states, 30)) * 10.0 ** rng.integers(-3, 4), rng.dirichlet(np.full(30, 0.2), mdp.n_states)
    )
    uneven = Categorical(np.cumsum(rng.uniform(1e-3, 3.0, m + 1)))
    forms = (
        *(Categorical.uniform(-2.0, 3.0, m + 1), uneven, Quantiles(m), Particles(m, 1), Particles(m, 1, False)),
        *(Expectiles(2 * m + 1), Expectiles(2 * m + 1, naive=True), CosineQuantiles(m)),
    )
    made = [ExactLaws(m).prune(laws)[0]]
    for by in forms:
        made.append(by.laws(by.project(laws)))
        made += [return_laws(mdp, by, policy, sweeps=4).laws for policy in (uniform_policy(mdp), None)]
    made.append(return_laws(mdp, ExactLaws(m), uniform_policy(mdp), sweeps=4).laws)
    for each in made:
        np.testing.assert_allclose(np.add.reduceat(each.mass, each.ptr[:-1]), 1, rtol=0, atol=1e-12)
        assert np.all(each.mass > 0)


@pytest.mark.parametrize("name", ["frozenlake-4x4", "taxi"])
def test_variances_of_laws_follow_the_variance_bellman_equation(name):
    """A law within W_1 of e, both with deviations at most s and atoms within a range r, has a variance within 2 r e.

    |Var X - Var Y| <= E|X^2 - Y^2| + |EX^2 - EY^2| about one centre. Prevents laws whose spread is not their own.
    """
    mdp = make(name, discount=0.9)
    policy = uniform_policy(mdp) if name != "taxi" else solve(mdp, 1e-9).policy
    found = return_laws(mdp, ExactLaws(2000), policy, tolerance=1e-7)
    low, high = return_range(mdp)
    allowed = 2 * (high - low) * found.error_bounds + 1e-9
    off = np.abs(found.laws.variances() - return_variance(mdp, policy))
    assert np.all(off <= allowed)
    assert return_variance(mdp, policy).max() > 10 * allowed.max() or name == "taxi"


@pytest.mark.parametrize("by", [Categorical.uniform(-5, 5, 5), Quantiles(5), Expectiles(5), ExactLaws(5)], ids=str)
def test_undiscounted_returns_need_an_end(by):
    """Prevents masses piled up at the last atom, called converged, where there is no return at all."""
    endless = from_transitions([{0: [(1.0, 0, 1.0, False)]}], 1.0)
    with pytest.raises(MDPError, match="discount"):
        return_laws(endless, by, np.ones(1))
