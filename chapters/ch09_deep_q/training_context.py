"""A lab's context as training may use it: progress and cancel, but no partial results, whose layout is another."""

from __future__ import annotations

from rlbook.lab import Context


def training_context(context: Context, first: float = 0.0, last: float = 1.0) -> Context:
    """A context for one training out of a lab's several, which is the part of its work from `first` to `last`."""
    part = Context(on_progress=lambda done, message: context.progress(first + (last - first) * done, message))
    part.cancel_flag = context.cancel_flag
    return part
