"""Kinds of experience that agents learn from, beside replay: rollouts of many environments, and a single stream.

Every kind says how many environments act side by side (`environments`), how many steps each takes before the agent
learns (`length`), and how many such blocks pass before it learns for the first time (`idle_units`). It prepares a
memory, stores blocks of rows in it, and learns from it; drivers know no more of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import equinox as eqx
import jax

from rlbook.deep.episodes import Row

if TYPE_CHECKING:
    from jaxtyping import Array, Float, PRNGKeyArray


class Experience(Protocol):
    """What a driver needs of a kind of experience."""

    @property
    def environments(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def idle_units(self) -> int: ...

    def prepare(self, row: Row) -> Any:
        """An empty memory for rows such as this one, of one step of one environment."""

    def remember(self, memory: Any, rows: Row) -> Any:
        """Store a block of rows, (length, environments, ...)."""

    def learn(
        self, update: Callable[..., Any], state: Any, memory: Any, rows: Row, key: PRNGKeyArray, progress: Any
    ) -> tuple[Any, Any, dict[str, Array]]:
        """One update after `rows` have been stored: (state, memory, metrics). progress: of training, in [0, 1]."""


class _Once(eqx.Module):
    """What is learned from at once and then forgotten: there is no memory, and nothing to wait for."""

    @property
    def idle_units(self) -> int:
        return 0

    def prepare(self, row: Row) -> None:
        return None

    def remember(self, memory: None, rows: Row) -> None:
        return None


class Rollout(_Once):
    """Blocks of steps of many environments, each learned from once, by the policy that made it, and forgotten."""

    environments: int = eqx.field(static=True)
    length: int = eqx.field(static=True)

    def learn(
        self,
        update: Callable[[Any, Row, PRNGKeyArray], tuple[Any, dict[str, Array]]],
        state: Any,
        memory: None,
        rows: Row,
        key: PRNGKeyArray,
        progress: Float[Array, ""],
    ) -> tuple[Any, None, dict[str, Array]]:
        """update: (state, rows (length, environments, ...), key) -> (state, metrics)."""
        state, metrics = update(state, rows, key)
        return state, None, metrics


class Stream(_Once):
    """One step at a time, learned from at once and never seen again."""

    @property
    def environments(self) -> int:
        return 1

    @property
    def length(self) -> int:
        return 1

    def learn(
        self,
        update: Callable[[Any, Row, PRNGKeyArray], tuple[Any, dict[str, Array]]],
        state: Any,
        memory: None,
        rows: Row,
        key: PRNGKeyArray,
        progress: Float[Array, ""],
    ) -> tuple[Any, None, dict[str, Array]]:
        """update: (state, row of one step, key) -> (state, metrics)."""
        state, metrics = update(state, jax.tree.map(lambda leaf: leaf[0, 0], rows), key)
        return state, None, metrics
