"""The loop that solvers by repeated backups share: back up, certify, stop or go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.bellman import value_vector
from rlbook.tabular.operator import KeepsVectors, operator_of
from rlbook.tabular.solution import Solution
from rlbook.tabular.stopping import Stopping, check_stopping

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.certificate import Contraction
    from rlbook.tabular.operator import BellmanOperator, Model

    Between = Callable[[BellmanOperator, NDArray[np.float64], NDArray[np.int64], Contraction, float], float]


def certified_iteration(
    model: Model,
    method: str,
    tol: float,
    *,
    initial_values: ArrayLike | None,
    max_iterations: int,
    cancel: NDArray[np.uint8] | None,
    between: Between | None = None,
) -> Solution:
    """Repeat v <- T v until `Stopping` says why to end; other arguments as in `value_iteration`.

    model: anything that has a Bellman operator (see `operator_of`). between: called after each backup with the
    operator, T v, (S,), which it may improve in place, a greedy choice per state, int64 (S,), the contraction, and the
    certified gap; it returns the work it did, in full backups.
    """
    started = time.perf_counter()
    check_stopping(tol, max_iterations, cancel)
    operator = operator_of(model)
    contraction = operator.contraction(cancel)
    stopping = Stopping(contraction, tol, max_iterations, cancel)
    v = np.zeros(model.n_states) if initial_values is None else value_vector(model, initial_values)
    contraction.refuse_values(v)
    tv = np.empty_like(v)
    greedy = np.empty(model.n_states, dtype=np.int64)
    elsewhere = operator if isinstance(operator, KeepsVectors) else None
    if elsewhere is not None:
        v, tv, greedy = (elsewhere.place(vector) for vector in (v, tv, greedy))
    while True:
        least, greatest = operator.backup(v, tv, greedy)
        stopping.update(least, greatest, v if elsewhere is None else elsewhere.magnitude())
        if stopping.reason is not None:
            break
        v, tv = tv, v
        if between is not None:
            stopping.work += between(operator, v, greedy, contraction, stopping.gap)
    if elsewhere is not None:
        v = elsewhere.fetch(v)
    lower, upper = contraction.bounds(v, stopping.shifts)
    return Solution(
        mdp=model,
        method=method,
        values=lower + (upper - lower) / 2,
        lower=lower,
        upper=upper,
        policy=operator.labels(greedy),
        iterations=stopping.iterations,
        seconds=time.perf_counter() - started,
        tolerance=tol,
        reason=stopping.reason,
        history=stopping.history,
    )
