"""Kernels of risk measures: levels of discrete laws, and moments of the exponential of a return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, inline, kernel, writes
from rlbook.tabular.distributional.laws_kernels import LAW_TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_STEPS = 2000  # of a search that doubles or halves its bracket at worst, over all exponents that doubles have
_SETTLED = 1e-12  # relative; the value is stationary in what is searched for, so it is settled long before


@kernel(*LAW_TYPES, writes(float64))
def cumulative_masses(
    ptr: NDArray[np.int64], atom: NDArray[np.float64], mass: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """The distribution function at each atom of each law; exactly 1 at the last."""
    for n in range(len(ptr) - 1):
        level = 0.0
        for k in range(ptr[n], ptr[n + 1] - 1):
            level += mass[k]
            out[k] = min(level, 1.0)
        out[ptr[n + 1] - 1] = 1.0


@inline
def _log_moment(t: Any, x: Any, mass: Any) -> Any:
    """log E exp(-t X), where all t x >= 0 and some x is 0: nothing overflows, and small moments keep their digits."""
    moment, less_one = 0.0, 0.0
    for k in range(len(x)):
        moment += mass[k] * np.exp(-t * x[k])
        less_one += mass[k] * np.expm1(-t * x[k])
    return np.log1p(less_one) if less_one > -0.5 else np.log(moment)


@kernel(*LAW_TYPES, float64, writes(float64))
def entropic_risks(
    ptr: NDArray[np.int64],
    atom: NDArray[np.float64],
    mass: NDArray[np.float64],
    aversion: float,
    out: NDArray[np.float64],
) -> None:
    """-(1 / b) log E exp(-b G) for an aversion b other than 0, from distances to the return whose term is largest."""
    for n in range(len(out)):
        first, end = ptr[n], ptr[n + 1]
        worst = atom[first] if aversion > 0 else atom[end - 1]
        out[n] = worst - _log_moment(aversion, atom[first:end] - worst, mass[first:end]) / aversion


@kernel(*LAW_TYPES, float64, writes(float64))
def entropic_quantiles(
    ptr: NDArray[np.int64],
    atom: NDArray[np.float64],
    mass: NDArray[np.float64],
    level: float,
    out: NDArray[np.float64],
) -> None:
    """sup_{t > 0} -(log E exp(-t G) - log level) / t, for a level below 1, on returns scaled to [0, 1].

    At the supremum the tilted law mass exp(-t x) / E exp(-t X) has divergence -log level from `mass`; it rises with t,
    at the rate t times the tilted variance: Newton's method on it, within a bracket.
    """
    divergence = -np.log(level)
    for n in range(len(out)):
        first, end = ptr[n], ptr[n + 1]
        low_atom, spread = atom[first], atom[end - 1] - atom[first]
        out[n] = low_atom
        if mass[first] >= level or spread == 0.0:
            continue
        share = mass[first:end]
        x = (atom[first:end] - low_atom) / spread
        mean, square = 0.0, 0.0
        for k in range(len(x)):
            mean += share[k] * x[k]
        for k in range(len(x)):
            square += share[k] * (x[k] - mean) ** 2
        t = np.sqrt(2.0 * divergence / square)
        low, high = 0.0, np.inf
        for _ in range(_MOST_STEPS):
            log_moment = _log_moment(t, x, share)
            mean, square = 0.0, 0.0
            for k in range(len(x)):
                mean += share[k] * np.exp(-t * x[k] - log_moment) * x[k]
            for k in range(len(x)):
                square += share[k] * np.exp(-t * x[k] - log_moment) * (x[k] - mean) ** 2
            excess = -t * mean - log_moment - divergence
            if excess < 0.0:
                low = t
            else:
                high = t
            step = t - excess / (t * square) if square > 0.0 else np.inf
            if not low < step < high:
                step = 2.0 * low if high == np.inf else 0.5 * (low + high)
            if abs(step - t) <= _SETTLED * t or step > 1e300:
                break
            t = step
        found = -(_log_moment(t, x, share) + divergence) / t
        out[n] = low_atom + spread * min(max(found, 0.0), 1.0)
