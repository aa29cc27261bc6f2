"""Training inside a lab's run: told in the run's own progress, and stopped by its cancel flag."""

from __future__ import annotations

from rlbook.lab import Context


def part_of(context: Context, first: float, share: float) -> Context:
    """A context for one of several trainings, which makes up `share` of a run after the part `first`, in [0, 1].

    What training publishes is left out: it has another layout than the lab's result.
    """
    part = Context(lambda fraction, message: context.progress(first + share * fraction, message))
    part.cancel_flag = context.cancel_flag
    return part
