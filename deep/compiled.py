"""The compiled driver: agent and environment in one program, which runs a chunk of training at a time.

The unit is [a block of steps that emit rows -> one contiguous write into the memory -> one update]. The memory is
carried by the scan over units only, never by the scan over steps, or it would be copied at each of them; and the
update is no branch of a condition, which under `vmap` would become a choice between two results, both computed. Blocks
before the first update are a scan of their own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Environment
from rlbook.deep.episodes import Ending, Episode, Row, advance, begin, renew

if TYPE_CHECKING:
    from jaxtyping import Array, Int, PRNGKeyArray


class Carry(NamedTuple):
    """All that training goes on from: the agent's state, its memory, the environments, and how many units are over."""

    state: Any
    memory: Any
    episodes: Episode
    key: PRNGKeyArray
    unit: Int[Array, ""]


@partial(jax.jit, static_argnums=0)
def start(algorithm: Algorithm, config: Config, environment: Environment, seed: Any) -> Carry:
    kind = algorithm.experience(config)
    init, acting, world = (jax.random.fold_in(jax.random.key(seed), n) for n in range(3))
    spaces = Spaces(environment.observation_shape, environment.action_space)
    state = algorithm.init(config, spaces, init)
    sources = jax.vmap(jax.random.fold_in, (None, 0))(world, jnp.arange(kind.environments))
    episodes = jax.vmap(begin, (None, 0))(environment, sources)
    first = jax.tree.map(lambda leaf: leaf[0], episodes)
    action = algorithm.act(config, state, first.observation, acting, jnp.float32(0))
    _, row, _ = advance(environment, first, action)
    return Carry(state, kind.prepare(row), episodes, acting, jnp.int32(0))


@partial(jax.jit, static_argnums=0, static_argnames=("units", "learning"), donate_argnums=3)
def chunk(
    algorithm: Algorithm,
    config: Config,
    environment: Environment,
    carry: Carry,
    horizon: Any,
    *,
    units: int,
    learning: bool,
) -> tuple[Carry, tuple[dict[str, Array], Ending]]:
    kind = algorithm.experience(config)
    steps, count = kind.length, kind.environments

    def unit(carry: Carry, _: None) -> tuple[Carry, Any]:
        state, memory, episodes, key, number = carry
        acting, learning_key = jax.random.split(jax.random.fold_in(key, number))
        keys = jax.random.split(acting, (steps, count))
        taken = number * steps * count
        progress = jnp.minimum((taken + count * jnp.arange(steps)) / horizon, 1.0)

        def one(episodes: Episode, given: Any) -> tuple[Episode, tuple[Row, Ending]]:
            keys, progress = given
            act = partial(algorithm.act, config, state)
            action = jax.vmap(act, (0, 0, None))(episodes.observation, keys, progress)
            after, row, ending = jax.vmap(advance, (None, 0, 0))(environment, episodes, action)
            return renew(environment, after, ending.ended), (row, ending)

        episodes, (rows, endings) = jax.lax.scan(one, episodes, (keys, progress))
        memory = kind.remember(memory, rows)
        metrics: dict[str, Array] = {}
        if learning:
            update = partial(algorithm.update, config)
            state, memory, metrics = kind.learn(update, state, memory, rows, learning_key, progress[-1])
        return Carry(state, memory, episodes, key, number + 1), (metrics, endings)

    return jax.lax.scan(unit, carry, None, length=units)
