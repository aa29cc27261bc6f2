"""Modified policy iteration: between two backups, several cheap sweeps under the greedy policy.

    v <- (T_pi)^m T v,  pi greedy for v        (Puterman & Shin 1978; Puterman 1994, section 6.5)

The rows of the greedy policy are gathered first, so that an inner sweep reads S rows instead of all pairs. The
number m adapts: inner sweeps stop once the gap that their changes imply is a small part of the last certified one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.certificate import Contraction
    from rlbook.tabular.operator import BellmanOperator, Model, PolicySweeps
    from rlbook.tabular.solution import Solution

_INNER_FRACTION = 0.02  # inner sweeps stop once the gap they leave is this part of the backup's
_MOST_INNER = 1_000


def modified_policy_iteration(
    model: Model,
    tol: float = DEFAULT_TOLERANCE,
    *,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 100_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """Solve an MDP by modified policy iteration; arguments, bounds and errors as in `value_iteration`.

    `iterations` counts backups over all pairs; inner sweeps are not counted.
    """
    rows: PolicySweeps | None = None

    def sweep(
        operator: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        nonlocal rows
        rows = rows or operator.policy_sweeps()
        rows.gather(greedy)
        return rows.cost * rows.sweep(v, contraction.gap_weights, _INNER_FRACTION * gap, _MOST_INNER, cancel)

    return certified_iteration(
        model,
        "modified-policy-iteration",
        tol,
        initial_values=initial_values,
        max_iterations=max_iterations,
        cancel=cancel,
        between=sweep,
    )
