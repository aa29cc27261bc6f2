"""Value iteration: v <- T v until the certified gap closes (Bellman 1957; Puterman 1994, section 6.3)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.bellman import backup_kernel, kernel_arguments, value_vector
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.solution import Solution
from rlbook.tabular.stopping import DEFAULT_TOLERANCE, Stopping, check_stopping

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP


def value_iteration(
    mdp: FiniteMDP,
    tol: float = DEFAULT_TOLERANCE,
    *,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 1_000_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """Solve an MDP by synchronous (Jacobi) value iteration with the bounds of `certificate` as stopping rule.

    tol: target for the certified gap, in units of return, not negative. initial_values: (S,), zeros by default.
    cancel: a uint8 flag, shape (1,), polled after each sweep. At discount 1 episodes must end under every policy.
    Raises MDPError for values out of range or where no bound exists, and Cancelled where the flag is set before
    there is any.
    """
    started = time.perf_counter()
    check_stopping(tol, max_iterations, cancel)
    contraction = Contraction.of(mdp, cancel)
    stopping = Stopping(contraction, tol, max_iterations, cancel)
    v = np.zeros(mdp.n_states) if initial_values is None else value_vector(mdp, initial_values)
    tv = np.empty_like(v)
    greedy = np.empty(mdp.n_states, dtype=np.int64)
    run, arguments = backup_kernel(mdp), kernel_arguments(mdp)
    while True:
        least, greatest = run(*arguments, v, tv, greedy)
        stopping.update(least, greatest, v)
        if stopping.reason is not None:
            break
        v, tv = tv, v
    lower, upper = contraction.bounds(v, stopping.shifts)
    return Solution(
        mdp=mdp,
        method="value-iteration",
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
