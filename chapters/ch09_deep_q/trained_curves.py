"""A training of `rlbook.deep` as the result of a lab: its curves over the seeds, without what is ragged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rlbook.lab import Context

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.deep.algorithm import Algorithm
    from rlbook.deep.worlds import Worlds


def trained_curves(
    algorithm: Algorithm,
    environment: Worlds,
    seeds: Sequence[int],
    keep: Sequence[str],
    context: Context,
    *,
    part: int = 0,
    parts: int = 1,
    shown: Callable[[xr.Dataset], xr.Dataset] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Train, and return the variables `keep` alone, which are over ("seed", "step"); NaN where none was ever told.

    part: which of a run's `parts` trainings this is, from 0, for its progress. shown: makes a partial result of the lab
    from such a dataset; None publishes nothing. options: those of `Algorithm.train`. Raises Cancelled.
    """
    context.check()
    publish = None if shown is None else lambda told: context.publish(shown(_curves(told, keep)))
    inner = context.part(part / parts, (part + 1) / parts, publish)
    return _curves(algorithm.train(environment, seeds=list(seeds), context=inner, **options), keep)


def _curves(told: xr.Dataset, keep: Sequence[str]) -> xr.Dataset:
    import xarray as xr

    nothing = xr.full_like(told["evaluation_return"], float("nan"))
    # Attributes stay behind: among them are the seconds it took, which are never the same twice.
    return xr.Dataset(
        {name: (("seed", "step"), told.get(name, nothing).values) for name in keep},
        {"seed": told["seed"].values, "step": told["step"].values},
    )
