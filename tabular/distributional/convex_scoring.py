"""Convex scoring functions: risks that are minima over one number, and so become expectations of a score.

A risk of a cost Y = -G is written as

    risk(Y) = min_v h(E f(Y, v), v),      h rising in its first argument

and then the policy that is best for one v minimises an expectation of a function of the whole cost (`static_risk.py`):

    variance, weighted            f = m y + a (y - v)^2              h = x            v is the mean
    expected shortfall, level u   f = v + max(y - v, 0) / u          h = x            v is the value at risk
    with the mean, weight w       f = (1 - w) y + w (the line above)
    entropic value at risk        f = exp(v y), v > 0                h = (log x - log u) / v

Rockafellar & Uryasev, "Optimization of Conditional Value-at-Risk" (2000); Ahmadi-Javid, "Entropic Value-at-Risk: A New
Coherent Risk Measure" (2012); the form with f and h is that of Han, Liu & Yu, "Risk-sensitive Reinforcement Learning
Based on Convex Scoring Functions" (2025), of which we could read the abstract and a summary of its Bellman equation,
not the tables: f and h are written here so that they give the measures of `risk_measures.py`, with the sign turned, as
a test says.

`floor` bounds the best risk over an interval of v from the best risks at its ends. It is what lets the search over v
end with a proof, although the best risk is no convex function of v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.risk_measures import EntropicValueAtRisk, ExpectedShortfall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.distributional.laws import DiscreteLaws

_LARGEST_EXPONENT = 690.0  # exp of it is a double
_FARTHEST = 1e6  # v of an entropic score, in units of 1 / (largest cost - least cost)


class ConvexScoring(Protocol):
    """What the search over v asks of a risk. `about` is a cost near which the risk is thought to be, or above it.

    at_atoms: whether some best v is a possible cost. scores: f, over costs of any shape. risk: h, or a number below it,
    minus infinity included, where doubles end. range: an interval that holds the best v of any law on [low, high], but
    for what `beyond` bounds from below. floor: a lower bound on the best risk over [a, b] and a place to look next,
    from the best risks at both ends, or numbers below them, for costs within `width` of each other. best: a minimising
    v for each law. of: the risk of each law. shift: by how much the risk can change where every cost moves by at most
    `error`, among costs within `width` of each other.
    """

    at_atoms: ClassVar[bool]

    def scores(self, cost: NDArray[np.float64], v: float, about: float) -> NDArray[np.float64]: ...
    def risk(self, mean_score: float, v: float, about: float) -> float: ...
    def range(self, low: float, high: float) -> tuple[float, float]: ...
    def beyond(self, b: float, at_b: float) -> float: ...
    def floor(self, a: float, at_a: float, b: float, at_b: float, width: float) -> tuple[float, float]: ...
    def best(self, laws: DiscreteLaws) -> NDArray[np.float64]: ...
    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]: ...
    def shift(self, error: float, width: float) -> float: ...


@dataclass(frozen=True)
class VarianceScore:
    """mean_weight E[Y] + aversion Var(Y), both weights 0 or more, not both 0; the variance alone by default.

    In units of return for the first weight, squared units for the second.
    """

    mean_weight: float = 0.0
    aversion: float = 1.0
    at_atoms: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("mean_weight", "aversion"):
            weight: float = getattr(self, name)
            if not isinstance(weight, Real) or not 0 <= weight < math.inf:
                raise ParameterError(f"{name} is {weight!r}; give a finite number, 0 or more")
        if self.mean_weight == self.aversion == 0:
            raise ParameterError("mean_weight and aversion are both 0, which asks for nothing; make one positive")

    def scores(self, cost: NDArray[np.float64], v: float, about: float) -> NDArray[np.float64]:
        return self.mean_weight * cost + self.aversion * (cost - v) ** 2

    def risk(self, mean_score: float, v: float, about: float) -> float:
        return mean_score

    def range(self, low: float, high: float) -> tuple[float, float]:
        return low, high

    def beyond(self, b: float, at_b: float) -> float:
        return math.inf

    def floor(self, a: float, at_a: float, b: float, at_b: float, width: float) -> tuple[float, float]:
        # Less aversion v^2, what each policy costs is a line in v, so the least of them is concave: above its chord.
        weight = self.aversion
        left, right = at_a - weight * a * a, at_b - weight * b * b
        slope = (right - left) / (b - a)
        v = min(max(-slope / (2 * weight), a), b) if weight > 0 else a
        if not a < v < b:
            return min(at_a, at_b), 0.5 * (a + b)
        return weight * v * v + left + slope * (v - a), v

    def best(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return -laws.means()

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return -self.mean_weight * laws.means() + self.aversion * laws.variances()

    def shift(self, error: float, width: float) -> float:
        # Standard deviations move by at most `error`, and are at most half the width.
        return self.mean_weight * error + self.aversion * error * (width + error)


@dataclass(frozen=True)
class ShortfallScore:
    """(1 - weight) E[Y] + weight ES(Y): the mean cost of the worst share `level`, mixed with the mean of all.

    level: in (0, 1]; weight: in [0, 1]. In units of return.
    """

    level: float
    weight: float = 1.0
    at_atoms: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.level, Real) or not 0 < self.level <= 1:
            raise ParameterError(f"level is {self.level!r}, but it is a share of the worst; give a number in (0, 1]")
        if not isinstance(self.weight, Real) or not 0 <= self.weight <= 1:
            raise ParameterError(f"weight is {self.weight!r}, but it mixes with the mean; give a number in [0, 1]")

    def scores(self, cost: NDArray[np.float64], v: float, about: float) -> NDArray[np.float64]:
        return (1 - self.weight) * cost + self.weight * (v + np.maximum(cost - v, 0.0) / self.level)

    def risk(self, mean_score: float, v: float, about: float) -> float:
        return mean_score

    def range(self, low: float, high: float) -> tuple[float, float]:
        return low, high

    def beyond(self, b: float, at_b: float) -> float:
        return math.inf

    def floor(self, a: float, at_a: float, b: float, at_b: float, width: float) -> tuple[float, float]:
        # As v grows, the score of each cost falls by at most `fall` and rises by at most `rise`.
        fall, rise = self.weight * (1 / self.level - 1), self.weight
        if fall + rise == 0:
            return min(at_a, at_b), 0.5 * (a + b)
        v = (at_a - at_b + fall * a + rise * b) / (fall + rise)
        v = min(max(v, a), b)
        return min(at_a - fall * (v - a), at_a, at_b), v

    def best(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return -laws.quantiles([self.level])[:, 0]

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return -(1 - self.weight) * laws.means() - self.weight * ExpectedShortfall(self.level).of(laws)

    def shift(self, error: float, width: float) -> float:
        return error


@dataclass(frozen=True)
class EntropicScore:
    """EVaR(Y), the entropic value at risk of the cost; level: in (0, 1). In units of return; v in their inverse."""

    level: float
    at_atoms: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.level, Real) or not 0 < self.level < 1:
            raise ParameterError(
                f"level is {self.level!r}; give a number in (0, 1): at 1 the measure is the mean, and no v attains it"
            )

    @property
    def divergence(self) -> float:
        """-log level, in nats: how far the law may be bent towards the worst."""
        return -math.log(self.level)

    def scores(self, cost: NDArray[np.float64], v: float, about: float) -> NDArray[np.float64]:
        # What is capped, or vanishes, makes the expected score too small: what follows is then a bound from below.
        return np.asarray(np.exp(np.minimum(v * (cost - about), _LARGEST_EXPONENT)))

    def risk(self, mean_score: float, v: float, about: float) -> float:
        if mean_score <= 0:
            return -math.inf
        return about + (math.log(mean_score) + self.divergence) / v

    def range(self, low: float, high: float) -> tuple[float, float]:
        # Below the first end the risk is above `high`; what is lost above the second, `beyond` tells.
        width = high - low
        return (self.divergence / width, _FARTHEST / width) if width > 0 else (1.0, 1.0)

    def beyond(self, b: float, at_b: float) -> float:
        # (log E exp(v Y)) / v never falls with v, whatever the law.
        return at_b - self.divergence / b

    def floor(self, a: float, at_a: float, b: float, at_b: float, width: float) -> tuple[float, float]:
        # n(v) = v times the risk is log E exp(v Y) + divergence: its second derivative is a variance, at most
        # width^2 / 4, so it is above the chord of its least values at a and b less (v - a) (b - v) width^2 / 8.
        bend = width**2 / 8
        slope = (b * at_b - a * at_a) / (b - a)
        constant = a * at_a - slope * a + bend * a * b
        v = min(max(math.sqrt(max(constant, 0.0) / bend), a), b)
        curved = bend * v + slope - bend * (a + b) + constant / v
        return max(curved, at_a - self.divergence * (1 / a - 1 / b)), math.sqrt(a * b)

    def best(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return np.array([self._best(*laws.law(i)) for i in range(laws.n_laws)])

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return -EntropicValueAtRisk(self.level).of(laws)

    def shift(self, error: float, width: float) -> float:
        return error

    def _best(self, gain: NDArray[np.float64], mass: NDArray[np.float64]) -> float:
        """Where v M'(v) / M(v) - log M(v) reaches the divergence, for M(v) = E exp(v Y): it rises with v."""
        short = gain[0] - gain  # costs, less the largest
        low, high = self.range(float(short[-1]), 0.0)
        if high == low:
            return low
        for _ in range(60):
            v = math.sqrt(low * high)
            weight = mass * np.exp(v * short)
            moment = float(weight.sum())
            if v * float(weight @ short) / moment - math.log(moment) < self.divergence:
                low = v
            else:
                high = v
        return math.sqrt(low * high)
