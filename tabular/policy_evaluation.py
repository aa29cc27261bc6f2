"""The value of a policy, with bounds certified on the policy's own operator.

Two ways: a direct solve of (I - discount P) v = r (`direct_solve`), refined on its residual until the bounds stop
improving; or backups and inexact evaluations in turn, whose Krylov solver has a safeguard (`krylov`). Both solve the
chain that the policy makes of the MDP, whose probabilities are rounded products; but the bounds are those of

    (T_pi v)(s) = sum_a pi(a|s) [ r(s, a) + discount * sum_{s'} p(s' | s, a) v(s') ]        (Puterman 1994, 6.1)

for the doubles of the MDP and of the policy, since every backup is computed from action values of the MDP itself.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.bellman import LARGEST, action_values
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.direct_solve import MOST_OPERATIONS, DirectSolver
from rlbook.tabular.krylov import SafeguardedEvaluation
from rlbook.tabular.policies import as_stochastic, induced_chain
from rlbook.tabular.policy_rows import PolicyRows, policy_rows, require_stored
from rlbook.tabular.policy_sweeps import GreedyRows
from rlbook.tabular.solution import History, Solution
from rlbook.tabular.stopping import DEFAULT_TOLERANCE, check_stopping

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.operator import BellmanOperator

_FORCING = 0.01  # each evaluation aims at this part of the last certified gap
_ALWAYS_DIRECT = 1e8  # multiplications that take about a tenth of a second
_SWEEPS_PER_HORIZON = 100.0
_LONGEST_HORIZON = 1e4  # beyond it a preconditioned Krylov solver needs no more sweeps


class _PolicyOperator:
    """T_pi for one probability per pair, as a model with an operator of its own."""

    def __init__(self, mdp: FiniteMDP, weight: NDArray[np.float64]) -> None:
        self._mdp, self._weight = mdp, weight
        self._chain = induced_chain(mdp, weight)
        self._contraction = Contraction.of_policy(mdp, weight, self._chain)
        self.name, self.discount, self.start = mdp.name, mdp.discount, mdp.start
        self.n_states, self.n_actions, self.n_transitions = mdp.n_states, mdp.n_actions, mdp.n_transitions

    def bellman_operator(self) -> BellmanOperator:
        return self

    def contraction(self, cancel: NDArray[np.uint8] | None) -> Contraction:
        return self._contraction

    def backup(self, v: NDArray[np.float64], tv: NDArray[np.float64], greedy: NDArray[np.int64]) -> tuple[float, float]:
        tv[:] = np.add.reduceat(self._weight * action_values(self._mdp, v), self._mdp.state_ptr[:-1])
        greedy[:] = np.arange(self.n_states)
        change = tv - v
        return float(change.min()), float(change.max())

    def policy_sweeps(self) -> GreedyRows:
        return GreedyRows(self._chain)

    def labels(self, greedy: NDArray[np.int64]) -> NDArray[np.int32]:
        """The likeliest action of each state; among ties the lowest label."""
        largest = np.maximum.reduceat(self._weight, self._mdp.state_ptr[:-1])
        likeliest = np.flatnonzero(self._weight == largest[self._mdp.pair_state])
        first = np.unique(self._mdp.pair_state[likeliest], return_index=True)[1]
        return self._mdp.action[likeliest[first]]

    def rows(self) -> PolicyRows:
        """The chain's rows."""
        return policy_rows(self._chain, np.arange(self.n_states))


