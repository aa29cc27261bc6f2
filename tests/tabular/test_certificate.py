"""Bounds hold against exact rationals: where textbook bounds fail (termination) and where rounding bites (0.9999)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.tabular import certified_bounds, endless_states, modified_policy_iteration, value_iteration

from .exact import exact_optimal_values, small_mdp

SOLVERS = [value_iteration, modified_policy_iteration]
DISCOUNTS = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]


def encloses(lower: np.ndarray, truth: list[Fraction], upper: np.ndarray) -> bool:
    return all(Fraction(float(a)) <= v <= Fraction(float(b)) for a, v, b in zip(lower, truth, upper, strict=True))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("terminating", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_solver_bounds_enclose_the_exact_value(solver, terminating, hard):
    """Prevents bounds that ignore termination or rounding."""
    broken = []
    for seed in range(60):
        mdp = small_mdp(seed, DISCOUNTS[seed % len(DISCOUNTS)], terminating=terminating, hard=hard)
        truth = exact_optimal_values(mdp)
        for tol in (1e-3, 0.0):
            solution = solver(mdp, tol, max_iterations=20_000)
            if not encloses(solution.lower, truth, solution.upper):
                broken.append((seed, tol))
            assert np.isfinite(solution.gap)
            assert solution.reason != "stalled"
            assert solution.converged or mdp.discount > 0.99
    assert broken == []


@given(
    seed=st.integers(0, 2**32 - 1),
    discount=st.sampled_from(DISCOUNTS),
    terminating=st.booleans(),
    hard=st.booleans(),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 1e6]),
)
@settings(max_examples=300, deadline=None)
def test_bounds_from_any_vector_enclose_the_exact_value(seed, discount, terminating, hard, scale):
    """Prevents certificates that lean on where the vector came from, such as monotone iterates from zero."""
    mdp = small_mdp(seed, discount, terminating=terminating, hard=hard)
    vector = np.random.default_rng(seed + 1).normal(size=mdp.n_states) * scale
    lower, upper = certified_bounds(mdp, vector)
    assert encloses(lower, exact_optimal_values(mdp), upper)


@pytest.mark.parametrize("solver", SOLVERS)
def test_discount_one_with_ending_episodes_is_certified(solver):
    """Prevents a division by 1 - discount, and bounds that forget how long episodes last."""
    tried = 0
    for seed in range(200):
        mdp = small_mdp(seed, 1.0, terminating=True)
        if len(endless_states(mdp)):
            continue
        tried += 1
        solution = solver(mdp, 1e-8)
        assert encloses(solution.lower, exact_optimal_values(mdp), solution.upper)
        assert solution.gap <= 1e-8
    assert tried >= 50


def test_textbook_bounds_would_fail_here():
    """The control of this file: MacQueen's bounds, which assume that nothing terminates, do break on these MDPs."""
    broken = 0
    for seed in range(60):
        mdp = small_mdp(seed, 0.9, terminating=True)
        truth = exact_optimal_values(mdp)
        v = np.random.default_rng(seed).normal(size=mdp.n_states)
        solution = value_iteration(mdp, 1e300, initial_values=v)
        low, high = solution.history.least_change[0], solution.history.greatest_change[0]
        factor = 1 / (1 - mdp.discount)
        broken += not encloses(v + low * factor, truth, v + high * factor)
    assert broken > 10


def test_endless_episodes_at_discount_one_are_refused_by_name():
    """Prevents an answer where the value is infinite or undefined."""
    mdp = FiniteMDP.from_dense(
        [[[0.0, 1.0], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]],
        [[1.0, 0.0], [0.0, 0.0]],
        1.0,
        terminated=[False, True],
        state_names=["loop", "other"],
    )
    with pytest.raises(MDPError, match=r"from state 'loop' some policy never ends .* choose a discount below 1"):
        value_iteration(mdp)


def test_episodes_too_long_to_certify_are_refused_not_looped_over():
    """Prevents a search for a potential that never ends."""
    tiny = 1e-15
    mdp = FiniteMDP.from_dense(
        [[[1 - tiny, tiny], [1 - tiny, tiny]], [[0.0, 1.0], [0.0, 1.0]]],
        [[1.0, 1.0], [0.0, 0.0]],
        1.0,
        terminated=[False, True],
    )
    with pytest.raises(MDPError, match="choose a discount below 1"):
        value_iteration(mdp)


def test_endless_states_are_found_exactly():
    """Prevents treating an unlikely end as no end, or a likely one as certain."""
    # 0 -> 1 surely; 1 may stay with action 1; 2 ends whatever it does; 3 may go to 1 or end.
    go = np.zeros((4, 2, 4))
    go[0, :, 1] = 1
    go[1, 0, 2] = go[1, 1, 1] = 1
    go[2, :, 2] = 1
    go[3, 0, 1], go[3, 0, 2], go[3, 1, 2] = 0.5, 0.5, 1
    ended = np.zeros((4, 2, 4), dtype=bool)
    ended[:, :, 2] = True
    mdp = FiniteMDP.from_dense(go, np.zeros((4, 2)), 0.9, terminated=ended)
    assert endless_states(mdp).tolist() == [0, 1]


def test_start_bounds_enclose_the_exact_average():
    for seed in range(40):
        mdp = small_mdp(seed, 0.9)
        truth = exact_optimal_values(mdp)
        exact = sum((Fraction(float(p)) * v for p, v in zip(mdp.start, truth, strict=True)), Fraction(0))
        low, high = value_iteration(mdp, 0.0).start_bounds
        assert Fraction(low) <= exact <= Fraction(high)
