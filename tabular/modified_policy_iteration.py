"""Modified policy iteration: between two backups, several cheap sweeps under the greedy policy.

    v <- (T_pi)^m T v,  pi greedy for v        (Puterman & Shin 1978; Puterman 1994, section 6.5)

The sweeps adapt to the MDP. Where its chains mix fast, synchronous sweeps are best: they soon change every value by the
same amount, which the bounds see through. They stop once the gap that their changes imply is a small part of the last
certified one. Where that does not come within a few dozen sweeps, news travels far instead (a grid with one goal), and
in-place sweeps in alternating directions carry it many states at a time: the optimality operator in place, which moves
the frontier of good decisions, then the policy's own rows. They start from a vector below its own backup, from which
all that follows rises to v* (Puterman 1994, theorem 6.5.5): from above, in-place sweeps creep, as every state leans on
the most hopeful neighbour. Where even they are slow, because chains wander to and fro, its equation is solved on
several levels at once (`aggregation`), or by elimination where all steps are short (`banded`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.operator import StoredOperator
from rlbook.tabular.policy_sweeps import GreedyRows
from rlbook.tabular.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.certificate import Contraction
    from rlbook.tabular.operator import BellmanOperator, Model, PolicySweeps
    from rlbook.tabular.solution import Solution

_COARSEST, _FINEST = 0.1, 0.003  # parts of the gap that synchronous sweeps may leave
_INNER_FRACTION = 0.02  # in-place sweeps stop once the change they leave is this part of what it was
_MOST_SYNCHRONOUS, _MOST_WORK = 40, 4.0  # a chain that needs more sweeps, or backups' worth of them, mixes slowly
_MOST_INNER = 1_000
_AIM = 0.3  # part of the tolerance that sweeps aim at, so that the backup after them finds the gap closed
_IN_PLACE, _IN_PLACE_WORK = 16, 2.0  # sweeps, or backups' worth of them, under one policy before it may change
_MOST_ROUNDS = 50  # of in-place sweeps, before bounds are certified again
_POOR = 0.5  # the part of a certified gap that in-place sweeps must not leave
_SLOW, _SLOW_ROUNDS = 0.8, 4  # the part of a change that so many rounds in a row must leave for sweeps to be given up
_MOST_CYCLES = 60
_SWEEPS_IN_A_CYCLE = 7  # four on the policy's own chain, and what the coarser ones add

Gear = Literal["synchronous", "in place", "equation"]

_ACCOUNTS: dict[Gear, str] = {
    "synchronous": "synchronous sweeps throughout",
    "in place": "sweeps in place, since synchronous ones closed the gap too slowly",
    "equation": "policies' equations solved by aggregation or elimination, since sweeps closed the gap too slowly",
}


def modified_policy_iteration(
    model: Model,
    tol: float = DEFAULT_TOLERANCE,
    *,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 100_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """Solve an MDP by modified policy iteration; arguments, bounds and errors as in `value_iteration`.

    `iterations` counts certified backups over all pairs; `history.work` counts everything.
    """
    sweeps = _Sweeps(tol, cancel)
    solution = certified_iteration(
        model,
        "modified-policy-iteration",
        tol,
        initial_values=initial_values,
        max_iterations=max_iterations,
        cancel=cancel,
        between=sweeps.improve,
    )
    return replace(solution, chosen_because=_ACCOUNTS[sweeps.gear])


class _Sweeps:
    """What happens between two certified backups, and what is remembered from one to the next."""

    def __init__(self, tol: float, cancel: NDArray[np.uint8] | None) -> None:
        self._tol = tol
        self._cancel = np.zeros(1, dtype=np.uint8) if cancel is None else cancel
        self.gear: Gear = "synchronous"
        self._rows: PolicySweeps | None = None
        self._policy: NDArray[np.int64] | None = None
        self._backward = True
        self._best_gap = self._last_gap = self._gap_before = math.inf
        self._only_sweeps_so_far = True
        self._slow_rounds = 0
        self._last_change = math.inf

    def improve(
        self,
        operator: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        """Improve v = T v in place; return the work done."""
        self._rows = rows = self._rows or operator.policy_sweeps()
        fraction = self._fraction(gap, greedy)
        if not (isinstance(operator, StoredOperator) and isinstance(rows, GreedyRows)):
            rows.gather(greedy)
            goal = max(fraction * gap, _AIM * self._tol)
            return rows.cost * rows.sweep(v, contraction.gap_weights, goal, _MOST_INNER, self._cancel)
        work = 0.0
        if self.gear == "synchronous":
            rows.gather(greedy)
            most = max(_MOST_SYNCHRONOUS, int(_MOST_WORK / rows.cost))
            goal = max(fraction * gap, _AIM * self._tol)
            done = rows.sweep(v, contraction.gap_weights, goal, most, self._cancel)
            work += done * rows.cost
            if done == most:
                self.gear = "in place"
                self._start_below(operator, v, contraction)
                work += 1
        if self.gear == "in place" and gap > _POOR * self._gap_before and self._only_sweeps_so_far:
            self.gear = "equation"  # the last round of sweeps in place hardly closed the gap
        if self.gear == "in place":
            self._gap_before = gap
            work += self._sweep_in_place(operator, rows, v, greedy, contraction)
        if self.gear == "equation":
            rows.gather(greedy)
            work += self._solve_equation(rows, v, fraction, contraction)
        return work

    def _fraction(self, gap: float, greedy: NDArray[np.int64]) -> float:
        """The part of the gap that inner sweeps leave: no less than the next improvement of the policy can use."""
        last, self._last_gap = self._last_gap, gap
        self._best_gap = min(gap, self._best_gap)
        if self._policy is not None and np.array_equal(greedy, self._policy):
            return 0.0  # the policy seems to be final
        self._policy = greedy.copy()
        return min(_COARSEST, max(0.3 * gap / last, _FINEST)) if 0 < last < math.inf else _COARSEST

    def _start_below(self, operator: BellmanOperator, v: NDArray[np.float64], contraction: Contraction) -> None:
        """Shift v so far down that it lies below its own backup."""
        tv, greedy = np.empty_like(v), np.empty(len(v), dtype=np.int64)
        least, greatest = operator.backup(v, tv, greedy)
        low = min(contraction.shifts(least, greatest, float(np.abs(v).max()))[0], 0.0)
        v += low if contraction.potential is None else low * contraction.potential

    def _sweep_in_place(
        self,
        operator: StoredOperator,
        rows: GreedyRows,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
    ) -> float:
        """Rounds of in-place sweeps until their change says that the bounds will be good; or change gear."""
        work = 0.0
        most = max(_IN_PLACE, int(_IN_PLACE_WORK / rows.cost))
        enough = max(_AIM * self._tol, _INNER_FRACTION * self._best_gap) / contraction.gap_weights[0]
        for _ in range(_MOST_ROUNDS):
            change = operator.backup_in_place(v, greedy, backward=self._backward)
            self._backward = not self._backward
            work += 1
            if change <= enough or self._cancel[0]:
                break
            rows.gather(greedy)
            goal = max(_INNER_FRACTION * change, 0.1 * enough)
            done, last = rows.sweep_in_place(v, goal, most, self._cancel)
            work += done * rows.cost
            self._slow_rounds = self._slow_rounds + 1 if last > _SLOW * self._last_change else 0
            self._last_change = last
            if self._slow_rounds == _SLOW_ROUNDS and self._only_sweeps_so_far:
                self.gear = "equation"
                break
        return work

    def _solve_equation(
        self, rows: GreedyRows, v: NDArray[np.float64], fraction: float, contraction: Contraction
    ) -> float:
        """Solve the policy's equation by more than sweeps; where that hardly helps, change back for good."""
        self._only_sweeps_so_far = False
        change = rows.change(v)
        size = float(np.abs(change).max())
        goal = max(fraction * size, 0.5 * _AIM * self._tol / contraction.gap_weights[0])
        correction, cycles, left = rows.policy_solver().solve(change, goal, _MOST_CYCLES, self._cancel)
        if left > 0.5 * size and left > goal:
            self.gear = "in place"
        v += correction
        return (1 + _SWEEPS_IN_A_CYCLE * cycles) * rows.cost
