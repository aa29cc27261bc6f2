"""MountainCar: a car too weak for its hill must swing up to leave the valley."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.interface import Discrete, Environment, Step
from rlbook.deep.threefry import uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray
    from numpy.typing import NDArray

LEFT_END, RIGHT_END, GOAL = -1.2, 0.6, 0.5
TOP_SPEED = 0.07  # per step
ENGINE, GRAVITY = 0.001, 0.0025


class MountainCarState(NamedTuple):
    """Where the car is, and how far it goes in a step."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]


class MountainCar(Environment):
    """`MountainCar-v0` of Gymnasium: -1 for each step until the car is at 0.5 or further right.

    Actions: 0 pushes left, 1 does nothing, 2 pushes right. The observation is position and velocity, (2,); an episode
    starts at rest, uniform in [-0.6, -0.4]. The wall on the left takes all speed.

    Sources: Moore (1990), *Efficient memory-based learning for robot control*; the equations of Sutton & Barto (2018),
    Example 10.1, with the ends of the track as in Gymnasium (Towers et al. 2024).
    """

    time_limit: int = eqx.field(static=True, default=200)
    name: str = eqx.field(static=True, init=False, default="MountainCar-v0")
    observation_shape: tuple[int, ...] = eqx.field(static=True, init=False, default=(2,))
    action_space: Discrete = eqx.field(static=True, init=False, default=Discrete(3))

    def reset(self, key: PRNGKeyArray) -> tuple[MountainCarState, Float[Array, "2"]]:
        """At rest near the valley's bottom."""
        first = MountainCarState(uniform(key, (), -0.6, -0.4), jnp.float32(0.0))
        return first, jnp.stack(first)

    def step(self, state: MountainCarState, action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """Push, roll by one step, and stop at the wall."""
        velocity = state.velocity + (action - 1) * ENGINE - GRAVITY * jnp.cos(3 * state.position)
        velocity = jnp.clip(velocity, -TOP_SPEED, TOP_SPEED)
        position = jnp.clip(state.position + velocity, LEFT_END, RIGHT_END)
        velocity = jnp.where((position <= LEFT_END) & (velocity < 0), 0.0, velocity)
        after = MountainCarState(position, velocity)
        terminated = (position >= GOAL) & (velocity >= 0.0)
        return Step(after, jnp.stack(after), jnp.float32(-1.0), terminated)

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The ends of the track, and the top speed."""
        ends = np.array([[LEFT_END, -TOP_SPEED], [RIGHT_END, TOP_SPEED]], dtype=np.float32)
        return ends[0], ends[1]
