"""Policy evaluation: bounds for the policy's own operator by both methods, and the right one of them by itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.tabular import as_stochastic, direct_solve, evaluate_policy, modified_policy_iteration, uniform_policy

from .discounted import DISCOUNTS, encloses
from .exact import exact_policy_values, small_mdp
from .test_direct_solve import walk

METHODS = ["direct", "iterative"]


def random_policy(mdp: FiniteMDP, seed: int) -> np.ndarray:
    weight = np.random.default_rng(seed).dirichlet(np.ones(4), size=mdp.n_states)[mdp.pair_state, mdp.action]
    return as_stochastic(mdp, weight / np.add.reduceat(weight, mdp.state_ptr[:-1])[mdp.pair_state])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("terminating", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_bounds_enclose_the_exact_value(method, terminating, hard):
    """Prevents bounds on the rounded chain of a policy, or without rounding, by either method."""
    for seed in range(60):
        mdp = small_mdp(seed, DISCOUNTS[seed % len(DISCOUNTS)], terminating=terminating, hard=hard)
        weight = random_policy(mdp, seed)
        truth = exact_policy_values(mdp, weight)
        for tol in (1e-3, 0.0):
            found = evaluate_policy(mdp, weight, method=method, tol=tol)
            assert encloses(found, truth), (seed, tol)
            assert found.converged, (seed, tol)
            assert found.of_policy


@pytest.mark.parametrize("method", METHODS)
def test_discount_one_asks_only_of_this_policy_that_it_ends(method):
    mdp = FiniteMDP.from_dense(
        [[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]], [[-1.0, -1.0], [0.0, 0.0]], 1.0, terminated=[False, True]
    )
    found = evaluate_policy(mdp, np.array([0, 0]), method=method)
    assert found.values[0] == pytest.approx(-2.0)
    with pytest.raises(MDPError, match="never ends"):
        evaluate_policy(mdp, np.array([1, 0]), method=method)


def test_both_methods_agree_on_a_chain_that_mixes_slowly():
    """Prevents an iterative method that gives up where sweeps alone take a hundred thousand steps."""
    mdp = walk(3_000, 0.9999)
    direct, iterative = (evaluate_policy(mdp, np.zeros(3_000, dtype=int), method=m, tol=1e-7) for m in METHODS)
    assert iterative.reason == "tolerance"
    assert iterative.iterations < 20
    assert np.all(direct.lower <= iterative.upper)
    assert np.all(iterative.lower <= direct.upper)
    assert direct.gap <= 1e-7


def test_the_value_of_an_optimal_policy_is_the_optimal_value():
    mdp = make("slippery-grid", rows=20, columns=20, discount=0.999)
    best = modified_policy_iteration(mdp, 1e-9)
    for method in METHODS:
        found = evaluate_policy(mdp, best.policy, method=method, tol=1e-9)
        np.testing.assert_allclose(found.values, best.values, atol=3e-9)
        assert np.array_equal(found.policy, best.policy)


def test_what_would_fill_is_iterated_instead(monkeypatch):
    """Prevents factors that take all memory, and a refusal where another method is at hand."""
    mdp = make("garnet", states=2_000, actions=2, branching=8, discount=0.9)
    assert evaluate_policy(mdp, uniform_policy(mdp)).method == "iterative evaluation"
    monkeypatch.setattr("rlbook.tabular.policy_evaluation.MOST_OPERATIONS", 1e6)
    with pytest.raises(MDPError, match='method="iterative"'):
        evaluate_policy(mdp, uniform_policy(mdp), method="direct")


def test_a_broken_elimination_is_iterated_instead(monkeypatch):
    """Prevents NaN where a pivot vanishes in rounding."""
    monkeypatch.setattr(direct_solve.DirectSolver, "solve", lambda self, r: np.full_like(r, np.nan))
    mdp = small_mdp(3, 0.9)
    found = evaluate_policy(mdp, uniform_policy(mdp), method="direct")
    assert found.method == "iterative evaluation"
    assert encloses(found, exact_policy_values(mdp, uniform_policy(mdp)))


def test_the_limit_and_the_cancel_flag_are_heeded():
    mdp = walk(500, 0.9999)
    policy = np.zeros(500, dtype=int)
    limited = evaluate_policy(mdp, policy, method="iterative", tol=1e-9, max_iterations=1)
    assert limited.reason == "iteration limit"
    assert not limited.converged
    cancelled = evaluate_policy(mdp, policy, method="iterative", cancel=np.ones(1, dtype=np.uint8))
    assert cancelled.reason == "cancelled"
    best = evaluate_policy(mdp, policy)
    for found in (limited, cancelled):
        assert np.all(found.lower <= best.upper)
        assert np.all(best.lower <= found.upper)


def test_the_likeliest_action_is_named():
    mdp = FiniteMDP.from_dense(np.full((2, 3, 2), 0.5), np.zeros((2, 3)), 0.5)
    found = evaluate_policy(mdp, np.array([[0.2, 0.4, 0.4], [0.5, 0.1, 0.4]]))
    assert found.policy.tolist() == [1, 0]


def test_one_state_with_one_action():
    found = evaluate_policy(FiniteMDP.from_dense([[[1.0]]], [[3.0]], 0.75), np.array([0]))
    assert Fraction(float(found.lower[0])) <= 12 <= Fraction(float(found.upper[0]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"method": "exact"}, "method is 'exact'"), ({"tol": -1.0}, "tol is -1.0"), ({"max_iterations": 0}, "is 0")],
)
def test_bad_input_gets_a_sentence(options, sentence):
    with pytest.raises(MDPError, match=sentence):
        evaluate_policy(small_mdp(0, 0.9), uniform_policy(small_mdp(0, 0.9)), **options)
