"""Deep Sea as images: the world of `rlbook.environments.deep_sea`, with the diver drawn on the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.interface import Discrete, Environment, Step
from rlbook.environments.deep_sea import MOVE_COST, right_actions
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray
    from numpy.typing import NDArray

_MOST_CELLS = 1_000  # of a side
_MOST_SEED = 2**63 - 1


class DeepSeaState(NamedTuple):
    """The diver's row, from the top, and column; the row is `size` when the episode is over."""

    row: Int[Array, ""]
    column: Int[Array, ""]


class DeepSea(Environment):
    """The deterministic Deep Sea: sink for `size` steps, and only going right every time finds the treasure (+1).

    size: rows and columns, from 2. scrambled: whether which action goes right is drawn for each cell, from `seed`; if
    not, action 1 goes right. The observation is a one-hot image, (size, size), and empty at the end. Going right costs
    0.01 / size, so the best return is 0.99; an episode takes `size` steps, so its time limit is never reached. Nothing
    is random once the map is drawn. `make("deep-sea(size=10, seed=0)")` is the same world as a finite MDP.

    Sources: Osband et al. (2019), *Deep exploration via randomized value functions*; Osband et al. (2020), *Behaviour
    suite for reinforcement learning*.
    """

    right_action: Int[Array, "size size"]
    size: int = eqx.field(static=True)
    scrambled: bool = eqx.field(static=True)
    name: str = eqx.field(static=True)
    observation_shape: tuple[int, ...] = eqx.field(static=True)
    action_space: Discrete = eqx.field(static=True)
    time_limit: int = eqx.field(static=True)

    def __init__(self, size: int = 10, scrambled: bool = True, seed: int = 0) -> None:
        require_whole("size", size, 2, _MOST_CELLS)
        require_whole("seed", seed, 0, _MOST_SEED)
        self.size, self.scrambled = int(size), bool(scrambled)
        mapping = right_actions(self.size, self.scrambled, int(seed)).reshape(self.size, self.size)
        self.right_action = jnp.asarray(mapping, dtype=jnp.int32)
        self.name = "DeepSea"
        self.observation_shape = (self.size, self.size)
        self.action_space = Discrete(2)
        self.time_limit = self.size + 1

    def reset(self, key: PRNGKeyArray) -> tuple[DeepSeaState, Float[Array, "size size"]]:
        """At the top left."""
        first = DeepSeaState(jnp.int32(0), jnp.int32(0))
        return first, self._observe(first)

    def step(self, state: DeepSeaState, action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """Sink by a row, one column to the left or to the right."""
        goes_right = action == self.right_action[state.row, state.column]
        found = jnp.where(state.column == self.size - 1, 1.0, 0.0)
        reward = jnp.where(goes_right, found - MOVE_COST / self.size, jnp.float32(0.0))
        column = jnp.clip(state.column + jnp.where(goes_right, 1, -1), 0, self.size - 1)
        after = DeepSeaState(state.row + 1, column)
        return Step(after, self._observe(after), reward, after.row == self.size)

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Zero and one."""
        return np.zeros(self.observation_shape, np.float32), np.ones(self.observation_shape, np.float32)

    def _observe(self, state: DeepSeaState) -> Float[Array, "size size"]:
        places = jnp.arange(self.size)
        return ((places[:, None] == state.row) & (places == state.column)).astype(jnp.float32)
