"""Any `FiniteMDP` as an environment of pure functions, for agents that are compiled together with their world.

On a finite MDP a deep agent can be graded against the exact optimal values from `rlbook.tabular`. States are those of
the MDP, in the same order; a step costs one binary search in the row's cumulative probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.interface import Discrete, Environment, Step
from rlbook.deep.threefry import uniform
from rlbook.mdp import FiniteMDP
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
    from numpy.typing import NDArray

_MOST_FEATURES = 1_000_000
_MOST_SEED = 2**63 - 1


class FiniteMDPEnvironment(Environment):
    """A finite MDP that can be compiled. Its state is the index of the MDP's state, int32.

    Observations are one-hot, (S,), or random features, (features,). Actions are labels 0 to A - 1; one that is not
    available in the present state gives a NaN reward and the transition of the state's first action, since compiled
    code cannot raise. Rewards and probabilities are rounded to float32. `mdp` is the model itself: part of the compiled
    program, not of its arguments. Where the MDP is deterministic nothing is drawn.
    """

    pair: Int[Array, "S A"]
    row_ptr: Int[Array, "pairs+1"]
    continuing_end: Int[Array, "pairs"]
    next_state: Int[Array, "transitions"]
    cumulative: Float[Array, "transitions"]
    reward: Float[Array, "transitions"]
    start_state: Int[Array, "starts"]
    start_cumulative: Float[Array, "starts"]
    features: Float[Array, "S d"] | None
    mdp: FiniteMDP = eqx.field(static=True)
    most_following: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    observation_shape: tuple[int, ...] = eqx.field(static=True)
    action_space: Discrete = eqx.field(static=True)
    time_limit: int = eqx.field(static=True)

    def __init__(
        self, mdp: FiniteMDP, time_limit: int = 1_000, features: int | None = None, feature_seed: int = 0
    ) -> None:
        """time_limit: steps after which an episode is truncated, from 1.

        features: None shows each state as a one-hot vector; a number shows it as a fixed vector of so many independent
        standard normal numbers, drawn from `feature_seed`. Raises ParameterError for values out of range.
        """
        lengths = np.diff(mdp.row_ptr)
        paid = mdp.reward if mdp.reward is not None else np.repeat(mdp.expected_reward, lengths)
        begins = np.flatnonzero(mdp.start)
        self.pair = jnp.asarray(_pairs(mdp))
        self.row_ptr = jnp.asarray(mdp.row_ptr, dtype=jnp.int32)
        self.continuing_end = jnp.asarray(mdp.continuing_end, dtype=jnp.int32)
        self.next_state = jnp.asarray(mdp.next_state)
        self.cumulative = _cumulative(mdp.probability, mdp.row_ptr)
        self.reward = jnp.asarray(paid, dtype=jnp.float32)
        self.start_state = jnp.asarray(begins, dtype=jnp.int32)
        self.start_cumulative = _cumulative(mdp.start[begins], np.array([0, len(begins)]))
        self.mdp = mdp
        self.most_following = int(lengths.max())
        self.time_limit = time_limit
        self.action_space = Discrete(mdp.n_actions)
        if features is None:
            self.features, self.name = None, mdp.name
        else:
            require_whole("features", features, 1, _MOST_FEATURES)
            require_whole("feature_seed", feature_seed, 0, _MOST_SEED)
            drawn = np.random.Generator(np.random.Philox(feature_seed)).standard_normal((mdp.n_states, int(features)))
            self.features = jnp.asarray(drawn, dtype=jnp.float32)
            self.name = f"{mdp.name}, {int(features)} random features (seed {int(feature_seed)})"
        self.observation_shape = (mdp.n_states if features is None else int(features),)

    def reset(self, key: PRNGKeyArray) -> tuple[Int[Array, ""], Float[Array, "d"]]:
        """Draw a first state from the start distribution."""
        starts = len(self.start_state)
        chosen = _draw(self.start_cumulative, jnp.int32(0), jnp.int32(starts - 1), starts, key)
        state = self.start_state[chosen]
        return state, self.observe(state)

    def step(self, state: Int[Array, ""], action: Int[Array, ""], key: PRNGKeyArray) -> Step:
        """Draw a transition of the pair (state, action)."""
        pair, available = self._pair(state, action)
        first, last = self.row_ptr[pair], self.row_ptr[pair + 1] - 1
        chosen = _draw(self.cumulative, first, last, self.most_following, key)
        reward = jnp.where(available, self.reward[chosen], jnp.nan)
        following = self.next_state[chosen]
        return Step(following, self.observe(following), reward, chosen >= self.continuing_end[pair])

    def observe(self, state: Int[Array, ""]) -> Float[Array, "d"]:
        """The observation of a state."""
        if self.features is not None:
            return self.features[state]
        return (jnp.arange(self.mdp.n_states) == state).astype(jnp.float32)

    def observe_all(self) -> Float[Array, "S d"]:
        """The observations of all states, in the MDP's order."""
        return jnp.eye(self.mdp.n_states, dtype=jnp.float32) if self.features is None else self.features

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Zero and one, or the extremes of each feature."""
        if self.features is None:
            return np.zeros(self.observation_shape, np.float32), np.ones(self.observation_shape, np.float32)
        drawn = np.asarray(self.features)
        return drawn.min(axis=0), drawn.max(axis=0)

    def _pair(self, state: Int[Array, ""], action: Int[Array, ""]) -> tuple[Int[Array, ""], Bool[Array, ""]]:
        """The pair (state, action), and whether there is one; if not, the state's first pair."""
        within = (action >= 0) & (action < self.action_space.n)
        found = self.pair[state, jnp.where(within, action, 0)]
        return jnp.where(found < 0, ~found, found), within & (found >= 0)


def _pairs(mdp: FiniteMDP) -> NDArray[np.int32]:
    """The index of each pair, int32 (S, A); where a state lacks the action, the complement of its first pair's."""
    table = np.repeat(~mdp.state_ptr[:-1].astype(np.int32)[:, None], mdp.n_actions, axis=1)
    table[mdp.pair_state, mdp.action] = np.arange(mdp.n_pairs)
    return table


def _cumulative(probability: NDArray[np.float64], row_ptr: NDArray[np.int64]) -> Float[Array, "n"]:
    """Running sums within each row, float32; the last is 1, since rounding must not leave a draw without an entry."""
    running = np.concatenate([[0.0], np.cumsum(probability)])
    within = running[1:] - np.repeat(running[row_ptr[:-1]], np.diff(row_ptr))
    within[row_ptr[1:] - 1] = 1.0
    return jnp.asarray(within, dtype=jnp.float32)


def _draw(
    cumulative: Float[Array, "n"], low: Int[Array, ""], high: Int[Array, ""], longest: int, key: PRNGKeyArray
) -> Int[Array, ""]:
    """The first entry from low to high that exceeds a uniform draw, by bisection among at most `longest` entries."""
    if longest == 1:
        return low
    drawn = uniform(key)
    for _ in range((longest - 1).bit_length()):
        middle = (low + high) // 2
        beyond = cumulative[middle] > drawn
        low, high = jnp.where(beyond, low, middle + 1), jnp.where(beyond, middle, high)
    return low
