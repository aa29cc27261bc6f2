"""What tests of losses share: networks that are tables, random batches, and gradients by finite differences."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from rlbook.deep.algorithm import Spaces
from rlbook.deep.environments.interface import Discrete
from rlbook.deep.replay import Batch

ROWS, ACTIONS = 64, 3
SPACES = Spaces((4,), Discrete(ACTIONS))


class Table(eqx.Module):
    """A network whose output for observation i is row i of a table."""

    rows: jax.Array

    def __call__(self, observation):
        return self.rows[observation]


def table(rng, *shape) -> Table:
    return Table(jnp.asarray(3 * rng.normal(size=(ROWS, ACTIONS, *shape)), jnp.float32))


def batch(rng, observations=None) -> Batch:
    """Of random rows, of which some end the world; observations are row numbers unless they are given, (2, ROWS, d)."""
    here, there = (jnp.arange(ROWS), jnp.arange(ROWS)) if observations is None else map(jnp.asarray, observations)
    return Batch(
        observation=here,
        action=jnp.asarray(rng.integers(0, ACTIONS, ROWS)),
        reward=jnp.asarray(2 * rng.normal(size=ROWS), float),
        discount=jnp.asarray(rng.choice([0.0, 0.9, 0.99], ROWS), float),
        bootstrap_observation=there,
        weight=jnp.asarray(rng.uniform(0.1, 1.0, ROWS), float),
        index=jnp.arange(ROWS),
    )


def plain(tree):
    """The same in float64 and numpy."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64 if leaf.dtype.kind == "f" else None), tree)


def gradient_error(loss, network, directions=3) -> float:
    """The greatest relative distance of a slope by `jax.grad` from central differences; call it with x64 enabled."""
    flat, unravel = ravel_pytree(network)
    assert flat.dtype == jnp.float64
    at, rng, step = jax.jit(lambda flat: loss(unravel(flat))), np.random.default_rng(0), 1e-6
    gradient, worst = jax.jit(jax.grad(lambda flat: loss(unravel(flat))))(flat), 0.0
    for _ in range(directions):
        along = rng.normal(size=len(flat))
        slope = float(gradient @ along)
        by_differences = float(at(flat + step * along) - at(flat - step * along)) / (2 * step)
        worst = max(worst, abs(slope - by_differences) / max(abs(slope), 1e-3))
    return worst
