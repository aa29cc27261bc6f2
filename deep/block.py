"""A block of steps and the update after it: what both drivers share, so that they give the same numbers.

Under a seed, four streams of draws are kept apart: of the first parameters, of acting and learning, of the
environments' episodes, and of the episodes of evaluation.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Discrete
from rlbook.deep.episodes import Row
from rlbook.deep.experience import Experience

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray

_FIRST_PARAMETERS, _LEARNING, _EPISODES, _EVALUATION = range(4)


class Carry(NamedTuple):
    """What learns: the agent's state, its memory, the source of its draws, and how many units are over."""

    state: Any
    memory: Any
    key: PRNGKeyArray
    unit: Int[Array, ""]


class Block(NamedTuple):
    """What the steps of a unit are given: keys to act by, (length, E), and progress of training, in [0, 1]."""

    acting: PRNGKeyArray
    progress: Float[Array, "length"]
    learning: PRNGKeyArray


def stream(seed: Any, purpose: int) -> PRNGKeyArray:
    return jax.random.fold_in(jax.random.key(seed), purpose)


def evaluation_source(seed: Any) -> PRNGKeyArray:
    """The source of the seeds of evaluation's episodes."""
    return stream(seed, _EVALUATION)


def beginning(algorithm: Algorithm, config: Config, spaces: Spaces, seed: Any) -> tuple[Carry, PRNGKeyArray]:
    """What learns, before the first step; and the sources of the environments' episodes, (E,)."""
    kind = algorithm.experience(config)
    state = algorithm.init(config, spaces, stream(seed, _FIRST_PARAMETERS))
    carry = Carry(state, kind.prepare(_row_of(spaces)), stream(seed, _LEARNING), jnp.int32(0))
    return carry, jax.vmap(jax.random.fold_in, (None, 0))(stream(seed, _EPISODES), jnp.arange(kind.environments))


def block_of(kind: Experience, carry: Carry, horizon: Float[Array, ""] | float) -> Block:
    """Draws and progress of the unit that comes next. horizon: steps of all of training."""
    acting, learning = jax.random.split(jax.random.fold_in(carry.key, carry.unit))
    steps, count = kind.length, kind.environments
    # In floating point: whole numbers of steps would overflow before training of that length ends.
    taken = count * (carry.unit.astype(jnp.float32) * steps + jnp.arange(steps))
    return Block(jax.random.split(acting, (steps, count)), jnp.minimum(taken / horizon, 1.0), learning)


def absorb(
    algorithm: Algorithm, config: Config, carry: Carry, rows: Row, block: Block, *, learning: bool
) -> tuple[Carry, dict[str, Float[Array, ""]]]:
    """Store a block of rows, (length, E, ...), and, if it is time to, learn; the metrics of learning beside it."""
    kind = algorithm.experience(config)
    state, memory = carry.state, kind.remember(carry.memory, rows)
    metrics: dict[str, Array] = {}
    if learning:
        update = partial(algorithm.update, config)
        state, memory, metrics = kind.learn(update, state, memory, rows, block.learning, block.progress[-1])
    return Carry(state, memory, carry.key, carry.unit + 1), metrics


def _row_of(spaces: Spaces) -> Row:
    """A row of this shape, all zeros."""
    seen = jnp.zeros(spaces.observation_shape)
    actions = spaces.actions
    action = jnp.int32(0) if isinstance(actions, Discrete) else jnp.zeros(len(actions.low))
    return Row(seen, action, jnp.float32(0), seen, jnp.bool_(False), jnp.bool_(False))
