"""Modified policy iteration: between two backups, several cheap sweeps under the greedy policy.

    v <- (T_pi)^m T v,  pi greedy for v        (Puterman & Shin 1978; Puterman 1994, section 6.5)

The rows of the greedy policy are gathered first, so that an inner sweep reads S rows instead of all pairs. The
number m adapts: inner sweeps stop once the gap that their changes imply is a small part of the last certified one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.bellman import backup_kernel, kernel_arguments, value_vector
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.policy_sweeps import GreedyRows
from rlbook.tabular.solution import Solution
from rlbook.tabular.stopping import DEFAULT_TOLERANCE, Stopping, check_stopping

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_INNER_FRACTION = 0.02  # inner sweeps stop once the gap they leave is this part of the backup's
_MOST_INNER = 1_000


def modified_policy_iteration(
    mdp: FiniteMDP,
    tol: float = DEFAULT_TOLERANCE,
    *,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 100_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """Solve an MDP by modified policy iteration; arguments, bounds and errors as in `value_iteration`.

    `iterations` counts backups over all pairs; inner sweeps are not counted.
    """
    started = time.perf_counter()
    check_stopping(tol, max_iterations, cancel)
    contraction = Contraction.of(mdp, cancel)
    stopping = Stopping(contraction, tol, max_iterations, cancel)
    states = mdp.n_states
    v = np.zeros(states) if initial_values is None else value_vector(mdp, initial_values)
    tv = np.empty(states)
    greedy = np.empty(states, dtype=np.int64)
    rows = GreedyRows(mdp)
    backup, arguments = backup_kernel(mdp), kernel_arguments(mdp)
    while True:
        least, greatest = backup(*arguments, v, tv, greedy)
        stopping.update(least, greatest, v)
        if stopping.reason is not None:
            break
        v, tv = tv, v
        rows.gather(greedy)
        goal = _INNER_FRACTION * stopping.gap
        rows.sweep(v, contraction.gap_weights, goal, _MOST_INNER, cancel)
    lower, upper = contraction.bounds(v, stopping.shifts)
    return Solution(
        mdp=mdp,
        method="modified-policy-iteration",
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
