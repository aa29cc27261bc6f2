"""Inexact policy iteration: each policy is evaluated only as well as the last certified gap calls for.

    (I - discount P_pi) v = r_pi  up to a residual,  then  pi greedy for v

Policy iteration is Newton's method on T v = v (Puterman & Brumelle 1979), and inexact policy iteration is an inexact
Newton method (Gargiani, Liao-McPherson, Zanelli & Lygeros 2024). How far the residual must fall is a *forcing sequence*
(Eisenstat & Walker 1996, choice 2): a fixed part of the square of how much the gap fell last time, so that far from the
optimum no policy is evaluated better than it deserves, and near it convergence is faster than linear.

*The inner solver* is BiCGSTAB with a safeguard (`krylov`). *The outer loop* has one too: an evaluation after which the
gap is no new record is a failure, and each ten failures add one plain backup to those that follow every further
failure. An evaluation moves v away from v* by at most a constant factor (2 discount / (1 - discount), and what the
inner residual allows), and plain backups contract; so once they outweigh that factor, every further failure ends closer
to v* than it began. Hence it converges from anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.krylov import SafeguardedEvaluation
from rlbook.tabular.policy_iteration import sweep_both_ways, sweeps_worth
from rlbook.tabular.policy_rows import policy_rows, require_stored
from rlbook.tabular.solution import Solution
from rlbook.tabular.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.certificate import Contraction
    from rlbook.tabular.operator import BellmanOperator

_FIRST_FORCING, _LEAST_FORCING, _FORCING_FACTOR = 0.05, 1e-4, 0.9
_RECORD = 0.99
_FAILURES_PER_BACKUP = 10  # policy iteration at its best sets no record at every step


@dataclass(frozen=True, eq=False)
class InexactPolicyIterationSolution(Solution):
    """A `Solution` that also says how each policy was evaluated, one entry per evaluation.

    sweeps: int64, the cost of an evaluation in sweeps over the policy's rows. krylov: what became of BiCGSTAB's result:
    "accepted", "rejected" (then plain sweeps were done instead), or "not tried".
    """

    sweeps: NDArray[np.int64] = field(kw_only=True, repr=False)
    krylov: tuple[str, ...] = field(kw_only=True, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The summary of a `Solution`, and how many of BiCGSTAB's results were accepted and rejected."""
        return {
            **super().to_json(),
            "krylov_accepted": self.krylov.count("accepted"),
            "krylov_rejected": self.krylov.count("rejected"),
        }


def inexact_policy_iteration(
    mdp: FiniteMDP,
    tol: float = DEFAULT_TOLERANCE,
    *,
    krylov: Literal["preconditioned", "plain"] = "preconditioned",
    initial_values: ArrayLike | None = None,
    max_iterations: int = 100_000,
    cancel: NDArray[np.uint8] | None = None,
) -> InexactPolicyIterationSolution:
    """Solve a stored MDP by inexact policy iteration; bounds, further arguments and errors as in `value_iteration`.

    krylov: whether BiCGSTAB is preconditioned by incomplete factors; "plain" is there to be looked at.
    `iterations` counts backups over all pairs.
    Memory: two copies of the policy's rows, and about fifteen vectors.
    """
    require_stored(mdp, "inexact-policy-iteration")
    if krylov not in ("preconditioned", "plain"):
        raise MDPError(f"krylov is {krylov!r}; choose 'preconditioned' or 'plain'")
    evaluate: SafeguardedEvaluation | None = None
    forcing, previous, record = _FIRST_FORCING, math.inf, math.inf
    evaluated = False
    failures = plain = 0  # plain: backups until the next evaluation
    planned = 0  # in-place backups before it
    sweeps: list[int] = []
    outcomes: list[str] = []

    def between(
        operator: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        nonlocal evaluate, evaluated, forcing, previous, record, failures, plain, planned
        evaluate = evaluate or SafeguardedEvaluation(contraction, preconditioned=krylov == "preconditioned")
        fallen = gap / previous
        forcing = min(max(_FORCING_FACTOR * fallen * fallen, _LEAST_FORCING), _FIRST_FORCING)
        previous = gap
        if gap < _RECORD * record:
            record = gap
        elif evaluated:
            failures += 1
            plain += failures // _FAILURES_PER_BACKUP
        evaluated = plain == 0 and planned == 0
        if plain > 0:
            plain -= 1
            return 0.0
        if planned > 0:
            work, planned = sweep_both_ways(mdp, v, greedy, planned), 0
            return work
        rows = policy_rows(mdp, greedy)
        found = evaluate(rows, v, forcing * gap, cancel)
        v[:] = found.values
        sweeps.append(found.sweeps)
        outcomes.append(found.krylov)
        work = found.sweeps * len(rows.mass) / max(mdp.n_transitions, 1)
        planned = sweeps_worth(work)
        return work

    solution = certified_iteration(
        mdp,
        "inexact-policy-iteration",
        tol,
        initial_values=initial_values,
        max_iterations=max_iterations,
        cancel=cancel,
        between=between,
    )
    return InexactPolicyIterationSolution(
        **{item.name: getattr(solution, item.name) for item in fields(Solution)},
        sweeps=np.array(sweeps, dtype=np.int64),
        krylov=tuple(outcomes),
    )
