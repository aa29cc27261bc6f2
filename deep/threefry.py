"""JAX's own random numbers for the inside of compiled loops.

On a CPU JAX writes the twenty rounds of its generator as a loop, which is quick to compile and slow to run: to make a
key and draw one number takes 660 ns within a scan, where a step of CartPole takes 20. Here the rounds are written out
and become part of the step, and the same takes 18. Keys and random bits are those of `jax.random`; keys of another kind
than its usual one are passed on to it.

Source: Salmon et al. (2011), *Parallel random numbers: as easy as 1, 2, 3*, the generator Threefry-2x32-20.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def fold_in(key: PRNGKeyArray, n: UInt32[Array, ""] | Int[Array, ""] | int) -> PRNGKeyArray:
    """`jax.random.fold_in`: the key that belongs to the number n, 0 to 2^32 - 1."""
    if not _is_threefry(key):
        return jax.random.fold_in(key, n)
    first, second = _words(key)
    words = _rounds(first, second, jnp.uint32(0), jnp.asarray(n).astype(jnp.uint32))
    return jax.random.wrap_key_data(jnp.stack(words), impl="threefry2x32")


def uniform(
    key: PRNGKeyArray, shape: tuple[int, ...] = (), minval: float = 0.0, maxval: float = 1.0
) -> Float[Array, "..."]:
    """`jax.random.uniform`: float32 in [minval, maxval)."""
    if not _is_threefry(key):
        return jax.random.uniform(key, shape, minval=minval, maxval=maxval)
    first, second = _words(key)
    counter = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    one, other = _rounds(first, second, jnp.zeros_like(counter), counter)
    # 23 random bits behind the exponent of one give a number in [1, 2).
    unit = jax.lax.bitcast_convert_type(((one ^ other) >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    low, high = jnp.float32(minval), jnp.float32(maxval)
    return jnp.maximum(low, unit * (high - low) + low)


def integer_below(key: PRNGKeyArray, n: int) -> Int[Array, ""]:
    """A whole number from 0 to n - 1, int32, as a part of [0, 1) in 2^23 steps: n must be far smaller."""
    return (uniform(key) * n).astype(jnp.int32)


def _is_threefry(key: PRNGKeyArray) -> bool:
    # Without partitioning, JAX hands out its counters in another order.
    usual = bool(jax.config.jax_threefry_partitionable)  # type: ignore[attr-defined]
    return usual and str(jax.random.key_impl(key)) == "threefry2x32"


def _words(key: PRNGKeyArray) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    data = jax.random.key_data(key)
    return data[0], data[1]


@partial(jax.jit, inline=True)  # outside of compiled code this is one call, not a hundred
def _rounds(
    first: UInt32[Array, ""], second: UInt32[Array, ""], x0: UInt32[Array, "..."], x1: UInt32[Array, "..."]
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """The hash of a counter of two words under a key of two words."""
    schedule = (first, second, first ^ second ^ jnp.uint32(_PARITY))
    x0, x1 = x0 + first, x1 + second
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << turn) | (x1 >> (32 - turn)))
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1
