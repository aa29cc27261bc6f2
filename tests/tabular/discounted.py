"""What every solver of the optimality equation must do, whatever its method: checks that test files share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np

from rlbook.mdp import FiniteMDP
from rlbook.tabular import Solution, endless_states, value_iteration

from .exact import exact_optimal_values, small_mdp

Solver = Callable[..., Solution]
DISCOUNTS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)


def encloses(solution: Solution, truth: list[Fraction]) -> bool:
    """Whether every exact value lies between the bounds."""
    rows = zip(solution.lower, truth, solution.upper, strict=True)
    return all(Fraction(float(low)) <= value <= Fraction(float(high)) for low, value, high in rows)


def check_exact_values(solver: Solver, *, terminating: bool, hard: bool) -> None:
    """Prevents bounds that miss the optimal value, on 60 random MDPs, with a tolerance and at the rounding floor."""
    broken = []
    for seed in range(60):
        discount = DISCOUNTS[seed % len(DISCOUNTS)]
        mdp, truth = _solved(seed, discount, terminating, hard)
        for tol in (1e-3, 0.0):
            solution = solver(mdp, tol, max_iterations=8_000)
            if not encloses(solution, truth):
                broken.append((seed, tol))
            assert np.isfinite(solution.gap)
            assert solution.reason != "stalled", (seed, tol)
            assert solution.converged or discount > 0.99, (seed, tol)
    assert broken == []


def check_discount_one(solver: Solver) -> None:
    """Prevents a division by 1 - discount where episodes end under every policy."""
    tried = 0
    for seed in range(120):
        mdp = small_mdp(seed, 1.0, terminating=True)
        if len(endless_states(mdp)):
            continue
        tried += 1
        solution = solver(mdp, 1e-8)
        assert encloses(solution, exact_optimal_values(mdp)), seed
        assert solution.gap <= 1e-8
    assert tried >= 30


def check_any_start(solver: Solver) -> None:
    """Prevents leaning on a first vector of zeros, or one below the optimum."""
    mdp, truth = _solved(3, 0.9, True, False)
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1.0, 1e6, 1e12):
        solution = solver(mdp, 1e-9, initial_values=rng.normal(size=mdp.n_states) * scale)
        assert encloses(solution, truth)
        assert solution.reason == "tolerance"


def check_stopping(solver: Solver, mdp: FiniteMDP) -> None:
    """Prevents an answer that hides a limit, an endless loop, and work that is not counted."""
    best = value_iteration(mdp, 0.0)
    limited = solver(mdp, 1e-9, max_iterations=2)
    assert (limited.reason, limited.iterations, limited.converged) == ("iteration limit", 2, False)
    cancelled = solver(mdp, 1e-9, cancel=np.ones(1, dtype=np.uint8))
    assert (cancelled.reason, cancelled.iterations) == ("cancelled", 1)
    floor = solver(mdp, 0.0)
    assert floor.reason == "rounding floor"
    assert floor.gap < 10 * best.gap
    for solution in (limited, cancelled, floor):
        assert np.all(solution.lower <= best.upper)
        assert np.all(best.lower <= solution.upper)
        assert solution.history.work[0] == 1.0
        assert np.all(np.diff(solution.history.work) >= 1.0)


@cache
def _solved(seed: int, discount: float, terminating: bool, hard: bool) -> tuple[FiniteMDP, list[Fraction]]:
    mdp = small_mdp(seed, discount, terminating=terminating, hard=hard)
    return mdp, exact_optimal_values(mdp)
