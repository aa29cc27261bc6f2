"""The loop that solvers by repeated backups share: back up, certify, stop or go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.bellman import backup_kernel, kernel_arguments, value_vector
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.solution import Solution
from rlbook.tabular.stopping import Stopping, check_stopping

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

    Between = Callable[[NDArray[np.float64], NDArray[np.int64], Contraction, float], None]


def certified_iteration(
    mdp: FiniteMDP,
    method: str,
    tol: float,
    *,
    initial_values: ArrayLike | None,
    max_iterations: int,
    cancel: NDArray[np.uint8] | None,
    between: Between | None = None,
) -> Solution:
    """Repeat v <- T v until `Stopping` says why to end; other arguments as in `value_iteration`.

    between: called after each backup with T v, (S,), which it may improve in place, a greedy pair per state, int64
    (S,), the contraction, and the certified gap.
    """
    started = time.perf_counter()
    check_stopping(tol, max_iterations, cancel)
    contraction = Contraction.of(mdp, cancel)
    stopping = Stopping(contraction, tol, max_iterations, cancel)
    v = np.zeros(mdp.n_states) if initial_values is None else value_vector(mdp, initial_values)
    tv = np.empty_like(v)
    greedy = np.empty(mdp.n_states, dtype=np.int64)
    backup, arguments = backup_kernel(mdp), kernel_arguments(mdp)
    while True:
        least, greatest = backup(*arguments, v, tv, greedy)
        stopping.update(least, greatest, v)
        if stopping.reason is not None:
            break
        v, tv = tv, v
        if between is not None:
            between(v, greedy, contraction, stopping.gap)
    lower, upper = contraction.bounds(v, stopping.shifts)
    return Solution(
        mdp=mdp,
        method=method,
        values=lower + (upper - lower) / 2,
        lower=lower,
        upper=upper,
        policy=mdp.action[greedy],
        iterations=stopping.iterations,
        seconds=time.perf_counter() - started,
        tolerance=tol,
        reason=stopping.reason,
        history=stopping.history,
    )
