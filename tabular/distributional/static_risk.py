"""Policies of least static risk: of the risk of the whole return, seen from the start.

    min over policies of risk(-G) = min_v W(v),    W(v) = h(min over policies of E f(-G, v), v)

The inner minimum is backward induction on states and returns so far (`augmented_risk.py`), for policies that may look
at the whole history. W is not convex, so v is searched for by branch and bound: each interval of v has a lower bound
(`ConvexScoring.floor`), the lowest is split next, and what stays below the best policy found is the proof's gap.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.augmented_risk import AugmentedReturns, Policy
from rlbook.tabular.distributional.convex_scoring import ConvexScoring
from rlbook.tabular.distributional.laws import DiscreteLaws
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class StaticRiskSolution:
    """A policy, its risk, and how much less any policy could have; in units of the scoring.

    risk: of the policy's own law, exactly. lower: no policy has less, both on the lattice of returns. shift: by how
    much either can differ from the same numbers without rounding of returns, 0 where there is none. auxiliary: the v
    that the policy is best for. law: of the return from the start. tried, scored: (solves,), every v and W(v), or a
    number below it where scores do not fit doubles.
    """

    augmented: AugmentedReturns = field(repr=False)
    scoring: ConvexScoring
    risk: float
    lower: float
    shift: float
    auxiliary: float
    policy: Policy = field(repr=False)
    law: DiscreteLaws
    tried: NDArray[np.float64] = field(repr=False)
    scored: NDArray[np.float64] = field(repr=False)
    reason: Literal["tolerance", "solve limit", "floating point"]
    seconds: float

    @property
    def gap(self) -> float:
        return self.risk - self.lower


def minimal_static_risk(
    augmented: AugmentedReturns,
    scoring: ConvexScoring,
    *,
    tolerance: float = 1e-6,
    most_solves: int = 2000,
    cancel: NDArray[np.uint8] | None = None,
    progress: Callable[[float], None] | None = None,
) -> StaticRiskSolution:
    """A policy, among all that may look at the whole history, whose risk is within `tolerance` of the least.

    For the entropic value at risk a millionth of divergence * (largest cost - least cost) may stay as a gap, where the
    level is below the chance of the worst cost and v would have to grow without end. tolerance: 0 or more, in units of
    the scoring. most_solves: how many v to try at most. cancel: uint8 (1,), looked at between stages. progress: told
    the part of `most_solves` done. Raises Cancelled, and ParameterError for arguments out of range.
    """
    if not isinstance(tolerance, Real) or not 0 <= tolerance < math.inf:
        raise ParameterError(f"tolerance is {tolerance!r}; give a finite number, 0 or more")
    require_whole("most_solves", most_solves, 2, 2**40)  # both ends of the range of v are tried
    search = _Search(augmented, scoring, cancel)
    costs = augmented.final_costs
    a, b = scoring.range(float(costs[0]), float(costs[-1]))
    at_a = search.solve(a)
    at_b = search.solve(b) if b > a else at_a
    beyond = scoring.beyond(b, at_b) if b > a else math.inf
    heap = [(*_floor(scoring, costs, a, at_a, b, at_b), a, at_a, b, at_b)] if b > a else []
    reason: Literal["tolerance", "solve limit", "floating point"] = "tolerance"
    while heap and heap[0][0] < search.risk - tolerance:
        if len(search.tried) >= most_solves:
            reason = "solve limit"
            break
        _, v, a, at_a, b, at_b = heap[0]
        if not a < v < b:
            reason = "floating point"
            break
        heapq.heappop(heap)
        at_v = search.solve(v)
        for piece in ((a, at_a, v, at_v), (v, at_v, b, at_b)):
            heapq.heappush(heap, (*_floor(scoring, costs, *piece), *piece))
        if progress is not None:
            progress(len(search.tried) / most_solves)
    lower = min(search.risk, beyond, heap[0][0] if heap else math.inf)
    if reason == "tolerance" and lower < search.risk - tolerance:
        reason = "floating point"
    width = float(costs[-1] - costs[0])
    return StaticRiskSolution(
        augmented,
        scoring,
        search.risk,
        lower,
        scoring.shift(augmented.rounding, width),
        search.auxiliary,
        search.policy,
        search.law,
        np.array(search.tried),
        np.array(search.scored),
        reason,
        time.perf_counter() - search.started,
    )


@dataclass(frozen=True, eq=False)
class Alternation:
    """v, the policy that is best for it, the v that is best for that policy's law, and so on.

    auxiliaries, risks: (turns,), each v and the risk of the policy found for it, which never rises. policy, law: the
    last ones.
    """

    auxiliaries: NDArray[np.float64]
    risks: NDArray[np.float64]
    policy: Policy = field(repr=False)
    law: DiscreteLaws

    @property
    def risk(self) -> float:
        return float(self.risks[-1])


def alternating_minimisation(
    augmented: AugmentedReturns,
    scoring: ConvexScoring,
    start: float,
    *,
    most_turns: int = 100,
    cancel: NDArray[np.uint8] | None = None,
) -> Alternation:
    """Minimise over the policy and over v in turn, from v = start, until the risk no longer falls.

    It ends, since there are finitely many deterministic policies, but where neither step alone leads further, which
    need not be the least risk: hence starts are sampled (Han, Liu & Yu 2025 sample v as they learn; their scheme could
    not be read, and this is its plain form). most_turns: at least 1.
    """
    require_whole("most_turns", most_turns, 1, 2**40)
    if not isinstance(start, Real) or not math.isfinite(start):
        raise ParameterError(f"start is {start!r}; give a finite v")
    search = _Search(augmented, scoring, cancel)
    costs = augmented.final_costs
    low, high = scoring.range(float(costs[0]), float(costs[-1]))
    v = min(max(float(start), low), high)
    auxiliaries: list[float] = []
    risks: list[float] = []
    while len(risks) < most_turns:
        search.solve(v)
        auxiliaries.append(v)
        risks.append(search.risk)
        if len(risks) > 1 and risks[-1] >= risks[-2]:
            break
        v = min(max(float(scoring.best(search.law)[0]), low), high)
        if v == auxiliaries[-1]:
            break
    return Alternation(np.array(auxiliaries), np.array(risks), search.policy, search.law)


class _Search:
    """Inner problems solved so far, and the policy of least risk among theirs."""

    def __init__(self, augmented: AugmentedReturns, scoring: ConvexScoring, cancel: NDArray[np.uint8] | None) -> None:
        if not hasattr(scoring, "scores"):
            raise ParameterError(
                f"scoring is {scoring!r}; give a convex scoring function, for example ShortfallScore(0.1)"
            )
        self._augmented, self._scoring, self._cancel = augmented, scoring, cancel
        self._top = float(augmented.final_costs[-1])
        self.started = time.perf_counter()
        self.tried: list[float] = []
        self.scored: list[float] = []
        self.risk, self.auxiliary = math.inf, math.nan
        self.policy: Policy = ()
        self.law: DiscreteLaws

    def solve(self, v: float) -> float:
        """W(v)."""
        scoring, found = self._scoring, -math.inf
        while found == -math.inf:  # scores vanished: the policy is far better than what they were taken about
            about = min(self._top, self.risk)
            score, policy = self._augmented.minimise(partial(scoring.scores, v=v, about=about), self._cancel)
            found = scoring.risk(score, v, about)
            law = self._augmented.law(policy)
            risk = float(scoring.of(law)[0])
            if risk < self.risk:
                self.risk, self.auxiliary, self.policy, self.law = risk, v, policy, law
        self.tried.append(v)
        self.scored.append(found)
        return found


def _floor(
    scoring: ConvexScoring, costs: NDArray[np.float64], a: float, at_a: float, b: float, at_b: float
) -> tuple[float, float]:
    """A lower bound of the risk on [a, b], and where to look next within it."""
    bound, v = scoring.floor(a, at_a, b, at_b, float(costs[-1] - costs[0]))
    if not scoring.at_atoms:
        return bound, v if a < v < b else 0.5 * (a + b)
    first, end = np.searchsorted(costs, a, side="right"), np.searchsorted(costs, b, side="left")
    if first >= end:
        return min(at_a, at_b), 0.5 * (a + b)
    inside = costs[first:end]
    return bound, float(inside[np.argmin(np.abs(inside - v))])
