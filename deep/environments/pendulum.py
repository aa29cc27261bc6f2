"""Pendulum: a rod that turns about its end is to be swung up and held, with a torque too weak to lift it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.interface import Continuous, Environment, Step
from rlbook.deep.threefry import uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Float, PRNGKeyArray
    from numpy.typing import NDArray

GRAVITY = 10.0  # m/s^2
TIME_STEP = 0.05  # s
TOP_SPEED = 8.0  # rad/s
TOP_TORQUE = 2.0  # N m


class PendulumState(NamedTuple):
    """The angle from upright against the clock, rad and not wrapped, and its speed, rad/s."""

    angle: Float[Array, ""]
    angular_velocity: Float[Array, ""]


class Pendulum(Environment):
    """`Pendulum-v1` of Gymnasium: minus angle^2 + 0.1 speed^2 + 0.001 torque^2 of each step, and no end of its own.

    The action is a torque, (1,), in [-2, 2] N m; a greater one counts as 2. The observation is cosine and sine of the
    angle and its speed, (3,). An episode starts at any angle, with a speed uniform in [-1, 1]. The rod is 1 m and 1 kg.

    Source: Gymnasium (Towers et al. 2024), whose angular acceleration is 3 g / (2 l) sin(angle) + 3 torque / (m l^2).
    """

    time_limit: int = eqx.field(static=True, default=200)
    name: str = eqx.field(static=True, init=False, default="Pendulum-v1")
    observation_shape: tuple[int, ...] = eqx.field(static=True, init=False, default=(3,))
    action_space: Continuous = eqx.field(static=True, init=False, default=Continuous((-TOP_TORQUE,), (TOP_TORQUE,)))

    def reset(self, key: PRNGKeyArray) -> tuple[PendulumState, Float[Array, "3"]]:
        """At any angle, turning slowly."""
        angle, speed = uniform(key, (2,), -1.0, 1.0)
        first = PendulumState(np.pi * angle, speed)
        return first, _observe(first)

    def step(self, state: PendulumState, action: Float[Array, "1"], key: PRNGKeyArray) -> Step:
        """One step of 0.05 s: the speed first, then the angle with the new speed."""
        angle, speed = state
        torque = jnp.clip(action[0], -TOP_TORQUE, TOP_TORQUE)
        from_upright = jnp.mod(angle + np.pi, 2 * np.pi) - np.pi
        reward = -(from_upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
        speed = speed + (1.5 * GRAVITY * jnp.sin(angle) + 3.0 * torque) * TIME_STEP
        speed = jnp.clip(speed, -TOP_SPEED, TOP_SPEED)
        after = PendulumState(angle + speed * TIME_STEP, speed)
        return Step(after, _observe(after), reward, jnp.bool_(False))

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One for cosine and sine, then the top speed."""
        high = np.array([1.0, 1.0, TOP_SPEED], dtype=np.float32)
        return -high, high


def _observe(state: PendulumState) -> Float[Array, "3"]:
    return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.angular_velocity])
