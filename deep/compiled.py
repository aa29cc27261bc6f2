"""The compiled driver: agent and environment in one program, which runs a chunk of training at a time.

The unit is [a block of steps that emit rows -> one contiguous write into the memory -> one update]. The memory is
carried by the loop over units only, never by the scan over steps, or it would be copied at each of them; and the
update is no branch of a condition, which under `vmap` would become a choice between two results, both computed. Blocks
before the first update are a program of their own. How many units a chunk has is an argument of the program, so that
one compilation serves every length.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.array_files import leaves_of, tree_of
from rlbook.deep.block import Block, Carry, absorb, beginning, block_of, evaluation_source
from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Environment
from rlbook.deep.episodes import Ending, Episode, Row, advance, begin, renew

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray
    from numpy.typing import NDArray


@partial(jax.jit, static_argnums=0)
def start(algorithm: Algorithm, config: Config, environment: Environment, seed: Any) -> tuple[Carry, Episode]:
    """The beginning of training under a seed: what learns, and the environments, (E, ...)."""
    spaces = Spaces(environment.observation_shape, environment.action_space)
    carry, sources = beginning(algorithm, config, spaces, seed)
    return carry, jax.vmap(begin, (None, 0))(environment, sources)


@partial(jax.jit, static_argnums=0, static_argnames=("most", "learning"), donate_argnums=(3, 4))
def advance_units(
    algorithm: Algorithm,
    config: Config,
    environment: Environment,
    carry: Carry,
    episodes: Episode,
    horizon: Float[Array, ""] | float,
    units: Int[Array, ""] | int,
    *,
    most: int,
    learning: bool,
) -> tuple[Carry, Episode, dict[str, Float[Array, "most"]], Ending]:
    """Run `units`, at most `most`; beside where that leads, metrics of each unit and endings (most, length, E).

    horizon: steps of all of training. What is returned for units beyond `units` is no number, or false.
    """
    kind = algorithm.experience(config)

    def unit(carry: Carry, episodes: Episode) -> tuple[Carry, Episode, dict[str, Array], Ending]:
        block = block_of(kind, carry, horizon)
        episodes, rows, endings = _collect(algorithm, config, environment, carry.state, episodes, block)
        carry, metrics = absorb(algorithm, config, carry, rows, block, learning=learning)
        return carry, episodes, metrics, endings

    shapes = jax.eval_shape(unit, carry, episodes)[2:]
    kept = jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), shapes)

    def body(n: Array, at: Any) -> Any:
        carry, episodes, kept = at
        carry, episodes, *told = unit(carry, episodes)
        return carry, episodes, jax.tree.map(lambda all_of, one: all_of.at[n].set(one), kept, tuple(told))

    carry, episodes, (metrics, endings) = jax.lax.fori_loop(0, units, body, (carry, episodes, kept))
    return carry, episodes, metrics, endings


def _collect(
    algorithm: Algorithm, config: Config, environment: Environment, state: Any, episodes: Episode, block: Block
) -> tuple[Episode, Row, Ending]:
    act = partial(algorithm.act, config, state)

    def one(episodes: Episode, given: Any) -> tuple[Episode, tuple[Row, Ending]]:
        keys, progress = given
        action = jax.vmap(act, (0, 0, None))(episodes.observation, keys, progress)
        after, row, ending = jax.vmap(advance, (None, 0, 0))(environment, episodes, action)
        return renew(environment, after, ending.ended), (row, ending)

    episodes, (rows, endings) = jax.lax.scan(one, episodes, (block.acting, block.progress))
    return episodes, rows, endings


@partial(jax.jit, static_argnums=0, static_argnames=("episodes",))
def evaluate(
    algorithm: Algorithm,
    config: Config,
    environment: Environment,
    state: Any,
    source: PRNGKeyArray,
    first: Int[Array, ""] | int,
    *,
    episodes: int,
) -> tuple[Float[Array, "episodes"], Int[Array, "episodes"]]:
    """Returns and lengths of greedy episodes, of the numbers `first` and following."""
    greedy = partial(algorithm.greedy, config, state)
    at = jax.vmap(begin, (None, None, 0))(environment, source, first + jnp.arange(episodes))

    def step(now: Any) -> Any:
        at, over = now
        after, _, ending = jax.vmap(advance, (None, 0, 0))(environment, at, jax.vmap(greedy)(at.observation))
        kept = after._replace(
            total=jnp.where(over, at.total, after.total), length=jnp.where(over, at.length, after.length)
        )
        return kept, over | ending.ended

    at, _ = jax.lax.while_loop(lambda now: ~now[1].all(), step, (at, jnp.zeros(episodes, bool)))
    return at.total, at.length


class CompiledTraining:
    """Training of one seed, where environment and agent are one program."""

    def __init__(
        self, algorithm: Algorithm, config: Config, environment: Environment, seed: int, horizon: int, most: int
    ) -> None:
        """horizon: steps of all of training. most: units of a chunk at most."""
        self._algorithm, self._config, self._environment = algorithm, config, environment
        self._seed, self._horizon, self._most = seed, np.float32(horizon), most
        self.spaces = Spaces(environment.observation_shape, environment.action_space)
        self.carry, self._episodes = start(algorithm, config, environment, np.uint32(seed))

    def advance(self, units: int, *, learning: bool) -> tuple[dict[str, NDArray[Any]], Ending]:
        """Run `units`; metrics of each, and endings (units, length, E)."""
        self.carry, self._episodes, *told = advance_units(
            self._algorithm,
            self._config,
            self._environment,
            self.carry,
            self._episodes,
            self._horizon,
            np.int32(units),
            most=self._most,
            learning=learning,
        )
        metrics, endings = jax.tree.map(lambda leaf: np.asarray(leaf)[:units], tuple(told))
        return metrics, endings

    def evaluate(self, first: int, episodes: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Returns and lengths of greedy episodes, of the numbers `first` and following."""
        source = evaluation_source(np.uint32(self._seed))
        returns, lengths = evaluate(
            self._algorithm,
            self._config,
            self._environment,
            self.carry.state,
            source,
            np.int32(first),
            episodes=episodes,
        )
        return np.asarray(returns), np.asarray(lengths)

    @property
    def state(self) -> Any:
        """The agent's state."""
        return self.carry.state

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that training goes on from, by name."""
        return {**leaves_of(self.carry, "carry"), **leaves_of(self._episodes, "episodes")}

    def restore(self, arrays: dict[str, NDArray[Any]], where: str) -> None:
        """Go on from there; raises ArrayFileError, in which the file is called `where`."""
        carry = tree_of(self.carry, arrays, "carry", where)
        self.carry, self._episodes = carry, tree_of(self._episodes, arrays, "episodes", where)

    def close(self) -> None:
        """Nothing is held."""
