"""Risk measures of return laws: values whose `of(laws)` gives one number per law, in units of return.

Returns are gains, so lower is worse, and a cautious measure lies below the mean. For a level u in (0, 1], with F^-1 the
lower quantile function,

    value at risk            F^-1(u)
    expected shortfall       (1 / u) integral_0^u F^-1(t) dt, the mean of the worst share u
    entropic risk            -(1 / b) log E exp(-b G) for an aversion b
    entropic value at risk   sup_{t > 0} -(1 / t) log(E exp(-t G) / u)
    distortion               integral_0^1 F^-1(beta(t)) dt for a distortion beta of the levels

For one level, value at risk is at least the expected shortfall, and that at least the entropic value at risk
(Ahmadi-Javid 2012), which is the least mean among all laws within Kullback-Leibler divergence -log u of G's. The
formulas are those of Ahmadi-Javid, "Entropic Value-at-Risk: A New Coherent Risk Measure" (2012), Rockafellar & Uryasev,
"Optimization of Conditional Value-at-Risk" (2000), and, for distortions, Dabney, Ostrovski, Silver & Munos, "Implicit
Quantile Networks for Distributional Reinforcement Learning" (2018), section 3.1, with losses turned into gains.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.risk_kernels import (
    cumulative_masses,
    entropic_quantiles,
    entropic_risks,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.distributional.laws import DiscreteLaws


class RiskMeasure(Protocol):
    """What has a number for each law; `of` returns (n,)."""

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class Mean:
    """The expectation."""

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return laws.means()


@dataclass(frozen=True)
class MeanDeviation:
    """The mean less `aversion` standard deviations, aversion >= 0; it may prefer a law that is nowhere better."""

    aversion: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.aversion, Real) or not 0 <= self.aversion < math.inf:
            raise ParameterError(f"aversion is {self.aversion!r}; give a finite number, 0 or more")

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return laws.means() - self.aversion * np.sqrt(laws.variances())


@dataclass(frozen=True)
class ValueAtRisk:
    """The return that is reached or missed with probability `level`: the lower quantile."""

    level: float

    def __post_init__(self) -> None:
        _check_level(self.level)

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return laws.quantiles([self.level])[:, 0]


@dataclass(frozen=True)
class ExpectedShortfall:
    """The mean of the worst share `level` of returns; also called CVaR, AVaR and superquantile."""

    level: float

    def __post_init__(self) -> None:
        _check_level(self.level)

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return _weighted(laws, np.minimum(_levels(laws) / self.level, 1.0))


@dataclass(frozen=True)
class EntropicRisk:
    """The sure return worth as much under exponential utility; aversion in 1 / units of return.

    Below the mean for a positive aversion, the mean for 0, above it for a negative one (a lover of risk).
    """

    aversion: float

    def __post_init__(self) -> None:
        if not isinstance(self.aversion, Real) or not math.isfinite(self.aversion):
            raise ParameterError(f"aversion is {self.aversion!r}; give a finite number")

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        if self.aversion == 0:
            return laws.means()
        found = np.empty(laws.n_laws)
        entropic_risks(*laws.arrays, float(self.aversion), found)
        return found


@dataclass(frozen=True)
class EntropicValueAtRisk:
    """The highest bound from below on the value at risk that Chernoff's inequality gives, and a coherent measure.

    The mean at level 1; the worst return once `level` is no more than its probability.
    """

    level: float

    def __post_init__(self) -> None:
        _check_level(self.level)

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        if self.level == 1:
            return laws.means()
        found = np.empty(laws.n_laws)
        entropic_quantiles(*laws.arrays, float(self.level), found)
        return found


class Distortion(ABC):
    """A measure that reads the quantile function at distorted levels; subclasses are values with `inverse`.

    `inverse(u)` is how much of the level that is drawn evenly from [0, 1] ends up at or below u: from 0 to 1, rising.
    """

    @abstractmethod
    def inverse(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of beta at levels in [0, 1], of any shape."""

    def of(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        return _weighted(laws, self.inverse(_levels(laws)))


@dataclass(frozen=True)
class Wang(Distortion):
    """beta(t) = Phi(Phi^-1(t) + eta): cautious for eta < 0, the mean for 0 (Wang 2000)."""

    eta: float

    def __post_init__(self) -> None:
        _check_eta(self.eta)

    def inverse(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import ndtr, ndtri

        return np.asarray(ndtr(ndtri(levels) - self.eta))


@dataclass(frozen=True)
class Power(Distortion):
    """beta(t) = 1 - (1 - t)^(1 / (1 + |eta|)) for eta < 0, which is cautious; t^(1 / (1 + eta)) for eta >= 0."""

    eta: float

    def __post_init__(self) -> None:
        _check_eta(self.eta)

    def inverse(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.eta >= 0:
            return np.asarray(levels ** (1.0 + self.eta))
        return np.asarray(1.0 - (1.0 - levels) ** (1.0 - self.eta))


@dataclass(frozen=True)
class CPW(Distortion):
    """beta(t) = t^eta / (t^eta + (1 - t)^eta)^(1 / eta): cumulative prospect weighting (Tversky & Kahneman
    1992), which looks at both tails more often.

    eta in (0.28, 1], below which beta no longer rises; 0.71 matches people best (Wu & Gonzalez 1996). Its inverse is
    found by halving, so this takes about 60 times as long as the other distortions.
    """

    eta: float = 0.71

    def __post_init__(self) -> None:
        if not isinstance(self.eta, Real) or not 0.28 < self.eta <= 1:
            raise ParameterError(f"eta is {self.eta!r}, but this distortion rises only for 0.28 < eta <= 1")

    def inverse(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high = np.zeros_like(levels), np.ones_like(levels)
        for _ in range(64):
            middle = 0.5 * (low + high)
            below = self.distort(middle) < levels
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray(np.where((levels <= 0) | (levels >= 1), levels, high))

    def distort(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """beta at levels in [0, 1]."""
        some = levels**self.eta
        return np.asarray(some / (some + (1.0 - levels) ** self.eta) ** (1.0 / self.eta))


def _levels(laws: DiscreteLaws) -> NDArray[np.float64]:
    """The distribution function at each atom, (atoms,), 1 at the last of each law."""
    levels = np.empty_like(laws.mass)
    cumulative_masses(*laws.arrays, levels)
    return levels


def _weighted(laws: DiscreteLaws, cumulative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means under other masses, given as their sums up to each atom, (atoms,)."""
    weight = np.diff(cumulative, prepend=0.0)
    weight[laws.ptr[:-1]] = cumulative[laws.ptr[:-1]]
    return np.asarray(np.add.reduceat(weight * laws.atom, laws.ptr[:-1]))


def _check_level(level: float) -> None:
    if not isinstance(level, Real) or not 0 < level <= 1:
        raise ParameterError(f"level is {level!r}, but it is a share of the worst returns; give a number in (0, 1]")


def _check_eta(eta: float) -> None:
    if not isinstance(eta, Real) or not math.isfinite(eta):
        raise ParameterError(f"eta is {eta!r}; give a finite number")
