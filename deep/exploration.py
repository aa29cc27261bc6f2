"""How agents with action values explore: now and then they take any action, less often as training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


def falling(
    start: Float[Array, ""] | float, end: Float[Array, ""] | float, share: Float[Array, ""] | float, progress: Array
) -> Float[Array, ""]:
    """From `start` to `end` along a line while `progress` goes from 0 to `share`, positive; `end` from there on."""
    return start + jnp.minimum(progress / share, 1.0) * (end - start)


def epsilon_greedy(q: Float[Array, "n"], epsilon: Float[Array, ""] | float, key: PRNGKeyArray) -> Int[Array, ""]:
    """With chance `epsilon` any of the n actions, each equally likely; else the first of the best by `q`."""
    chance, which = jax.random.uniform(key, (2,))
    anything = (which * len(q)).astype(jnp.int32)
    return jnp.where(chance < epsilon, anything, jnp.argmax(q).astype(jnp.int32))
