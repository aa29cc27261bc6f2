"""Distributional dynamic programming: projected backups of return laws, repeated to their fixed point.

Evaluation repeats eta <- Pi T^pi eta; control takes pi greedy in the means of eta in every sweep. Where Pi T^pi
contracts by c in a metric, a sweep that changed eta by d leaves it within c d / (1 - c) of the fixed point, and the
fixed point is within a bound of the representation's own of the return laws (Bellemare, Dabney & Rowland,
*Distributional Reinforcement Learning*, MIT Press 2023, chapter 5). In control both are said of the policy of the last
sweep, since the optimality operator contracts in no metric between laws; and sweeps end only where that policy is
greedy in the means of its own laws.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.backup import greedy_actions, policy_return_rows
from rlbook.tabular.distributional.exact_iteration import ExactIteration, absolute_returns
from rlbook.tabular.distributional.exact_laws import ExactLaws
from rlbook.tabular.distributional.laws import DiscreteLaws
from rlbook.tabular.distributional.repeated_sweeps import repeated_sweeps
from rlbook.tabular.distributional.representation import (
    Contracting,
    FusedEvaluation,
    KnownMeans,
    Representation,
    WassersteinBounded,
)
from rlbook.tabular.policies import as_stochastic
from rlbook.tabular.policy_rows import require_stored
from rlbook.tabular.solution import Reason

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP


@dataclass(frozen=True, eq=False)
class ReturnLaws:
    """The laws that dynamic programming found, one per state, and how near they are.

    laws: of the states. parameters: float64 (S, n_parameters), None for `ExactLaws`. policy: that of the last sweep,
    one probability per pair, (pairs,), for evaluation; greedy action labels, int32 (S,), for control. changes:
    (sweeps,), the largest distance over states by which each sweep moved the laws, in `metric` (largest change of a
    parameter where the representation knows no metric). remaining: a bound on the distance to the projected fixed
    point under `policy`, infinite where none is known. error_bounds: (S,), proven bounds on the distance from the
    return laws under `policy`, in `metric`; infinite where nothing is proven; rounding of sums left aside.
    wasserstein_bounds: (S,), the same in Wasserstein-1 distance, whatever the metric, and so bounds on the error of
    means, too. history: what stood before the first sweep and after each, as parameters or, for `ExactLaws`, as laws;
    empty unless kept.
    """

    mdp: FiniteMDP = field(repr=False)
    representation: Representation | ExactLaws
    laws: DiscreteLaws
    parameters: NDArray[np.float64] | None = field(repr=False)
    policy: NDArray[np.int32] | NDArray[np.float64] = field(repr=False)
    of_policy: bool
    metric: str
    changes: NDArray[np.float64] = field(repr=False)
    remaining: float
    error_bounds: NDArray[np.float64] = field(repr=False)
    wasserstein_bounds: NDArray[np.float64] = field(repr=False)
    reason: Reason
    seconds: float
    history: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def sweeps(self) -> int:
        return len(self.changes)

    @property
    def change(self) -> float:
        """The last sweep's change."""
        return float(self.changes[-1])

    @property
    def error_bound(self) -> float:
        """The largest of `error_bounds`."""
        return float(self.error_bounds.max())

    @property
    def converged(self) -> bool:
        return self.reason == "tolerance"

    def laws_after(self, sweep: int) -> DiscreteLaws:
        """The laws after so many sweeps, from 0; needs a kept history. Raises ParameterError for others."""
        if not 0 <= sweep < len(self.history):
            raise ParameterError(
                f"sweep is {sweep}, but the history holds {len(self.history)}; run return_laws with keep_history=True"
            )
        found = self.history[sweep]
        if isinstance(self.representation, ExactLaws):
            return found  # type: ignore[no-any-return]
        return self.representation.laws(found)


def return_laws(
    mdp: FiniteMDP,
    representation: Representation | ExactLaws,
    policy: ArrayLike | Literal["optimal"] | None = None,
    *,
    sweeps: int = 10_000,
    tolerance: float = 1e-6,
    keep_history: bool = False,
    cancel: NDArray[np.uint8] | None = None,
    progress: Callable[[float], None] | None = None,
) -> ReturnLaws:
    """Repeat projected backups, from the point mass at 0, until they are within `tolerance` of their fixed point.

    policy: as in `as_stochastic`; None or "optimal" for greedy in the means, where an action that is best but for
    rounding stays (`greedy_actions`). tolerance: on `remaining`, or, where no bound is known, on the change of one
    sweep; in the units of `metric`. sweeps: the most to make, at least 1. cancel: uint8 (1,), looked at after each
    sweep; what was reached is returned. progress: told the part of the sweeps done, and 1 at the end. Raises MDPError
    for a policy that is none, or at discount 1 where its episodes need not end; ParameterError for other arguments out
    of range.
    """
    require_stored(mdp, "dynamic programming of return laws")
    if not isinstance(representation, ExactLaws) and not hasattr(representation, "project"):
        raise ParameterError(
            f"representation is {representation!r}; give one, for example Quantiles(51), Categorical.covering(mdp, 51) "
            "or ExactLaws(1000)"
        )
    if isinstance(policy, str) and policy != "optimal":
        raise ParameterError(f"policy is {policy!r}; give a policy, or 'optimal' for greedy in the means")
    started = time.perf_counter()
    followed = None if isinstance(policy, str) else policy
    iteration: _Iteration
    if isinstance(representation, ExactLaws):
        iteration = ExactIteration(mdp, representation, followed)
    else:
        iteration = _ProjectedIteration(mdp, representation, followed)
    history = [iteration.snapshot()] if keep_history else []

    def sweep() -> float:
        change = iteration.sweep()
        if keep_history:
            history.append(iteration.snapshot())
        return change

    changes, reason = repeated_sweeps(
        sweep,
        lambda change: iteration.remaining(change) if iteration.proven else change,
        sweeps=sweeps,
        tolerance=tolerance,
        settled=iteration.settled,
        cancel=cancel,
        progress=progress,
    )
    return ReturnLaws(
        mdp=mdp,
        representation=representation,
        laws=iteration.laws,
        parameters=iteration.parameters,
        policy=iteration.policy,
        of_policy=followed is not None,
        metric=iteration.metric,
        changes=changes,
        remaining=iteration.remaining(changes[-1]),
        error_bounds=iteration.error_bounds(changes[-1]),
        wasserstein_bounds=iteration.wasserstein_bounds(changes[-1]),
        reason=reason,
        seconds=time.perf_counter() - started,
        history=tuple(history),
    )


