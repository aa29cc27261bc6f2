"""An environment in JAX as a `gymnasium.Env`, for agents and wrappers of the host's world.

Whoever resets it with the seed s meets the same episode as a compiled loop with the key `episode_key(s)`, as long as
the actions agree: the n-th step draws from `step_key(key, n)` in both. Then the numbers agree, to the bit for most
environments. XLA does not promise that, since it may round a product and a sum once or twice, and Acrobot shows it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium
import jax
import numpy as np

from rlbook.deep.environments.interface import Continuous, Discrete, Environment, Step, episode_key, step_key
from rlbook.errors import ParameterError, RlbookError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GymnasiumEnvironment(gymnasium.Env[Any, Any]):
    """What `to_gymnasium` returns. `state` is the environment's own, for `scene`, and None before the first reset."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        low, high = environment.observation_bounds()
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        actions = environment.action_space
        if isinstance(actions, Discrete):
            self.action_space: gymnasium.Space[Any] = gymnasium.spaces.Discrete(actions.n)
        else:
            self.action_space = gymnasium.spaces.Box(*_corners(actions))
        self.state: Any = None
        self._leaves, self._structure = jax.tree.flatten(environment)
        self._seed = np.uint32(0)
        self._steps = 0
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin the episode of this seed, 0 to 2^32 - 1; without one, the next seed is drawn from `np_random`."""
        if seed is not None:
            episode_key(seed)  # says what is wrong with a seed, before anything changes
        super().reset(seed=seed)
        self._seed = np.uint32(self.np_random.integers(2**32) if seed is None else seed)
        self.state, observation = _reset(self._structure, self._leaves, self._seed)
        self._steps, self._running = 0, True
        return np.asarray(observation), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take one step; raises ParameterError for an action outside of the space, RlbookError between episodes."""
        if not self._running:
            raise RlbookError(f"no episode of {self.environment.name} is running; call reset() before step()")
        taken = self._checked(action)
        self._steps += 1
        self.state, observation, paid, over = _step(
            self._structure, self._leaves, self.state, taken, self._seed, np.uint32(self._steps)
        )
        reward, terminated = float(paid), bool(over)
        if np.isnan(reward) and isinstance(self.environment.action_space, Discrete):
            self._running = False
            raise ParameterError(
                f"action {action} is not available in the state that {self.environment.name} was in; choose among the "
                "actions of that state, and call reset() now"
            )
        truncated = self._steps >= self.environment.time_limit and not terminated
        self._running = not (terminated or truncated)
        return np.asarray(observation), reward, terminated, truncated, {}

    def _checked(self, action: Any) -> NDArray[Any]:
        """The action as the environment takes it."""
        actions, given = self.environment.action_space, np.asarray(action)
        if isinstance(actions, Discrete):
            if given.shape != () or given.dtype.kind not in "iu" or not 0 <= given < actions.n:
                raise ParameterError(
                    f"action is {action!r}; {self.environment.name} takes a whole number from 0 to {actions.n - 1}"
                )
            return given.astype(np.int32)
        low, high = _corners(actions)
        if given.shape != low.shape or given.dtype.kind not in "iuf" or not np.all((low <= given) & (given <= high)):
            raise ParameterError(
                f"action is {action!r}; {self.environment.name} takes an array of shape {low.shape} between "
                f"{list(actions.low)} and {list(actions.high)}, so clip it to these bounds"
            )
        return given.astype(np.float32)


def to_gymnasium(environment: Environment) -> GymnasiumEnvironment:
    """Wrap an environment; its time limit truncates an episode, and a step that terminates is not truncated as well."""
    return GymnasiumEnvironment(environment)


def _corners(actions: Continuous) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.array(actions.low, dtype=np.float32), np.array(actions.high, dtype=np.float32)


# Compiled once for each environment; two that are equal up to the numbers in their arrays share the program. An
# environment arrives in pieces, since Equinox's own jit spends three times as long on finding what is static.
@partial(jax.jit, static_argnums=0)
def _reset(structure: Any, leaves: list[Any], seed: Any) -> tuple[Any, Any]:
    environment: Environment = jax.tree.unflatten(structure, leaves)
    return environment.reset(step_key(episode_key(seed), 0))


@partial(jax.jit, static_argnums=0)
def _step(structure: Any, leaves: list[Any], state: Any, action: Any, seed: Any, n: Any) -> Step:
    environment: Environment = jax.tree.unflatten(structure, leaves)
    return environment.step(state, action, step_key(episode_key(seed), n))
