"""Running mean and deviation of a stream of numbers or arrays (Welford 1962)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class Running(NamedTuple):
    """How many samples there were, their mean, and the sum of squares of their distances from it."""

    samples: Float[Array, ""]
    mean: Float[Array, "..."]
    squares: Float[Array, "..."]


def unseen(shape: tuple[int, ...] = ()) -> Running:
    return Running(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape))


def seen(running: Running, sample: Float[Array, "..."]) -> Running:
    """With one more sample."""
    samples = running.samples + 1
    mean = running.mean + (sample - running.mean) / samples
    return Running(samples, mean, running.squares + (sample - running.mean) * (sample - mean))


def deviation(running: Running) -> Float[Array, "..."]:
    """The sample standard deviation; 1 where all samples were the same, and where there are less than two."""
    variance = running.squares / jnp.maximum(running.samples - 1, 1)
    return jnp.where(variance > 0, jnp.sqrt(variance), 1.0)
