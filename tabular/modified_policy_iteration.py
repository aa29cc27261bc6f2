"""Modified policy iteration: between two backups, several cheap sweeps under the greedy policy.

    v <- (T_pi)^m T v,  pi greedy for v        (Puterman & Shin 1978; Puterman 1994, section 6.5)

The sweeps adapt to the MDP. Where its chains mix fast, synchronous sweeps are best: they soon change every value by the
same amount, which the bounds see through. They stop once the gap that their changes imply is a small part of the last
certified one. Where that does not come within a few dozen sweeps, news travels far instead (a grid with one goal), and
in-place sweeps in alternating directions carry it many states at a time: the optimality operator in place, which moves
the frontier of good decisions, then the policy's own rows. They start from a vector below its own backup, from which
all that follows rises to v* (Puterman 1994, theorem 6.5.5): from above, in-place sweeps creep, as every state leans on
the most hopeful neighbour.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

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
_IN_PLACE = 16  # sweeps under one policy before the next optimality sweep
_MOST_ROUNDS = 50  # of in-place sweeps, before bounds are certified again


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
    return certified_iteration(
        model,
        "modified-policy-iteration",
        tol,
        initial_values=initial_values,
        max_iterations=max_iterations,
        cancel=cancel,
        between=_Sweeps(tol, cancel).improve,
    )


class _Sweeps:
    """What happens between two certified backups, and what is remembered from one to the next."""

    def __init__(self, tol: float, cancel: NDArray[np.uint8] | None) -> None:
        self._tol = tol
        self._cancel = np.zeros(1, dtype=np.uint8) if cancel is None else cancel
        self._rows: PolicySweeps | None = None
        self._in_place = False
        self._backward = True
        self._best_gap = self._last_gap = math.inf
        self._policy: NDArray[np.int64] | None = None

    def improve(
        self,
        operator: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        """Improve v = T v in place; return the work done."""
        self._rows = self._rows or operator.policy_sweeps()
        self._best_gap = min(gap, self._best_gap)
        if self._in_place and isinstance(operator, StoredOperator) and isinstance(self._rows, GreedyRows):
            return self._rounds(operator, self._rows, v, greedy, contraction)
        self._rows.gather(greedy)
        stored = isinstance(operator, StoredOperator)
        most = max(_MOST_SYNCHRONOUS, int(_MOST_WORK / self._rows.cost)) if stored else _MOST_INNER
        goal = max(self._fraction(gap, greedy) * gap, _AIM * self._tol)
        done = self._rows.sweep(v, contraction.gap_weights, goal, most, self._cancel)
        if stored and done == most:
            self._in_place = True
            self._start_below(operator, v, contraction)
        return done * self._rows.cost

    def _fraction(self, gap: float, greedy: NDArray[np.int64]) -> float:
        """The part of the gap that inner sweeps leave: no less than the next improvement of the policy can use."""
        last, self._last_gap = self._last_gap, gap
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

    def _rounds(
        self,
        operator: StoredOperator,
        rows: GreedyRows,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
    ) -> float:
        """In-place sweeps until their change says that the bounds will be good, or fifty rounds."""
        work = 0.0
        enough = max(_AIM * self._tol, _INNER_FRACTION * self._best_gap) / contraction.gap_weights[0]
        for _ in range(_MOST_ROUNDS):
            change = operator.backup_in_place(v, greedy, backward=self._backward)
            self._backward = not self._backward
            work += 1
            if change <= enough or self._cancel[0]:
                break
            rows.gather(greedy)
            done, _ = rows.sweep_in_place(v, max(_INNER_FRACTION * change, 0.1 * enough), _IN_PLACE, self._cancel)
            work += done * rows.cost
        return work
