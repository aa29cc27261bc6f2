"""Drivers that make the two classic mistakes at a time limit, for tests that must be able to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

from rlbook.deep import compiled
from rlbook.deep.episodes import Row, advance, begin
from rlbook.deep.gymnasium_driver import GymnasiumTraining


def ending_the_world(row: Row, first: Any) -> Row:
    """Time that ran out is taken for an end of the world."""
    return row._replace(terminated=row.terminated | row.truncated, truncated=row.truncated & False)


def losing_the_last_observation(row: Row, first: Any) -> Row:
    """What was seen last is overwritten by what the next episode begins with."""
    over = row.terminated | row.truncated
    return row._replace(next_observation=jnp.where(over, first, row.next_observation))


MISTAKES: dict[str, Callable[[Row, Any], Row]] = {
    "the world ends": ending_the_world,
    "the last observation is lost": losing_the_last_observation,
}


def doctor(mistake: Callable[[Row, Any], Row], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both drivers make a mistake; what was compiled before is not touched, so give algorithms a new name."""

    def mistaken(environment: Any, now: Any, action: Any) -> Any:
        after, row, ending = advance(environment, now, action)
        return after, mistake(row, begin(environment, now.source, now.number + 1).observation), ending

    honest = GymnasiumTraining._step

    def mistaken_step(self: GymnasiumTraining, e: int, action: Any) -> Any:
        row, ending = honest(self, e, action)
        return mistake(row, self._seen[e]), ending

    monkeypatch.setattr(compiled, "advance", mistaken)
    monkeypatch.setattr(GymnasiumTraining, "_step", mistaken_step)
