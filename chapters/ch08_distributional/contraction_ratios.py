"""How much of a distance a backup left, over the modulus that is claimed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlbook.chapters.ch08_distributional.contraction_worlds import DISTANCES, modulus

if TYPE_CHECKING:
    import xarray as xr

# MMD takes a root of sums that cancel, which leaves about 1e-8 of the distances at the start; a hundred times that is
# allowed for everywhere.
_ALLOWANCE = 1e-6


def ratios(result: xr.Dataset, metric: str, discount: float) -> np.ndarray:
    """Each distance / (modulus x the one before + allowance), (seeds, backups); nan where none is finite."""
    distance = result["distance"].sel(metric=metric).values
    first = np.where(np.isfinite(distance[:, :1]), distance[:, :1], 0.0)
    return _share(distance[:, 1:], modulus(metric, discount) * distance[:, :-1] + _ALLOWANCE * first)


def worst_ratios(result: xr.Dataset, discount: float) -> dict[str, float]:
    """The worst of `ratios` over pairs and backups, for each metric; nan where no distance is finite."""
    found = {metric: ratios(result, metric, discount) for metric in DISTANCES}
    return {name: float(np.nanmax(ratio)) if np.isfinite(ratio).any() else np.nan for name, ratio in found.items()}


def bare_ratios(result: xr.Dataset, metric: str, discount: float) -> np.ndarray:
    """`ratios` without the allowance, where distances are far above rounding."""
    distance = result["distance"].sel(metric=metric).values
    found = _share(distance[:, 1:], modulus(metric, discount) * distance[:, :-1])
    return np.where(distance[:, 1:] > 1e-3 * distance[:, :1], found, np.nan)


def _share(after: np.ndarray, bound: np.ndarray) -> np.ndarray:
    usable = np.isfinite(bound) & (bound > 0)
    return np.divide(after, bound, out=np.full_like(after, np.nan), where=usable)


def largest(ratio: np.ndarray) -> float:
    """The largest finite entry; 0 where none is finite, since nothing then speaks against a bound."""
    return float(np.max(ratio, initial=0.0, where=np.isfinite(ratio)))
