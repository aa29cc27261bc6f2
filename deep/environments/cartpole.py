from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from rlbook.deep.environments.interface import Discrete, Environment, Step


class CartPole(Environment):
    name: str = eqx.field(static=True, default="CartPole-v1")
    observation_shape: tuple = eqx.field(static=True, default=(4,))
    action_space: Discrete = eqx.field(static=True, default=Discrete(2))
    time_limit: int = eqx.field(static=True, default=500)

    def reset(self, key):
        s = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return s, s

    def step(self, state, action, key):
        x, xd, th, thd = state
        f = jnp.where(action == 1, 10.0, -10.0)
        c, s = jnp.cos(th), jnp.sin(th)
        temp = (f + 0.05 * thd**2 * s) / 1.1
        tha = (9.8 * s - c * temp) / (0.5 * (4.0 / 3.0 - 0.1 * c**2 / 1.1))
        xa = temp - 0.05 * tha * c / 1.1
        n = jnp.stack([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha])
        done = (jnp.abs(n[0]) > 2.4) | (jnp.abs(n[2]) > 12 * 2 * jnp.pi / 360)
        return Step(n, n, jnp.float32(1.0), done)
