"""Small agents and worlds for tests of the frame, which must compile fast and whose answers are known."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from rlbook.deep import dqn
from rlbook.deep.algorithm import Algorithm
from rlbook.deep.config import Config
from rlbook.deep.environments import Discrete, Environment, Step, make
from rlbook.deep.experience import Stream
from rlbook.deep.replay import Learned, Replay

# Twelve rows of warm-up, then an update at every fourth step.
SMALL: dict[str, Any] = {
    **{"first_width": 8, "second_width": 8, "batch_size": 4, "train_every": 4},
    **{"buffer_size": 64, "learning_starts": 12, "target_every": 3, "learning_rate": 1e-2},
}
CONFIG = dqn.Config(**SMALL)
# Episodes are cut as well as ended. Tests share this world and CONFIG, since that is one compilation for all.
CART = make("CartPole-v1(time_limit=13)")
CHUNK = 250  # units of it that training asks for at once


class Corridor(Environment):
    """A walk to the right that pays the place it leaves; its end is an end of the world, its time limit is not."""

    length: int = eqx.field(static=True, default=6)
    pay: float = 1.0
    time_limit: int = eqx.field(static=True, default=4)
    name: str = eqx.field(static=True, default="corridor")
    observation_shape: tuple[int, ...] = eqx.field(static=True, init=False, default=(1,))
    action_space: Discrete = eqx.field(static=True, init=False, default=Discrete(2))

    def reset(self, key):
        place = jax.random.randint(key, (), 0, self.length - 1)
        return place, self._seen(place)

    def step(self, state, action, key):
        place = jnp.clip(state + 2 * action - 1, 0, self.length - 1)
        return Step(place, self._seen(place), state * jnp.float32(self.pay), place == self.length - 1)

    def _seen(self, place):
        return (place / self.length)[None].astype(jnp.float32)


class TableConfig(Config):
    """discount and shift are arguments of the program, size is part of it."""

    discount: float = Field(0.9, ge=0, le=1)
    shift: float = Field(0.0, description="added to all values by each update")
    size: int = Field(1, ge=1, le=10)


def table_algorithm(q: np.ndarray) -> Algorithm:
    """An agent for one-hot observations that has these values, (S, A), from the start."""

    def values(config, state, observation):
        return observation @ state

    def greedy(config, state, observation):
        return jnp.argmax(values(config, state, observation)).astype(jnp.int32)

    return Algorithm(
        name="table",
        title="A table",
        Config=TableConfig,
        experience=lambda config: Stream(),
        init=lambda config, spaces, key: jnp.asarray(q, dtype=jnp.float32),
        act=lambda config, state, observation, key, progress: greedy(config, state, observation),
        greedy=greedy,
        update=lambda config, state, row, key: (state + config.shift, {"loss": row.reward}),
        action_values=values,
    )


class WalkerConfig(Config):
    """every: steps between two updates."""

    grain: float = Field(1.0, description="how fast the weight moves")
    every: int = Field(4, ge=1, le=100)


def _update(config: WalkerConfig, weight: Any, batch: Any, key: Any) -> Any:
    error = batch.reward + batch.discount * weight - weight
    return weight + config.grain * jnp.mean(error), Learned(error, {"loss": jnp.mean(error**2)})


# It walks at random, stores what it sees, and learns one number: the value of all states as if they were one.
WALKER = Algorithm(
    name="walker",
    title="A walk at random",
    Config=WalkerConfig,
    experience=lambda config: Replay(discount=0.9, every=config.every, batch=2, capacity=64, warm_up=8),
    init=lambda config, spaces, key: jnp.zeros(()),
    act=lambda config, state, observation, key, progress: jax.random.randint(key, (), 0, 2),
    greedy=lambda config, state, observation: jnp.int32(1),
    update=_update,
)


class Counting(gymnasium.Env):
    """A world of Gymnasium's own: it counts steps, may say that it both terminated and was cut, and may not be seeded.

    states: of a Discrete observation space that starts at 5.
    """

    def __init__(self, ends: int = 3, seeded: bool = True) -> None:
        self.observation_space = gymnasium.spaces.Discrete(10, start=5)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._ends, self._seeded = ends, seeded
        self._free = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        source = self.np_random if self._seeded else self._free
        self._at = int(source.integers(5))
        self._left = self._ends
        return self._at + 5, {}

    def step(self, action):
        self._at, self._left = (self._at + 1) % 10, self._left - 1
        over = self._left == 0
        return self._at + 5, 1.0, over, over, {}
