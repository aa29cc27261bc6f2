"""Value iteration: v <- T v until the certified gap closes (Bellman 1957; Puterman 1994, section 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.operator import Model
    from rlbook.tabular.solution import Solution


def value_iteration(
    model: Model,
    tol: float = DEFAULT_TOLERANCE,
    *,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 1_000_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """Solve an MDP, stored or not, by synchronous (Jacobi) value iteration, stopped by the bounds of `certificate`.

    tol: target for the certified gap, in units of return, not negative. initial_values: (S,), zeros by default.
    cancel: a uint8 flag, shape (1,), polled after each sweep. At discount 1 episodes must end under every policy.
    Raises MDPError for values out of range or where no bound exists, and Cancelled where the flag is set before
    there is any.
    """
    return certified_iteration(
        model,
        "value-iteration",
        tol,
        initial_values=initial_values,
        max_iterations=max_iterations,
        cancel=cancel,
    )
