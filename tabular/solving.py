"""`solve`: every solver under one name, chosen by the reader or by what the MDP is like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rlbook.errors import UnknownNameError
from rlbook.tabular.modified_policy_iteration import modified_policy_iteration
from rlbook.tabular.stopping import DEFAULT_TOLERANCE
from rlbook.tabular.value_iteration import value_iteration

if TYPE_CHECKING:
    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.solution import Solution

# A new solver is one file with the signature of `value_iteration`, and one row here.
METHODS: dict[str, Callable[..., Solution]] = {
    "value-iteration": value_iteration,
    "modified-policy-iteration": modified_policy_iteration,
}


def solve(mdp: FiniteMDP, tol: float = DEFAULT_TOLERANCE, *, method: str = "auto", **options: Any) -> Solution:
    """Solve an MDP to a certified gap of `tol`, in units of return.

    method: a name of `METHODS`, or "auto". Raises UnknownNameError for another name, MDPError where the method does not
    apply.
    """
    if method == "auto":
        method = "modified-policy-iteration"
    if method not in METHODS:
        raise UnknownNameError("method", method, [*METHODS, "auto"])
    return METHODS[method](mdp, tol, **options)
