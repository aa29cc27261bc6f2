"""Catch: a ball falls, and a paddle on the bottom row must be under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.interface import Discrete, Environment, Step
from rlbook.deep.threefry import integer_below
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray
    from numpy.typing import NDArray

_MOST_CELLS = 1_000  # of a side


class CatchState(NamedTuple):
    """The ball's row, from the top, and column, and the paddle's column."""

    ball_row: Int[Array, ""]
    ball_column: Int[Array, ""]
    paddle: Int[Array, ""]


class Catch(Environment):
    """Catch as in bsuite: +1 for a ball that is caught, -1 for one that is not, when it reaches the bottom row.

    rows, columns: of the board, from 2 and from 1. Actions: 0 moves the paddle left, 1 leaves it, 2 moves it right. The
    observation is the board, (rows, columns), with a 1 where ball or paddle is. The ball starts in a random column of
    the top row, the paddle in the middle. An episode takes rows - 1 steps, so its time limit is never reached.

    Sources: Mnih et al. (2014), *Recurrent models of visual attention*, section 4.2; Osband et al. (2020), *Behaviour
    suite for reinforcement learning*.
    """

    rows: int = eqx.field(static=True)
    columns: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    observation_shape: tuple[int, ...] = eqx.field(static=True)
    action_space: Discrete = eqx.field(static=True)
    time_limit: int = eqx.field(static=True)

    def __init__(self, rows: int = 10, columns: int = 5) -> None:
        require_whole("rows", rows, 2, _MOST_CELLS)
        require_whole("columns", columns, 1, _MOST_CELLS)
        self.rows, self.columns = int(rows), int(columns)
        self.name = "Catch"
        self.observation_shape = (self.rows, self.columns)
        self.action_space = Discrete(3)
        self.time_limit = self.rows

    def reset(self, key: PRNGKeyArray) -> tuple[CatchState, Float[Array, "rows columns"]]:
        """A ball in a random column of the top row."""
        column = integer_below(key, self.columns)
        first = CatchState(jnp.int32(0), column, jnp.int32(self.columns // 2))
        return first, self._observe(first)

    def step(self, state: CatchState, action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """Move the paddle, then drop the ball by a row."""
        paddle = jnp.clip(state.paddle + action - 1, 0, self.columns - 1).astype(jnp.int32)
        after = CatchState(state.ball_row + 1, state.ball_column, paddle)
        terminated = after.ball_row == self.rows - 1
        paid = jnp.where(after.paddle == after.ball_column, 1.0, -1.0)
        return Step(after, self._observe(after), jnp.where(terminated, paid, jnp.float32(0.0)), terminated)

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Zero and one."""
        return np.zeros(self.observation_shape, np.float32), np.ones(self.observation_shape, np.float32)

    def _observe(self, state: CatchState) -> Float[Array, "rows columns"]:
        row, column = jnp.arange(self.rows)[:, None], jnp.arange(self.columns)
        ball = (row == state.ball_row) & (column == state.ball_column)
        paddle = (row == self.rows - 1) & (column == state.paddle)
        return (ball | paddle).astype(jnp.float32)
