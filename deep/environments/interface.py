"""What an environment is: a reset and a step as pure functions, a name, the shapes of what it shows and takes.

An environment is an Equinox module and holds no episode: `step` is given the state and returns the next one. So it can
be compiled, mapped over seeds, and run inside the same program as an agent. Whoever runs an episode counts its steps,
since a time limit ends an episode without ending the world (Pardo et al. 2018, *Time limits in reinforcement
learning*).

    key = episode_key(0)
    state, observation = environment.reset(step_key(key, 0))
    state, observation, reward, terminated = environment.step(state, action, step_key(key, 1))
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep.threefry import fold_in
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32
    from numpy.typing import NDArray

MOST_STEPS = 2**31 - 1  # steps are counted in 32 bits
_MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Discrete:
    """Actions 0 to n - 1, integers of shape ()."""

    n: int


@dataclass(frozen=True)
class Continuous:
    """Actions between two corners, float32 of shape (d,); `low` and `high` hold d numbers each."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class Step(NamedTuple):
    """What one step gives; `state` is the environment's own, and `terminated` never says that time ran out."""

    state: Any
    observation: Float[Array, "..."]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]


class Environment(eqx.Module):
    """Base of all environments. Its methods are pure and draw from the key they are given, and from nothing else.

    name: as `make` knows it. observation_shape: of the observations, which are float32. action_space: what `step`
    takes; compiled code cannot raise, so an action outside of it gives what it gives. time_limit: steps after which an
    episode is truncated, from 1; those who run the episode count. Raises ParameterError for a bad time limit.

    What is wanted of a step beyond its interface: states keep their types from step to step, so that they can be
    carried through a loop; what is not random leaves its key alone, so that the key's making is compiled away.
    """

    name: eqx.AbstractVar[str]
    observation_shape: eqx.AbstractVar[tuple[int, ...]]
    action_space: eqx.AbstractVar[Discrete | Continuous]
    time_limit: eqx.AbstractVar[int]

    def __check_init__(self) -> None:
        require_whole("time_limit", self.time_limit, 1, MOST_STEPS)

    @abc.abstractmethod
    def reset(self, key: PRNGKeyArray) -> tuple[Any, Float[Array, "..."]]:
        """Draw a first state; returns it with its observation."""

    @abc.abstractmethod
    def step(self, state: Any, action: Int[Array, ""] | Float[Array, "d"], key: PRNGKeyArray) -> Step:
        """Take one step."""

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The least and the greatest value of each entry of an observation, infinite where nothing is promised."""
        high = np.full(self.observation_shape, np.inf, dtype=np.float32)
        return -high, high


def episode_key(seed: UInt32[Array, ""] | int) -> PRNGKeyArray:
    """The key of an episode. seed: 0 to 2^32 - 1; raises ParameterError where a Python integer is not."""
    if isinstance(seed, int):
        require_whole("seed", seed, 0, _MOST_SEED)
    return jax.random.key(jnp.uint32(seed))


def step_key(key: PRNGKeyArray, n: UInt32[Array, ""] | Int[Array, ""] | int) -> PRNGKeyArray:
    """The key of an episode's reset, n = 0, or of its n-th step, from 1."""
    return fold_in(key, n)
