"""A lab's context as one of its trainings may use it: progress, cancel, partial results in the lab's own layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rlbook.lab import Context

if TYPE_CHECKING:
    import xarray as xr


def training_context(
    context: Context, first: float = 0.0, last: float = 1.0, publish: Callable[[xr.Dataset], None] | None = None
) -> Context:
    """A context for one training out of a lab's several, which is the part of its work from `first` to `last`.

    publish: what to do with partial results of the training, which are laid out as its own; by default, nothing.
    """
    part = Context(
        on_progress=lambda done, message: context.progress(first + (last - first) * done, message), on_partial=publish
    )
    part.cancel_flag = context.cancel_flag
    return part
