"""Distances between laws of the return, exact for discrete laws: each takes two `DiscreteLaws`, law by law.

What the distributional Bellman operator of a policy does to them, largest over states, for a discount g:

    Wasserstein W_p, p in [1, inf]     shrinks by g
    l_p between distribution functions shrinks by g^(1/p): Cramer (p = 2) by sqrt(g), Kolmogorov (p = inf) not at all
    MMD, energy kernel of power b      shrinks by g^(b/2)
    MMD, multiquadric kernel           shrinks by sqrt(g)
    MMD, Gaussian or Laplace kernel    may grow, by up to 1 / sqrt(g)
    total variation, Kullback-Leibler  never grow, and need not shrink

Bellemare, Dabney & Rowland, *Distributional Reinforcement Learning* (MIT Press 2023), chapter 4; for MMD, Nguyen-Tang,
Gupta & Venkatesh, "Distributional Reinforcement Learning via Moment Matching" (AAAI 2021), of which we could read the
abstract only. The row of the multiquadric and the factor 1 / sqrt(g) come from the kernels' Fourier transforms L: a law
scaled by g has MMD^2 = integral |w(u)|^2 L(u / g) / g du, with w the transform of the difference of the laws, so what
counts is L(u / g) / (g L(u)). For the multiquadric, L(u) u^2 is proportional to u K_1(u), which falls with u, so the
ratio is at most g. For the Gaussian and the Laplace kernel it is 1 / g as u goes to 0, and less elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.metric_kernels import distances, mass_distances
from rlbook.tabular.distributional.mmd_kernels import ENERGY, GAUSSIAN, LAPLACE, MULTIQUADRIC, squared_discrepancies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.distributional.laws import DiscreteLaws


def wasserstein(first: DiscreteLaws, second: DiscreteLaws, p: float = 1.0) -> NDArray[np.float64]:
    """Wasserstein distances W_p, (n,), in units of return; p in [1, inf].

    For p > 1, levels at which the two distribution functions agree to 2^-44 count as one level, and so shares of mass
    below that are not seen; W_1 sees all.
    """
    _check_order(p)
    if p == 1:
        return lp_cdf(first, second, 1.0)
    out = _room(first, second)
    distances(first.arrays, second.arrays, float(p), True, out)
    return out


def lp_cdf(first: DiscreteLaws, second: DiscreteLaws, p: float = 2.0) -> NDArray[np.float64]:
    """L^p distances between distribution functions, (n,), in units of return^(1/p); p in [1, inf]."""
    _check_order(p)
    out = _room(first, second)
    distances(first.arrays, second.arrays, float(p), False, out)
    return out


def cramer(first: DiscreteLaws, second: DiscreteLaws) -> NDArray[np.float64]:
    """Cramer distances, (n,), in units of return^(1/2): `lp_cdf` for p = 2."""
    return lp_cdf(first, second, 2.0)


def kolmogorov(first: DiscreteLaws, second: DiscreteLaws) -> NDArray[np.float64]:
    """Kolmogorov-Smirnov distances, (n,), in [0, 1]: the largest difference of the distribution functions."""
    return lp_cdf(first, second, math.inf)


def total_variation(first: DiscreteLaws, second: DiscreteLaws) -> NDArray[np.float64]:
    """Total variation, (n,), in [0, 1]: the largest difference in the probability of a set.

    Atoms are the same only where they are equal to the last bit.
    """
    out = _room(first, second)
    mass_distances(first.arrays, second.arrays, out, np.empty_like(out))
    return out


def kullback_leibler(first: DiscreteLaws, second: DiscreteLaws) -> NDArray[np.float64]:
    """Kullback-Leibler divergences E[log(dfirst / dsecond)] under the first, (n,), in nats.

    Infinite where the first has an atom that the second lacks; atoms as in `total_variation`. No metric: neither
    symmetric, nor does it keep the triangle inequality.
    """
    out = _room(first, second)
    mass_distances(first.arrays, second.arrays, np.empty_like(out), out)
    return out


@dataclass(frozen=True)
class EnergyKernel:
    """k(x, y) = -|x - y|^beta, 0 < beta < 2; with beta = 1 the MMD is sqrt(2) times the Cramer distance.

    beta = 2 would see means alone.
    """

    beta: float = 1.0
    kind: ClassVar[int] = ENERGY

    def __post_init__(self) -> None:
        if not isinstance(self.beta, Real) or not 0 < self.beta < 2:
            raise ParameterError(f"beta is {self.beta!r}, but only powers between 0 and 2 tell all laws apart")

    @property
    def parameter(self) -> float:
        return float(self.beta)


@dataclass(frozen=True)
class _LengthKernel:
    """A kernel with a length, in units of return."""

    width: float = 1.0
    kind: ClassVar[int]

    def __post_init__(self) -> None:
        if not isinstance(self.width, Real) or not 0 < self.width < math.inf:
            raise ParameterError(f"width is {self.width!r}; give a positive length, in units of return")

    @property
    def parameter(self) -> float:
        return 1.0 / self.width


class GaussianKernel(_LengthKernel):
    """k(x, y) = exp(-(x - y)^2 / (2 width^2))."""

    kind = GAUSSIAN


class LaplaceKernel(_LengthKernel):
    """k(x, y) = exp(-|x - y| / width)."""

    kind = LAPLACE


class MultiquadricKernel(_LengthKernel):
    """k(x, y) = -sqrt(1 + (x - y)^2 / width^2); that of Killingberg & Langseth (2023), with h = 1 / width."""

    kind = MULTIQUADRIC


DiscrepancyKernel = EnergyKernel | GaussianKernel | LaplaceKernel | MultiquadricKernel


def mmd(first: DiscreteLaws, second: DiscreteLaws, kernel: DiscrepancyKernel) -> NDArray[np.float64]:
    """Maximum mean discrepancies sqrt(E k(X, X') + E k(Y, Y') - 2 E k(X, Y)), (n,), from exact double sums.

    In units of return^(beta/2) for the energy kernel, else without a unit. Takes time in the square of the number of
    atoms, but for the energy kernel with beta = 1. Rounding leaves about 1e-8 of the largest distance where laws are
    nearly, but not quite, the same.
    """
    check_kernel(kernel)
    if kernel.kind == ENERGY and kernel.parameter == 1.0:
        return math.sqrt(2.0) * cramer(first, second)
    out = _room(first, second)
    squared_discrepancies(first.arrays, second.arrays, kernel.kind, kernel.parameter, out)
    return np.sqrt(out)


def check_kernel(kernel: DiscrepancyKernel) -> None:
    """Raise ParameterError unless it is a kernel of MMD."""
    if not isinstance(kernel, DiscrepancyKernel):
        raise ParameterError(
            f"kernel is {kernel!r}; give EnergyKernel(1.0), GaussianKernel(1.0), LaplaceKernel(1.0) or "
            "MultiquadricKernel(1.0)"
        )


def _room(first: DiscreteLaws, second: DiscreteLaws) -> NDArray[np.float64]:
    if first.n_laws != second.n_laws:
        raise ParameterError(
            f"second holds {second.n_laws} laws, but first holds {first.n_laws}; distances are taken law by law"
        )
    return np.empty(first.n_laws)


def _check_order(p: float) -> None:
    if not isinstance(p, Real) or not p >= 1:
        raise ParameterError(f"p is {p!r}, but distances of order p need p >= 1, math.inf included")
