"""Episodes of a compiled environment: who draws what, time limits, and the next episode at the end of one.

A time limit ends an episode without ending the world: `truncated` is apart from `terminated`, and a row keeps the last
observation of its episode although the next action is taken in another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from rlbook.deep.environments.interface import Environment, episode_key, step_key

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32


class Row(NamedTuple):
    """One step of one environment: what was seen, done and paid, what was seen next, and whether and how it ended."""

    observation: Float[Array, "..."]
    action: Array
    reward: Float[Array, ""]
    next_observation: Float[Array, "..."]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


class Ending(NamedTuple):
    """The episode that a step ended, where it ended one: its return, undiscounted, and its number of steps."""

    ended: Bool[Array, ""]
    total: Float[Array, ""]
    length: Int[Array, ""]


class Episode(NamedTuple):
    """Where one environment is: the source of its draws, the number of its episode, and what has happened in it."""

    source: PRNGKeyArray
    number: Int[Array, ""]
    key: PRNGKeyArray
    length: Int[Array, ""]
    total: Float[Array, ""]
    state: Any
    observation: Float[Array, "..."]


def episode_seed(source: PRNGKeyArray, number: Int[Array, ""] | int) -> UInt32[Array, ""]:
    """The seed that an environment is reset with for its episode of this number, the same in every driver."""
    return jax.random.bits(jax.random.fold_in(source, number), (), jnp.uint32)


def begin(environment: Environment, source: PRNGKeyArray, number: Int[Array, ""] | int = 0) -> Episode:
    """The start of an episode."""
    key = episode_key(episode_seed(source, number))
    state, observation = environment.reset(step_key(key, 0))
    return Episode(source, jnp.int32(number), key, jnp.int32(0), jnp.float32(0.0), state, observation)


def advance(environment: Environment, now: Episode, action: Array) -> tuple[Episode, Row, Ending]:
    """Take one step; where the episode ended, what is returned is still that episode (see `renew`)."""
    length = now.length + 1
    step = environment.step(now.state, action, step_key(now.key, length))
    truncated = (length >= environment.time_limit) & ~step.terminated
    row = Row(now.observation, action, step.reward, step.observation, step.terminated, truncated)
    total = now.total + step.reward
    after = now._replace(length=length, total=total, state=step.state, observation=step.observation)
    return after, row, Ending(step.terminated | truncated, total, length)


def renew(environment: Environment, episodes: Episode, ended: Bool[Array, "E"]) -> Episode:
    """Begin the next episode in those of E environments whose episode ended.

    Nothing is drawn as long as none ended: that is most of the time, and draws cost more than a step of CartPole.
    """

    def some(old: Episode) -> Episode:
        fresh = jax.vmap(begin, (None, 0, 0))(environment, old.source, old.number + 1)
        return jax.tree.map(lambda new, before: _where(ended, new, before), fresh, old)

    return jax.lax.cond(ended.any(), some, lambda old: old, episodes)


def _where(condition: Bool[Array, "E"], new: Array, old: Array) -> Array:
    return jnp.where(condition.reshape(condition.shape + (1,) * (new.ndim - condition.ndim)), new, old)