def evaluate_policy(
    mdp: FiniteMDP,
    policy: ArrayLike,
    *,
    method: Literal["auto", "direct", "iterative"] = "auto",
    tol: float = DEFAULT_TOLERANCE,
    max_iterations: int = 100_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """The value of a policy, with certified bounds.

    policy: as in `as_stochastic`, which first divides the probabilities of each state by their sum; the bounds are for
    the policy so divided, in doubles. `policy` of the result is its likeliest action. At discount 1 its episodes must
    end.
    method: "direct", a direct solve refined until the bounds stop improving, whatever `tol` is; "iterative", backups
    and inexact evaluations until the certified gap is `tol`; "auto", direct unless that would fill too much memory or
    take longer. max_iterations, cancel: for the iterative method, as in `value_iteration`. Raises MDPError where no
    bound exists, or where a direct solve is asked for and would be too large.
    """
    require_stored(mdp, "policy evaluation")
    check_stopping(tol, max_iterations, cancel)
    if method not in ("auto", "direct", "iterative"):
        raise MDPError(f"method is {method!r}; choose 'auto', 'direct' or 'iterative'")
    started = time.perf_counter()
    operator = _PolicyOperator(mdp, as_stochastic(mdp, policy))
    rows = operator.rows()
    found = None
    if method != "iterative":
        horizon = min(operator.contraction(None).horizon, _LONGEST_HORIZON)
        worthwhile = _ALWAYS_DIRECT + _SWEEPS_PER_HORIZON * horizon * len(rows.mass)
        try:
            solver = DirectSolver(
                rows,
                instead='use method="iterative"',
                most_operations=MOST_OPERATIONS if method == "direct" else min(worthwhile, MOST_OPERATIONS),
            )
        except MDPError:
            if method == "direct":
                raise
        else:
            found = _refined(operator, rows, solver, tol, started)
    if found is None:
        found = _iterated(operator, rows, tol, max_iterations, cancel)
    return replace(found, mdp=mdp, of_policy=True, seconds=time.perf_counter() - started)


def _refined(
    operator: _PolicyOperator, rows: PolicyRows, solver: DirectSolver, tol: float, started: float
) -> Solution | None:
    """The direct solution, refined while the bounds improve; None where elimination broke down."""
    contraction = operator.contraction(None)
    best = candidate = solver.solve(rows.reward)
    tv, choice = np.empty_like(best), np.empty(len(best), dtype=np.int64)
    gaps: list[float] = []
    changes: list[tuple[float, float, float, float]] = []
    shifts = (-np.inf, np.inf)
    while np.all(np.isfinite(candidate)) and np.abs(candidate).max() <= LARGEST:
        least, greatest = operator.backup(candidate, tv, choice)
        magnitude = float(np.abs(candidate).max())
        bounds = contraction.shifts(least, greatest, magnitude)
        gap = contraction.gap(bounds, magnitude)
        if gaps and not gap < 0.9 * gaps[-1]:
            break
        best, shifts = candidate, bounds
        gaps.append(gap)
        changes.append((least, greatest, time.perf_counter() - started, float(len(gaps))))
        candidate = candidate + solver.solve(tv - candidate)
    if not gaps:
        return None
    lower, upper = contraction.bounds(best, shifts)
    return Solution(
        mdp=operator,
        method="direct solve",
        values=lower + (upper - lower) / 2,
        lower=lower,
        upper=upper,
        policy=operator.labels(choice),
        iterations=len(gaps),
        seconds=0.0,
        tolerance=tol,
        reason="tolerance" if gaps[-1] <= tol else "rounding floor",
        history=History(np.array(gaps), *np.array(changes).T),
    )


def _iterated(
    operator: _PolicyOperator, rows: PolicyRows, tol: float, max_iterations: int, cancel: NDArray[np.uint8] | None
) -> Solution:
    """Backups and inexact evaluations in turn."""
    evaluate = SafeguardedEvaluation(operator.contraction(None))
    part = len(rows.mass) / max(operator.n_transitions, 1)

    def between(
        own: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        found = evaluate(rows, v, _FORCING * gap, cancel)
        v[:] = found.values
        return found.sweeps * part

    return certified_iteration(
        operator,
        "iterative evaluation",
        tol,
        initial_values=None,
        max_iterations=max_iterations,
        cancel=cancel,
        between=between,
    )
