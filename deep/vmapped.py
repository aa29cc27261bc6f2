"""The compiled driver over many seeds at once: on an accelerator all of them are one program, mapped over seeds.

On a CPU a program for each thread is quicker (`docs/speed.md`), so `Algorithm.train` does not use it. Seeds are what
they are alone, but for rounding: products of batches are summed in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep.algorithm import Algorithm
from rlbook.deep.block import evaluation_source
from rlbook.deep.compiled import advance_units, evaluate, start
from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Environment

if TYPE_CHECKING:
    from numpy.typing import NDArray


class VmappedTraining:
    """Training of many seeds of one algorithm in one compiled environment, all of them at the same unit."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Config,
        environment: Environment,
        seeds: Sequence[int],
        horizon: int,
        most: int,
    ) -> None:
        """seeds: from 0 to 2^32 - 1, n of them. horizon: steps of all of training. most: units of a call at most."""
        self._algorithm, self._config, self._environment = algorithm, config, environment
        self._seeds, self._horizon, self._most = jnp.array(seeds, jnp.uint32), np.float32(horizon), most
        self._carry, self._episodes = _start(algorithm, config, environment, self._seeds)

    def advance(self, units: int, *, learning: bool) -> dict[str, NDArray[Any]]:
        """Run `units` of every seed; metrics of each, (n, units)."""
        self._carry, self._episodes, metrics = _advance(
            self._algorithm,
            self._config,
            self._environment,
            self._carry,
            self._episodes,
            self._horizon,
            np.int32(units),
            most=self._most,
            learning=learning,
        )
        return {name: np.asarray(values)[:, :units] for name, values in metrics.items()}

    def evaluate(self, episodes: int) -> NDArray[np.float32]:
        """Returns of greedy episodes of every seed, (n, episodes)."""
        returns = _evaluate(
            self._algorithm, self._config, self._environment, self._carry.state, self._seeds, episodes=episodes
        )
        return np.asarray(returns)


@partial(jax.jit, static_argnums=0)
def _start(algorithm: Algorithm, config: Config, environment: Environment, seeds: Any) -> Any:
    return jax.vmap(partial(start, algorithm, config, environment))(seeds)


@partial(jax.jit, static_argnums=0, static_argnames=("most", "learning"), donate_argnums=(3, 4))
def _advance(
    algorithm: Algorithm,
    config: Config,
    environment: Environment,
    carry: Any,
    episodes: Any,
    horizon: Any,
    units: Any,
    *,
    most: int,
    learning: bool,
) -> Any:
    def one(carry: Any, episodes: Any) -> Any:
        return advance_units(
            algorithm, config, environment, carry, episodes, horizon, units, most=most, learning=learning
        )[:3]

    return jax.vmap(one)(carry, episodes)


@partial(jax.jit, static_argnums=0, static_argnames=("episodes",))
def _evaluate(
    algorithm: Algorithm, config: Config, environment: Environment, state: Any, seeds: Any, *, episodes: int
) -> Any:
    def one(state: Any, seed: Any) -> Any:
        return evaluate(algorithm, config, environment, state, evaluation_source(seed), 0, episodes=episodes)[0]

    return jax.vmap(one)(state, seeds)
