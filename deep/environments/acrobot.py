"""Acrobot: two links hang from a bar, and torque at the joint between them must swing the tip above it."""

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

GRAVITY = 9.8  # m/s^2
TIME_STEP = 0.2  # s
TOP_SPEEDS = (4 * np.pi, 9 * np.pi)  # rad/s, of the two joints
HEIGHT = 1.0  # m above the bar, where the tip must come


class AcrobotState(NamedTuple):
    """The first link's angle from hanging down and the second's from the first, rad in [-pi, pi], and their speeds."""

    shoulder: Float[Array, ""]
    elbow: Float[Array, ""]
    shoulder_velocity: Float[Array, ""]
    elbow_velocity: Float[Array, ""]


class Acrobot(Environment):
    """`Acrobot-v1` of Gymnasium: -1 for each step, 0 for the one that brings the tip one metre above the bar.

    Actions 0, 1, 2 are torques of -1, 0 and 1 N m. The observation is cosine and sine of both angles and both speeds,
    (6,). An episode starts with all four quantities uniform in [-0.1, 0.1]. Links are 1 m and 1 kg each.

    Sources: Sutton (1996), *Generalization in reinforcement learning: successful examples using sparse coarse coding*,
    with the equations as in Sutton & Barto (1998), section 11.3, and one Runge-Kutta step of order four for 0.2 s, as
    in Gymnasium (Towers et al. 2024).
    """

    time_limit: int = eqx.field(static=True, default=500)
    name: str = eqx.field(static=True, init=False, default="Acrobot-v1")
    observation_shape: tuple[int, ...] = eqx.field(static=True, init=False, default=(6,))
    action_space: Discrete = eqx.field(static=True, init=False, default=Discrete(3))

    def reset(self, key: PRNGKeyArray) -> tuple[AcrobotState, Float[Array, "6"]]:
        """Nearly hanging, nearly at rest."""
        first = AcrobotState(*uniform(key, (4,), -0.1, 0.1))
        return first, _observe(first)

    def step(self, state: AcrobotState, action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """Integrate over 0.2 s under a constant torque, then wrap the angles and bound the speeds."""
        shoulder, elbow, shoulder_velocity, elbow_velocity = _runge_kutta(state, (action - 1).astype(jnp.float32))
        after = AcrobotState(
            _wrap(shoulder),
            _wrap(elbow),
            jnp.clip(shoulder_velocity, -TOP_SPEEDS[0], TOP_SPEEDS[0]),
            jnp.clip(elbow_velocity, -TOP_SPEEDS[1], TOP_SPEEDS[1]),
        )
        terminated = -jnp.cos(after.shoulder) - jnp.cos(after.shoulder + after.elbow) > HEIGHT
        return Step(after, _observe(after), jnp.where(terminated, 0.0, jnp.float32(-1.0)), terminated)

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One for cosines and sines, then the top speeds."""
        high = np.array([1.0, 1.0, 1.0, 1.0, *TOP_SPEEDS], dtype=np.float32)
        return -high, high


def _observe(state: AcrobotState) -> Float[Array, "6"]:
    one, two, one_velocity, two_velocity = state
    return jnp.stack([jnp.cos(one), jnp.sin(one), jnp.cos(two), jnp.sin(two), one_velocity, two_velocity])


def _runge_kutta(state: AcrobotState, torque: Float[Array, ""]) -> AcrobotState:
    """One step of the classical method of order four."""
    first = _derivative(state, torque)
    second = _derivative(_moved(state, first, TIME_STEP / 2), torque)
    third = _derivative(_moved(state, second, TIME_STEP / 2), torque)
    fourth = _derivative(_moved(state, third, TIME_STEP), torque)
    mean = AcrobotState(*(a + 2 * b + 2 * c + d for a, b, c, d in zip(first, second, third, fourth, strict=True)))
    return _moved(state, mean, TIME_STEP / 6)


def _moved(state: AcrobotState, slope: AcrobotState, time: float) -> AcrobotState:
    return AcrobotState(*(value + time * change for value, change in zip(state, slope, strict=True)))


def _derivative(state: AcrobotState, torque: Float[Array, ""]) -> AcrobotState:
    """Sutton & Barto's d1, d2, phi1 and phi2 with l = m = I = 1 and centres of mass at 1/2; the speeds come first."""
    theta1, theta2, dtheta1, dtheta2 = state
    cosine, sine = jnp.cos(theta2), jnp.sin(theta2)
    d1 = 3.5 + cosine
    d2 = 1.25 + 0.5 * cosine
    phi2 = 0.5 * GRAVITY * jnp.sin(theta1 + theta2)
    phi1 = -0.5 * dtheta2**2 * sine - dtheta2 * dtheta1 * sine + 1.5 * GRAVITY * jnp.sin(theta1) + phi2
    ddtheta2 = (torque + d2 / d1 * phi1 - 0.5 * dtheta1**2 * sine - phi2) / (1.25 - d2**2 / d1)
    return AcrobotState(dtheta1, dtheta2, -(d2 * ddtheta2 + phi1) / d1, ddtheta2)


def _wrap(angle: Float[Array, ""]) -> Float[Array, ""]:
    """The same angle in [-pi, pi]; both ends stay as they are."""
    turns = jnp.ceil((jnp.abs(angle) - np.pi) / (2 * np.pi))
    return angle - jnp.sign(angle) * 2 * np.pi * jnp.maximum(turns, 0.0)
