"""Probe environments: the least that tells whether an agent learns, with answers that are known.

All are one class whose tables are data, so that an agent's program is compiled once for all of them.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.environments.interface import Discrete, Environment, Step

DISCOUNT = 0.5


class Probe(Environment):
    """Two states, two actions. In state s an agent sees `seen[s]`; it begins in state 1 with chance `second`.

    reward: (2, 2), of state and action. following: of a state, where it leads to. ends: whether the world ends there.
    """

    seen: jax.Array = eqx.field(kw_only=True)
    second: jax.Array = eqx.field(kw_only=True)
    reward: jax.Array = eqx.field(kw_only=True)
    following: jax.Array = eqx.field(kw_only=True)
    ends: jax.Array = eqx.field(kw_only=True)
    name: str = eqx.field(static=True, default="probe")
    observation_shape: tuple[int, ...] = eqx.field(static=True, default=(1,))
    action_space: Discrete = eqx.field(static=True, default=Discrete(2))
    time_limit: int = eqx.field(static=True, default=2)

    def reset(self, key):
        state = jax.random.bernoulli(key, self.second).astype(jnp.int32)
        return state, self.seen[state][None]

    def step(self, state, action, key):
        following = self.following[state]
        return Step(following, self.seen[following][None], self.reward[state, action], self.ends[state])


def probe(seen, second, reward, following=(0, 1), ends=(True, True)) -> Probe:
    return Probe(
        seen=jnp.asarray(seen, jnp.float32),
        second=jnp.float32(second),
        reward=jnp.broadcast_to(jnp.asarray(reward, jnp.float32), (2, 2)),
        following=jnp.asarray(following, jnp.int32),
        ends=jnp.asarray(ends),
    )


# name: (environment, the action values of both states, (2, 2); not a number where a state is never seen)
NEVER = [np.nan, np.nan]
PROBES = {
    "constant value": (probe((1, 1), 0.0, 1.0), [[1, 1], NEVER]),
    "value of an observation": (probe((-1, 1), 0.5, [[-1, -1], [1, 1]]), [[-1, -1], [1, 1]]),
    "discounted value": (probe((-1, 1), 0.0, [[0, 0], [1, 1]], (1, 1), (False, True)), [[DISCOUNT] * 2, [1, 1]]),
    "right action": (probe((1, 1), 0.0, [[-1, 1]] * 2), [[-1, 1], NEVER]),
    "action of an observation": (probe((-1, 1), 0.5, [[1, -1], [-1, 1]]), [[1, -1], [-1, 1]]),
    # Only time ends it, in state 1, which pays 1 for ever: 2 there. Taken for an end it would be 1, and bootstrapped
    # from the first observation of the next episode instead of the last of this one, 4/3.
    "time limit": (probe((-1, 1), 0.0, [[0, 0], [1, 1]], (1, 1), (False, False)), [[1, 1], [2, 2]]),
}


def train(algorithm, config, environment, steps: int, seed: int = 0):
    """The agent's state after so many steps, by the compiled driver."""
    kind = algorithm.experience(config)
    units = steps // (kind.length * kind.environments)
    training = CompiledTraining(algorithm, config, environment, seed, steps, units)
    # Learning begins at once, so that no program without it has to be compiled; a memory holds a block by then.
    training.advance(units, learning=True)
    return training.carry.state


def error(algorithm, config, environment, answer, state) -> float:
    """The greatest distance of the agent's action values from the answer."""
    values = np.array([algorithm.action_values(config, state, seen[None]) for seen in environment.seen])
    return float(np.nanmax(np.abs(values - np.array(answer))))
