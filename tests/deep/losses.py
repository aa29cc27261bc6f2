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
    return Table(jnp.asarray(3 * rng.normal(size=(ROWS, ACTIONS, *shape))))


def batch(rng, observations=None) -> Batch:
    """Of random rows, of which some end the world; observations are row numbers unless they are given, (2, ROWS, d)."""
    here, there = (jnp.arange(ROWS), jnp.arange(ROWS)) if observations is None else map(jnp.asarray, observations)
    return Batch(
        observation=here,
        action=jnp.asarray(rng.integers(0, ACTIONS, ROWS)),
        reward=jnp.asarray(2 * rng.normal(size=ROWS)),
        discount=jnp.asarray(rng.choice([0.0, 0.9, 0.99], ROWS)),
        bootstrap_observation=there,
        weight=jnp.asarray(rng.uniform(0.1, 1.0, ROWS)),
        index=jnp.arange(ROWS),
    )


def plain(*trees):
    """The same as numpy's arrays."""
    return jax.tree.map(np.asarray, trees)


def begun(module, config):
    """The state of an algorithm before its first step."""
    return jax.jit(module.init, static_argnums=1)(config, SPACES, jax.random.key(0))


def network(kind, config, rng, shape=SPACES.observation_shape):
    """A network with random weights, by numpy: to draw them in JAX takes a second to compile."""
    spaces = Spaces(shape, SPACES.actions)
    leaves = jax.eval_shape(lambda: kind(config, spaces, jax.random.key(0)))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-0.5, 0.5, leaf.shape)), leaves)


def gradient_error(loss, network) -> float:
    """The greatest relative distance of a slope by `jax.grad` from central differences, over random directions."""
    flat, unravel = ravel_pytree(network)
    assert flat.dtype == jnp.float64
    along, step = np.random.default_rng(0).normal(size=(3, len(flat))), 1e-6

    @jax.jit
    def both(flat, along):
        at = jax.vmap(lambda flat: loss(unravel(flat)))
        by_differences = (at(flat + step * along) - at(flat - step * along)) / (2 * step)
        return along @ jax.grad(lambda flat: loss(unravel(flat)))(flat), by_differences

    slope, by_differences = map(np.asarray, both(flat, along))
    return float(np.max(np.abs(slope - by_differences) / np.maximum(np.abs(slope), 1e-3)))
