"""`return_laws` with representations that are tables: fixed points, bounds, fused sweeps, control and stopping."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError, ParameterError
from rlbook.tabular import as_stochastic, evaluate_policy, solve, uniform_policy
from rlbook.tabular.distributional import DiscreteLaws, ExactLaws, return_law_backup, return_laws
from rlbook.tabular.distributional.metrics import cramer
from tests.tabular.distributional.dyadic_worlds import coin_world


@dataclass(frozen=True)
class Grid:
    """Masses on the integers from -reach to reach; an atom's mass goes to its neighbours, so that means stay.

    On even atoms this is the Cramer projection; here in the plainest form, apart from the one that the book computes.
    """

    reach: int

    @property
    def n_parameters(self):
        return 2 * self.reach + 1

    def project(self, laws):
        out = np.zeros((laws.n_laws, self.n_parameters))
        for i in range(laws.n_laws):
            for x, p in zip(*laws.law(i), strict=True):
                place = min(max(x, -self.reach), self.reach) + self.reach
                below = min(int(place), 2 * self.reach - 1)
                out[i, below] += p * (1 - (place - below))
                out[i, below + 1] += p * (place - below)
        return out

    def laws(self, parameters):
        return DiscreteLaws.from_arrays(np.arange(-self.reach, self.reach + 1.0), parameters)

    def initial(self, n):
        return self.project(DiscreteLaws.point_masses(np.zeros(n)))


class KnownGrid(Grid):
    """The same, saying in what metric it contracts, with a bound of its own as a stand-in."""

    metric = "Cramer distance"

    def modulus(self, discount):
        return discount**0.5

    def distance(self, first, second):
        return cramer(self.laws(first), self.laws(second))

    def error_bound(self, mdp):
        return 2.5


class FusedGrid(KnownGrid):
    """The same, counting the fused sweeps it was asked for."""

    asked: list

    def evaluation_sweep(self, mdp, policy_weights, parameters, out):
        self.asked.append("evaluation")
        out[:] = self.project(return_law_backup(mdp, self.laws(parameters), policy_weights))


class GridWithMeans(FusedGrid):
    def means(self, parameters):
        self.asked.append("means")
        return -parameters @ np.arange(-self.reach, self.reach + 1.0)


def test_the_fixed_point_is_one_and_remaining_bounds_the_way_to_it():
    """Prevents stopping by the change alone, which is smaller than the distance left by (1 - c) / c."""
    mdp = coin_world()
    policy = uniform_policy(mdp)
    fixed = return_laws(mdp, KnownGrid(40), policy, tolerance=1e-12)
    again = Grid(40).project(return_law_backup(mdp, fixed.laws, policy))
    np.testing.assert_allclose(again, fixed.parameters, rtol=0, atol=1e-12)
    early = return_laws(mdp, KnownGrid(40), policy, tolerance=1e-2)
    assert early.converged
    assert early.sweeps < fixed.sweeps
    assert early.change < early.remaining <= 1e-2
    assert np.all(cramer(early.laws, fixed.laws) <= early.remaining)
    assert early.metric == "Cramer distance"
    np.testing.assert_array_equal(early.error_bounds, 2.5 + early.remaining)
    np.testing.assert_allclose(fixed.laws.means(), evaluate_policy(mdp, policy).values, rtol=0, atol=1e-9)


def test_without_a_metric_nothing_is_claimed():
    """Prevents a bound for a representation that proves none."""
    found = return_laws(coin_world(), Grid(40), uniform_policy(coin_world()), tolerance=1e-9)
    assert found.converged
    assert found.change <= 1e-9
    assert found.metric == "change of parameters"
    assert found.remaining == found.error_bound == np.inf


def test_at_discount_one_the_modulus_proves_nothing():
    """Prevents a division by zero, and stopping at once because a bound is infinite or not a number."""
    mdp = coin_world(discount=1.0)
    found = return_laws(mdp, KnownGrid(40), uniform_policy(mdp), tolerance=1e-9)
    assert found.converged
    assert found.change <= 1e-9
    assert found.error_bound == np.inf


def test_control_takes_the_policy_greedy_in_the_means():
    """Prevents greedy choices from anything but the means: the grid keeps means, so the optimal policy is found."""
    mdp = coin_world()
    best = solve(mdp, 1e-10)
    found = return_laws(mdp, KnownGrid(40), "optimal", tolerance=1e-6)
    np.testing.assert_array_equal(found.policy, best.policy)
    np.testing.assert_allclose(found.laws.means(), best.values, rtol=0, atol=1e-4)
    evaluated = return_laws(mdp, KnownGrid(40), found.policy, tolerance=1e-6)
    assert np.all(cramer(found.laws, evaluated.laws) <= found.remaining + evaluated.remaining)


def test_fused_sweeps_and_means_are_used_where_they_are_offered():
    """Prevents a slow path that is taken in silence, and fused sweeps with weights of a policy that was left."""
    mdp = coin_world()
    plain = return_laws(mdp, KnownGrid(20), None, sweeps=9)
    fused, knowing = FusedGrid(20), GridWithMeans(20)
    for grid in (fused, knowing):
        object.__setattr__(grid, "asked", [])
    by_fused = return_laws(mdp, fused, None, sweeps=9)
    np.testing.assert_allclose(by_fused.parameters, plain.parameters, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(by_fused.policy, plain.policy)
    assert fused.asked == ["evaluation"] * 9
    turned = return_laws(mdp, knowing, None, sweeps=9)  # its means have the wrong sign, so it must choose otherwise
    assert knowing.asked == ["means", *["means", "evaluation"] * 9]
    assert turned.policy.tolist() != plain.policy.tolist()


def test_history_holds_every_sweep_and_cannot_be_changed():
    """Prevents a history whose entries are all the last one, because buffers are used again."""
    mdp = coin_world()
    policy = as_stochastic(mdp, np.array([0, 1, 0]))
    for representation in (Grid(10), ExactLaws(50)):
        found = return_laws(mdp, representation, policy, sweeps=6, tolerance=0.0, keep_history=True)
        assert len(found.history) == found.sweeps + 1 == len(found.changes) + 1 == 7
        np.testing.assert_array_equal(found.laws_after(0).means(), 0)
        np.testing.assert_array_equal(found.laws_after(6).means(), found.laws.means())
        means = [found.laws_after(k).means() for k in range(7)]
        assert all(not np.array_equal(one, other) for one, other in pairwise(means))
    assert return_laws(mdp, Grid(10), policy, sweeps=2).history == ()
    with pytest.raises(ParameterError, match="keep_history=True"):
        return_laws(mdp, Grid(10), policy, sweeps=2).laws_after(0)


def test_a_run_stops_when_it_is_told_to_and_says_so():
    """Prevents a run that cannot be cancelled, or that says it converged when it ran out of sweeps."""
    mdp = coin_world()
    told: list[float] = []
    short = return_laws(mdp, Grid(10), uniform_policy(mdp), sweeps=3, tolerance=0.0, progress=told.append)
    assert (short.reason, short.converged, short.sweeps) == ("iteration limit", False, 3)
    assert told == pytest.approx([1 / 3, 2 / 3, 1.0])
    cancelled = return_laws(mdp, Grid(10), uniform_policy(mdp), tolerance=0.0, cancel=np.ones(1, dtype=np.uint8))
    assert (cancelled.reason, cancelled.sweeps) == ("cancelled", 1)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"sweeps": 0}, ParameterError, "sweeps is 0"),
        ({"sweeps": 2.5}, ParameterError, r"sweeps is 2\.5"),
        ({"tolerance": -1.0}, ParameterError, r"tolerance is -1\.0"),
        ({"policy": "greedy"}, ParameterError, "policy is 'greedy'"),
        ({"policy": np.zeros(3)}, MDPError, "policy"),
        ({"cancel": np.zeros(2)}, MDPError, "cancel"),
    ],
)
def test_arguments_out_of_range_are_refused_in_words(changes, error, said):
    """Prevents a run that fails deep inside, or not at all."""
    mdp = make("random-walk", discount=0.9)
    with pytest.raises(error, match=said):
        return_laws(mdp, **{"representation": Grid(5), **changes})
