"""CartPole: a cart is pushed left or right so that the pole on it does not fall."""

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
CART, POLE = 1.0, 0.1  # kg
HALF_LENGTH = 0.5  # m, of the pole
FORCE = 10.0  # N
TIME_STEP = 0.02  # s
TRACK_END = 2.4  # m, from the middle
FALLEN = 12 * np.pi / 180  # rad
_TOTAL = CART + POLE


class CartPoleState(NamedTuple):
    """Where the cart is, m, and how far the pole leans to the right, rad, with their speeds per second."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]
    angle: Float[Array, ""]
    angular_velocity: Float[Array, ""]


class CartPole(Environment):
    """`CartPole-v1` of Gymnasium: +1 for each step until the pole leans by 12 degrees or the cart leaves its track.

    Action 0 pushes left, 1 right. The observation is the state, (4,), and an episode starts with all four uniform in
    [-0.05, 0.05].

    Sources: Barto, Sutton & Anderson (1983), *Neuronlike adaptive elements that can solve difficult learning control
    problems*; the equations without friction of Florian (2007), *Correct equations for the dynamics of the cart-pole
    system*; constants and Euler steps as in Gymnasium (Towers et al. 2024).
    """

    time_limit: int = eqx.field(static=True, default=500)
    name: str = eqx.field(static=True, init=False, default="CartPole-v1")
    observation_shape: tuple[int, ...] = eqx.field(static=True, init=False, default=(4,))
    action_space: Discrete = eqx.field(static=True, init=False, default=Discrete(2))

    def reset(self, key: PRNGKeyArray) -> tuple[CartPoleState, Float[Array, "4"]]:
        """All four quantities near zero."""
        first = uniform(key, (4,), -0.05, 0.05)
        return CartPoleState(*first), first

    def step(self, state: CartPoleState, action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """One Euler step of 0.02 s."""
        x, x_dot, theta, theta_dot = state
        sine, cosine = jnp.sin(theta), jnp.cos(theta)
        force = jnp.where(action == 1, FORCE, -FORCE)
        push = (force + POLE * HALF_LENGTH * theta_dot**2 * sine) / _TOTAL
        inertia = HALF_LENGTH * (4.0 / 3.0 - POLE * cosine**2 / _TOTAL)
        theta_acceleration = (GRAVITY * sine - cosine * push) / inertia
        x_acceleration = push - POLE * HALF_LENGTH * theta_acceleration * cosine / _TOTAL
        after = CartPoleState(
            x + TIME_STEP * x_dot,
            x_dot + TIME_STEP * x_acceleration,
            theta + TIME_STEP * theta_dot,
            theta_dot + TIME_STEP * theta_acceleration,
        )
        terminated = (jnp.abs(after.position) > TRACK_END) | (jnp.abs(after.angle) > FALLEN)
        return Step(after, jnp.stack(after), jnp.float32(1.0), terminated)

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Twice the place and the angle that end an episode; speeds have no bound."""
        high = np.array([2 * TRACK_END, np.inf, 2 * FALLEN, np.inf], dtype=np.float32)
        return -high, high
