"""Implicit quantiles without a network: each law is a quantile function that can be asked at any fraction.

    Z(tau) = sum_k w_k cos(pi k tau),  k = 0 .. features - 1

the cosines that implicit quantile networks embed fractions by, with one weight for each of them in every entry of the
table. Learners draw `samples` fractions tau for the law that moves and `target_samples` fractions tau' for its target,
and take a step of quantile regression with a Huber loss for all pairs of them:

    d_ij = r + discount Z(tau'_j | s') - Z(tau_i | s)
    w(s) <- w(s) + alpha mean_ij |tau_i - 1{d_ij < 0}| clip(d_ij / kappa, -1, 1) phi(tau_i)

(after Dabney, Ostrovski, Silver & Munos, *Implicit Quantile Networks for Distributional Reinforcement Learning*, 2018,
of which we could read the beginning; embedding and loss are as its implementations describe them, with the mean over
both kinds of fractions, so that step sizes mean the same for any number). Kappa keeps the fixed point from being the
quantiles exactly; the smaller the nearer. Distorted means are linear in the weights, and are computed, not sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.law_learner import LawControl, LawPrediction, distorted_levels
from rlbook.tabular.distributional.law_rules import IMPLICIT, NONE
from rlbook.tabular.distributional.laws import DiscreteLaws, table_of
from rlbook.tabular.distributional.risk_measures import Distortion, ExpectedShortfall, Mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CELLS = 4096  # of sums over all fractions
_ATOMS = 256  # of the laws that weights stand for
_MOST_DRAWN = 1_000_000


@dataclass(frozen=True)
class CosineQuantiles:
    """Laws as quantile functions that are sums of cosines; parameters are their weights, (n, features).

    features: cosines, the constant one among them, at least 1. samples, target_samples: fractions that learners draw
    for a law and for its target, at least 1. kappa: positive, in units of return; errors below it count less. Raises
    ParameterError for numbers out of range.
    """

    features: int = 16
    samples: int = 8
    target_samples: int = 8
    kappa: float = 1.0

    def __post_init__(self) -> None:
        for name in ("features", "samples", "target_samples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) <= _MOST_DRAWN:
                raise ParameterError(f"{name} is {value!r}; give a whole number from 1 to {_MOST_DRAWN}")
        if isinstance(self.kappa, bool) or not isinstance(self.kappa, Real) or not 0 < self.kappa < np.inf:
            raise ParameterError(f"kappa is {self.kappa!r}; give a positive number, in units of return")

    @property
    def n_parameters(self) -> int:
        return int(self.features)

    def phi(self, fractions: ArrayLike) -> NDArray[np.float64]:
        """cos(pi k tau) for fractions (n,): (n, features)."""
        tau = np.asarray(fractions, dtype=np.float64).reshape(-1, 1)
        if not np.all((tau >= 0) & (tau <= 1)):
            raise ParameterError("fractions holds a number outside of [0, 1]; give shares of the levels")
        return np.asarray(np.cos(np.pi * tau * np.arange(self.features)))

    def quantiles(self, parameters: ArrayLike, fractions: ArrayLike) -> NDArray[np.float64]:
        """Z of laws given as weights (n, features), at fractions (m,): (n, m), in units of return; it need not rise."""
        return np.asarray(table_of(parameters, self.n_parameters) @ self.phi(fractions).T)

    def project(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        """Weights of the sums nearest to quantile functions, in mean square at 256 even fractions: (n, features)."""
        if self.features > _ATOMS:
            raise ParameterError(f"features is {self.features}; laws are projected onto {_ATOMS} cosines at most")
        tau = _even(_ATOMS)
        phi = self.phi(tau)  # orthogonal over these fractions
        return np.asarray(laws.quantiles(tau) @ phi / np.sum(phi**2, axis=0))

    def laws(self, parameters: ArrayLike) -> DiscreteLaws:
        """The laws of Z at 256 even fractions, equally likely."""
        return DiscreteLaws.from_arrays(self.quantiles(parameters, _even(_ATOMS)))

    def initial(self, n: int) -> NDArray[np.float64]:
        """The point mass at 0, n times, (n, features), writable."""
        return np.zeros((n, self.n_parameters))

    def rule(self, measure: Mean | ExpectedShortfall | Distortion) -> tuple[Any, ...]:
        """What kernels read of type LAWS, but for the laws to begin with; measure: what actions are greedy in."""
        shares = np.diff(distorted_levels(measure, np.arange(_CELLS + 1) / _CELLS))
        weights = owned(np.ascontiguousarray(shares @ self.phi(_even(_CELLS))))
        fractions = int(self.samples), int(self.target_samples), float(self.kappa)
        return IMPLICIT, NONE, NONE, False, weights, NONE, 0.0, *fractions


@dataclass(frozen=True, eq=False)
class ImplicitQuantileTD(LawPrediction[CosineQuantiles]):
    """Learns the return laws of a policy as quantile functions; `LawPrediction` has the fields."""

    name: ClassVar[str] = "implicit quantile TD"
    needs: ClassVar[type] = CosineQuantiles

    def _rule(self) -> tuple[Any, ...]:
        return self.representation.rule(Mean())


@dataclass(frozen=True, eq=False)
class ImplicitQuantileQ(LawControl[CosineQuantiles]):
    """Q-learning with laws as quantile functions, the tabular form of IQN; `LawControl` has the fields."""

    name: ClassVar[str] = "implicit quantile Q-learning"
    needs: ClassVar[type] = CosineQuantiles

    def _rule(self) -> tuple[Any, ...]:
        return self.representation.rule(self.measure)


def _even(n: int) -> NDArray[np.float64]:
    """The midpoints of n even parts of [0, 1], (n,)."""
    return (np.arange(n) + 0.5) / n
