"""Every method, on small MDPs of every awkward kind, held against exact rationals and against one another."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings

from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import METHODS, Solution, endless_states, solve

from .exact import exact_optimal_values
from .strategies import small_mdps

DISCOUNTED = [name for name in METHODS if name != "stochastic-shortest-path"]
LONGEST = 1_000  # steps; beyond a million, discount 1 is refused
many = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def check(solution: Solution, truth: list[Fraction]) -> None:
    assert np.all(np.isfinite(solution.lower))
    assert np.all(np.isfinite(solution.upper))
    assert all(Fraction(float(a)) <= v for a, v in zip(solution.lower, truth, strict=True))
    assert all(v <= Fraction(float(b)) for v, b in zip(truth, solution.upper, strict=True))
    assert solution.converged == (solution.reason in ("tolerance", "rounding floor"))
    if solution.reason == "tolerance":
        assert solution.gap <= solution.tolerance
    low, high = solution.start_bounds
    exact = sum((Fraction(float(p)) * v for p, v in zip(solution.mdp.start, truth, strict=True)), Fraction(0))
    assert Fraction(low) <= exact <= Fraction(high)


@pytest.mark.parametrize("method", DISCOUNTED)
@given(mdp=small_mdps())
@many
def test_bounds_enclose_the_exact_value(method: str, mdp: FiniteMDP):
    """Prevents a crash, a NaN, an endless loop or a bound that does not hold, in any method."""
    truth = exact_optimal_values(mdp)
    for tol in (1e-3, 0.0):
        check(solve(mdp, tol, method=method, max_iterations=4_000), truth)


@pytest.mark.parametrize("method", DISCOUNTED)
@given(mdp=small_mdps(discounts=[0.0, 0.5, 0.9, 0.99]))
@settings(many, max_examples=100)
def test_every_method_gets_there(method: str, mdp: FiniteMDP):
    """Prevents a method that returns bounds that hold but never close, or that gives up."""
    for tol in (1e-3, 0.0):
        solution = solve(mdp, tol, method=method, max_iterations=30_000)
        assert solution.reason in ("tolerance", "rounding floor")


def test_the_exact_truth_is_not_sought_for_ever():
    """Prevents what hypothesis found: two rows of doubles gain more, by rounding, than the way between them loses."""
    outcomes = [
        {
            0: [(0.9999999717662341, 1, 1.0, False), (2.8233765918952283e-08, 2, 1.0, False)],
            1: [(0.9941015590468074, 2, 1.0, False), (0.00589844095319261, 0, 1.0, True)],
        },
        {
            0: [(0.9932404865789507, 0, 1.0, False), (0.006759513421049339, 1, 1.0, False)],
            1: [(0.7976623101235845, 1, 1.0, False), (0.2023376898764155, 2, 1.0, True)],
        },
        {
            0: [(0.999999805168786, 0, 1.0, False), (1.948312141088574e-07, 1, 1.0, True)],
            1: [(0.9999999986402415, 1, 1.0, False), (1.3597585070604694e-09, 2, 1.0, True)],
        },
    ]
    with pytest.raises(ArithmeticError, match="came back"):
        exact_optimal_values(from_transitions(outcomes, 1.0))


@pytest.mark.parametrize("method", METHODS)
@given(mdp=small_mdps(discounts=[1.0], ending=True))
@settings(many, max_examples=60)
def test_episodes_that_end_need_no_discount(method: str, mdp: FiniteMDP):
    """Prevents a division by 1 - discount, and bounds that trust a contraction which is not there."""
    assume(len(endless_states(mdp)) == 0)
    counting = mdp.replace(expected_reward=np.ones(mdp.n_pairs), reward=None, policies={})
    try:
        steps = exact_optimal_values(counting)
    except ArithmeticError:
        reject()
    assume(min(steps) >= 1 and max(steps) < LONGEST)  # numbers below one solve the equation, too, and count nothing
    truth = exact_optimal_values(mdp)
    for tol in (1e-3, 0.0):
        solution = solve(mdp, tol, method=method, max_iterations=4_000)
        check(solution, truth)


@given(mdp=small_mdps())
@settings(many, max_examples=100)
def test_every_method_agrees_with_every_other(mdp: FiniteMDP):
    found = [solve(mdp, 1e-6, method=method, max_iterations=4_000) for method in DISCOUNTED]
    lower = np.max([each.lower for each in found], axis=0)
    upper = np.min([each.upper for each in found], axis=0)
    assert np.all(lower <= upper)


@pytest.mark.parametrize("method", DISCOUNTED)
@given(mdp=small_mdps(discounts=[0.9, 0.9999]))
@settings(many, max_examples=60)
def test_a_limit_that_is_hit_is_said(method: str, mdp: FiniteMDP):
    """Prevents a capped iteration that is returned as the answer."""
    solution = solve(mdp, 0.0, method=method, max_iterations=1)
    check(solution, exact_optimal_values(mdp))
    assert solution.iterations == 1
    assert solution.reason in ("iteration limit", "rounding floor", "tolerance")