class _Iteration(Protocol):
    """What the loop asks of either kind of sweeps."""

    @property
    def metric(self) -> str: ...
    @property
    def proven(self) -> bool: ...
    @property
    def laws(self) -> DiscreteLaws: ...
    @property
    def parameters(self) -> NDArray[np.float64] | None: ...
    @property
    def policy(self) -> NDArray[np.int32] | NDArray[np.float64]: ...
    def sweep(self) -> float: ...
    def settled(self) -> bool: ...
    def remaining(self, change: float) -> float: ...
    def error_bounds(self, change: float) -> NDArray[np.float64]: ...
    def wasserstein_bounds(self, change: float) -> NDArray[np.float64]: ...
    def snapshot(self) -> Any: ...


class _ProjectedIteration:
    """Projected backups of parameters, fused where the representation offers it."""

    def __init__(self, mdp: FiniteMDP, representation: Representation, policy: ArrayLike | None) -> None:
        self._mdp, self._representation = mdp, representation
        self.parameters = representation.initial(mdp.n_states)
        self._spare = np.empty_like(self.parameters)
        self._actions: NDArray[np.int32] | None = None
        if policy is None:
            policy = self._actions = self._greedy()
        self._weights = as_stochastic(mdp, policy)
        if mdp.discount >= 1 and self._actions is None:
            absolute_returns(mdp, self._weights)  # raises where episodes need not end, and there is no return
        self._fused = isinstance(representation, FusedEvaluation)
        self._rows = None if self._fused else policy_return_rows(mdp, self._weights)
        self._modulus = representation.modulus(mdp.discount) if isinstance(representation, Contracting) else 1.0
        self.proven = self._modulus < 1
        self.metric = representation.metric if isinstance(representation, Contracting) else "change of parameters"

    @property
    def laws(self) -> DiscreteLaws:
        return self._representation.laws(self.parameters)

    @property
    def policy(self) -> NDArray[np.int32] | NDArray[np.float64]:
        return self._weights if self._actions is None else self._actions

    def sweep(self) -> float:
        """One projected backup; returns how far it moved the laws, in `metric`."""
        old, new, by = self.parameters, self._spare, self._representation
        if self._actions is not None:
            self._follow(self._greedy())
        if isinstance(by, FusedEvaluation):
            by.evaluation_sweep(self._mdp, self._weights, old, new)
        elif self._rows is not None:
            new[:] = by.project(self._rows.backup(by.laws(old)))
        self.parameters, self._spare = new, old
        moved = by.distance(old, new) if isinstance(by, Contracting) else np.abs(new - old)
        return float(np.max(moved))

    def settled(self) -> bool:
        """Whether the policy is the one to follow from here, too."""
        return self._actions is None or bool(np.all(self._greedy() == self._actions))

    def remaining(self, change: float) -> float:
        return self._modulus / (1 - self._modulus) * change if self.proven else math.inf

    def error_bounds(self, change: float) -> NDArray[np.float64]:
        by = self._representation
        own = by.error_bound(self._mdp) if isinstance(by, Contracting) and self.proven else math.inf
        return np.full(self._mdp.n_states, own + self.remaining(change))

    def wasserstein_bounds(self, change: float) -> NDArray[np.float64]:
        by = self._representation
        bound = math.inf
        if isinstance(by, WassersteinBounded) and self.proven:
            bound = by.wasserstein_bound(self._mdp, self.remaining(change))
        return np.full(self._mdp.n_states, bound)

    def snapshot(self) -> NDArray[np.float64]:
        kept = self.parameters.copy()
        kept.setflags(write=False)
        return kept

    def _greedy(self) -> NDArray[np.int32]:
        by = self._representation
        means = by.means(self.parameters) if isinstance(by, KnownMeans) else self.laws.means()
        return greedy_actions(self._mdp, means, incumbent=self._actions)

    def _follow(self, policy: NDArray[np.int32]) -> None:
        if np.any(policy != self._actions):
            self._actions, self._weights = policy, as_stochastic(self._mdp, policy)
            self._rows = None if self._fused else policy_return_rows(self._mdp, self._weights)
