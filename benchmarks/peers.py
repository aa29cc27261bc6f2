"""The solvers of the race behind one interface, rlbook's own and those of QuantEcon.py, mdpsolver and mdptoolbox-hiive.

What each takes for its tolerance, read from its documentation and source:

- rlbook: the certified gap between lower and upper bound; the values lie in its middle.
- QuantEcon.py's epsilon: value iteration stops at |T v - v| < epsilon (1 - b) / (2 b), modified policy iteration at
  span(T v - v) < epsilon (1 - b) / b and shifts to the middle, so both are within epsilon / 2 of v*: a gap of epsilon.
- mdpsolver's tolerance: the same rule on the span (half of it on the norm with Gauss-Seidel updates), then the lower
  end of the bounds: within epsilon of v*, a gap of epsilon. It goes on from its last result when it is called again, so
  each repetition gets a model built anew.
- mdptoolbox's epsilon: the same rule on the span, but no shift, so that its values may be off by any constant; they are
  shifted here, after the clock has stopped. Gauss-Seidel changes stop by the same rule, which then proves nothing.

Left out is mdpsolver's value iteration with Gauss-Seidel updates: it never stopped, on 400 states either.

Policy iteration and linear programming of all of them end at an exact solution but for rounding. Building models is not
timed for anyone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.conversion import Rows, as_lists, as_matrices, rows_of
from rlbook.mdp import FiniteMDP

MOST_ITERATIONS = 100_000_000
LARGEST_DENSE = 2e9  # bytes of a dense matrix that a peer is given


class DoesNotApply(Exception):
    """The method cannot be run on this MDP; the text says why."""


class Runner(Protocol):
    """A solver with its model in place."""

    def ready(self) -> None:
        """Go back to where nothing is solved yet; not timed."""

    def solve(self) -> None:
        """What is timed."""

    def values(self) -> NDArray[np.float64]:
        """Optimal values as the last `solve` left them, (S,); not timed."""

    def detail(self) -> str:
        """What the solver says about its last run, in a few words."""


@dataclass(frozen=True)
class Solver:
    """A method of a library. `prepare` builds its model for an MDP and a tolerance; needs `package` installed."""

    library: str
    method: str
    package: str
    prepare: Callable[[FiniteMDP, float], Runner]

    @property
    def who(self) -> str:
        return f"{self.library} {self.method}"

    @property
    def ours(self) -> bool:
        return self.library == "rlbook"


class OurRunner:
    def __init__(self, method: str, mdp: FiniteMDP, tol: float) -> None:
        self._mdp, self._tol, self._method = mdp, tol, method

    def ready(self) -> None:
        # A copy that shares the arrays, so that nothing computed for the last run is found again.
        self._fresh = self._mdp.replace(discount=self._mdp.discount)

    def solve(self) -> None:
        from rlbook.tabular import solve

        self.solution = solve(self._fresh, self._tol, method=self._method)

    def values(self) -> NDArray[np.float64]:
        return self.solution.values

    def detail(self) -> str:
        chosen = f"{self.solution.method}, " if self._method == "auto" else ""
        return f"{chosen}gap {self.solution.gap:.1e}" + ("" if self.solution.converged else f", {self.solution.reason}")


class QuantEconRunner:
    def __init__(self, method: str, mdp: FiniteMDP, tol: float) -> None:
        from quantecon.markov import DiscreteDP

        rows = rows_of(mdp)
        matrix: Any = rows.transition
        dense_bytes = 8.0 * len(rows.reward) * rows.n_states
        if method == "linear_programming" or rows.density > 0.5:
            if dense_bytes > LARGEST_DENSE:
                raise DoesNotApply(f"needs a dense matrix of {dense_bytes / 1e9:.3g} GB")
            matrix = matrix.toarray()
        self._model = DiscreteDP(rows.reward, matrix, rows.discount, rows.state, rows.action)
        # Its policy iteration may go round among equally good policies until its own limit of 250 iterations ends it.
        limit = None if method == "policy_iteration" else MOST_ITERATIONS
        self._options = {"method": method, "epsilon": tol, "max_iter": limit}
        self._states = mdp.n_states

    def ready(self) -> None:
        """Nothing is kept between calls."""

    def solve(self) -> None:
        self._result = self._model.solve(**self._options)

    def values(self) -> NDArray[np.float64]:
        return np.asarray(self._result.v[: self._states])

    def detail(self) -> str:
        return f"{self._result.num_iter} iterations"


class MdpsolverRunner:
    def __init__(self, algorithm: str, update: str, mdp: FiniteMDP, tol: float) -> None:
        # rlbook sets this for its own threads; a peer's are to wait as they would without it.
        os.environ.pop("OMP_WAIT_POLICY", None)
        import mdpsolver

        self._module, self._states = mdpsolver, mdp.n_states
        self._lists = as_lists(rows_of(mdp))
        self._discount = mdp.discount
        self._options = {"algorithm": algorithm, "update": update, "tolerance": tol}

    def ready(self) -> None:
        self._model = self._module.model()
        self._model.mdp(discount=self._discount, **self._lists)

    def solve(self) -> None:
        self._model.solve(**self._options)

    def values(self) -> NDArray[np.float64]:
        return np.array(self._model.getValueVector())[: self._states]

    def detail(self) -> str:
        return ""


class MdptoolboxRunner:
    def __init__(self, method: str, mdp: FiniteMDP, tol: float) -> None:
        from hiive.mdptoolbox import mdp as toolbox

        self._rows: Rows = rows_of(mdp)
        matrices, reward = as_matrices(self._rows)
        options = {} if method == "PolicyIteration" else {"epsilon": tol}
        self._make = partial(
            getattr(toolbox, method), matrices, reward, self._rows.discount, skip_check=True, **options
        )
        self._shift = method != "PolicyIteration"
        self._states = mdp.n_states

    def ready(self) -> None:
        self._model = self._make()

    def solve(self) -> None:
        self._model.run()

    def values(self) -> NDArray[np.float64]:
        found = np.asarray(self._model.V, dtype=np.float64).ravel()
        return (self._rows.shifted(found) if self._shift else found)[: self._states]

    def detail(self) -> str:
        return f"{self._model.iter} iterations"


def ours(method: str) -> Solver:
    """One of rlbook's methods, or "auto"."""
    return Solver("rlbook", "solve" if method == "auto" else method, "rlbook", partial(OurRunner, method))


def our_solvers() -> list[Solver]:
    """`solve` as it chooses by itself, then every method by name."""
    from rlbook.tabular import METHODS

    return [ours(method) for method in ("auto", *METHODS)]


PEERS: tuple[Solver, ...] = (
    *(
        Solver("QuantEcon.py", method, "quantecon", partial(QuantEconRunner, method))
        for method in ("value_iteration", "modified_policy_iteration", "policy_iteration", "linear_programming")
    ),
    *(
        Solver("mdpsolver", algorithm + suffix, "mdpsolver", partial(MdpsolverRunner, algorithm, update))
        for algorithm, update, suffix in (
            ("vi", "standard", ""),
            ("mpi", "standard", ""),
            ("mpi", "gs", ", Gauss-Seidel"),
            ("pi", "standard", ""),
        )
    ),
    *(
        Solver("mdptoolbox", method, "mdptoolbox-hiive", partial(MdptoolboxRunner, method))
        for method in ("ValueIteration", "ValueIterationGS", "PolicyIterationModified", "PolicyIteration")
    ),
)
