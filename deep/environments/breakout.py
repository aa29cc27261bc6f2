"""Breakout of MinAtar: a paddle keeps a ball in play that breaks the bricks above it, on ten by ten cells."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.interface import Discrete, Environment, Step
from rlbook.deep.threefry import uniform
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
    from numpy.typing import NDArray

SIDE = 10
TOP_BRICKS, BRICK_ROWS = 1, 3
CHANNELS = ("paddle", "ball", "trail", "brick")
_BOTTOM = SIDE - 1
_CELLS = SIDE * SIDE
# What an entry of the observation stands for, as one number: its cell, counted by rows, and _CELLS for each channel.
_ENTRY = (np.arange(_CELLS)[:, None] + _CELLS * np.arange(len(CHANNELS))).reshape(SIDE, SIDE, -1).astype(np.int32)


class BreakoutState(NamedTuple):
    """Ball, its heading (down and right are 1, up and left -1), where it was, the paddle, and which bricks stand.

    struck: whether the last step hit a brick; a ball does not break two in a row. last_action: what was done last,
    which a sticky step repeats.
    """

    ball_row: Int[Array, ""]
    ball_column: Int[Array, ""]
    down: Int[Array, ""]
    right: Int[Array, ""]
    last_row: Int[Array, ""]
    last_column: Int[Array, ""]
    paddle: Int[Array, ""]
    bricks: Bool[Array, "3 10"]
    struck: Bool[Array, ""]
    last_action: Int[Array, ""]


class Breakout(Environment):
    """`MinAtar/Breakout-v1`: +1 for each brick; the episode ends when the ball passes the paddle.

    Actions: 0 does nothing, 1 moves the paddle left, 2 right (MinAtar's minimal set, for which v1 stands).
    With probability `sticky` the last action is repeated instead; here it is forgotten at the end of an episode, while
    MinAtar keeps it. The observation is (10, 10, 4): paddle, ball, trail of the ball, bricks. The ball starts at the
    left or the right wall. MinAtar has no time limit; 10,000 steps end games that never would.

    Source: Young & Tian (2019), *MinAtar: an Atari-inspired testbed for thorough and reproducible reinforcement
    learning experiments*; the rules are those of their package, version 1.0.15.
    """

    sticky: float = eqx.field(static=True, default=0.1)
    time_limit: int = eqx.field(static=True, default=10_000)
    name: str = eqx.field(static=True, init=False, default="MinAtar/Breakout-v1")
    observation_shape: tuple[int, ...] = eqx.field(static=True, init=False, default=(SIDE, SIDE, len(CHANNELS)))
    action_space: Discrete = eqx.field(static=True, init=False, default=Discrete(3))

    def __check_init__(self) -> None:
        if not isinstance(self.sticky, Real) or not 0.0 <= self.sticky <= 1.0:
            raise ParameterError(f"sticky is {self.sticky!r}; give a probability, in [0, 1]")

    def reset(self, key: PRNGKeyArray) -> tuple[BreakoutState, Float[Array, "10 10 4"]]:
        """All bricks, and a ball at one of the walls that comes down."""
        from_left = uniform(key) < 0.5
        row, column = jnp.int32(TOP_BRICKS + BRICK_ROWS - 1), jnp.where(from_left, 0, SIDE - 1).astype(jnp.int32)
        first = BreakoutState(
            ball_row=row,
            ball_column=column,
            down=jnp.int32(1),
            right=jnp.where(from_left, 1, -1).astype(jnp.int32),
            last_row=row,
            last_column=column,
            paddle=jnp.int32(4),
            bricks=jnp.ones((BRICK_ROWS, SIDE), dtype=bool),
            struck=jnp.bool_(False),
            last_action=jnp.int32(0),
        )
        return first, _observe(first)

    def step(self, state: BreakoutState, action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """Move the paddle, then the ball along its diagonal: first the side walls, then what is above or below."""
        action = jnp.asarray(action).astype(jnp.int32)
        if self.sticky > 0:
            action = jnp.where(uniform(key) < self.sticky, state.last_action, action)
        move = (action == 2).astype(jnp.int32) - (action == 1)
        paddle = jnp.clip(state.paddle + move, 0, SIDE - 1)

        ahead = state.ball_column + state.right
        column = jnp.clip(ahead, 0, SIDE - 1)
        right = jnp.where(ahead == column, state.right, -state.right)
        row = state.ball_row + state.down

        ceiling = row < 0
        rows = TOP_BRICKS + jnp.arange(BRICK_ROWS)[:, None]
        here = (rows == row) & (jnp.arange(SIDE) == column) & state.bricks
        brick = here.any()
        breaks = brick & ~state.struck
        at_bottom = (row == _BOTTOM) & ~brick
        # Beneath the ball the paddle reflects it; met at the edge, from a column away, it sends it back where it came.
        reflected = at_bottom & (state.ball_column == paddle)
        returned = at_bottom & ~reflected & (column == paddle)
        terminated = at_bottom & ~reflected & ~returned

        stays = breaks | reflected | returned
        refilled = at_bottom & ~state.bricks.any()
        after = BreakoutState(
            ball_row=jnp.where(stays, state.ball_row, jnp.maximum(row, 0)),
            ball_column=column,
            down=jnp.where(stays | ceiling, -state.down, state.down),
            right=jnp.where(returned, -right, right),
            last_row=state.ball_row,
            last_column=state.ball_column,
            paddle=paddle,
            bricks=(state.bricks & ~(here & breaks)) | refilled,
            struck=brick,
            last_action=action,
        )
        return Step(after, _observe(after), breaks.astype(jnp.float32), terminated)

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Zero and one."""
        return np.zeros(self.observation_shape, np.float32), np.ones(self.observation_shape, np.float32)


def _observe(state: BreakoutState) -> Float[Array, "10 10 4"]:
    # Compared with constants, all 400 entries take half as long as four stacked images do.
    paddle = SIDE * _BOTTOM + state.paddle
    ball = _CELLS + SIDE * state.ball_row + state.ball_column
    trail = 2 * _CELLS + SIDE * state.last_row + state.last_column
    walls = jnp.pad(state.bricks, ((TOP_BRICKS, SIDE - TOP_BRICKS - BRICK_ROWS), (0, 0)))[:, :, None]
    seen = (paddle == _ENTRY) | (ball == _ENTRY) | (trail == _ENTRY) | (walls & (_ENTRY >= 3 * _CELLS))
    return seen.astype(jnp.float32)
