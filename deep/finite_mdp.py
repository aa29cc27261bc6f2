"""Any `FiniteMDP` as an environment of pure functions, for agents that are compiled together with their world.

On a finite MDP a deep agent can be graded against the exact optimal values from `rlbook.tabular`. The arrays are those
of the MDP, in the same order; a step costs one binary search in the row's cumulative probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlbook.errors import MissingExtraError

try:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise MissingExtraError("JAX with Equinox", "deep", "jax equinox") from error

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

    from rlbook.mdp import FiniteMDP


class MDPState(NamedTuple):
    """Where an episode is: the state's index, and the number of steps taken."""

    state: Int[Array, ""]
    steps: Int[Array, ""]


class FiniteMDPEnvironment(eqx.Module):
    """A finite MDP whose `reset` and `step` can be compiled, mapped over keys, and differentiated through nothing.

    Observations are one-hot, float32 (S,). Actions are labels 0 to A - 1; one that is not available in the present
    state gives a NaN reward, since compiled code cannot raise. `truncated` becomes true after `time_limit` steps and
    never says that the episode ended by itself; rewards are float32.
    """

    state_ptr: Int[Array, "S+1"]
    action: Int[Array, "pairs"]
    row_ptr: Int[Array, "pairs+1"]
    continuing_end: Int[Array, "pairs"]
    next_state: Int[Array, "transitions"]
    cumulative: Float[Array, "transitions"]
    reward: Float[Array, "transitions"]
    start: Float[Array, "S"]
    n_states: int = eqx.field(static=True)
    n_actions: int = eqx.field(static=True)
    most_actions: int = eqx.field(static=True)
    row_search: int = eqx.field(static=True)
    time_limit: int = eqx.field(static=True)

    def __init__(self, mdp: FiniteMDP, time_limit: int = 1_000) -> None:
        """time_limit: steps after which an episode is truncated, at least 1."""
        if time_limit < 1:
            raise ValueError(f"time_limit is {time_limit}; an episode needs at least one step")
        lengths = np.diff(mdp.row_ptr)
        running = np.cumsum(mdp.probability)
        before = np.concatenate([[0.0], running])[mdp.row_ptr[:-1]]
        within = running - np.repeat(before, lengths)
        within[mdp.row_ptr[1:] - 1] = 1.0  # rounding must not leave a draw without a transition
        paid = mdp.reward if mdp.reward is not None else np.repeat(mdp.expected_reward, lengths)
        self.state_ptr = jnp.asarray(mdp.state_ptr, dtype=jnp.int32)
        self.action = jnp.asarray(mdp.action)
        self.row_ptr = jnp.asarray(mdp.row_ptr, dtype=jnp.int32)
        self.continuing_end = jnp.asarray(mdp.continuing_end, dtype=jnp.int32)
        self.next_state = jnp.asarray(mdp.next_state)
        self.cumulative = jnp.asarray(within, dtype=jnp.float32)
        self.reward = jnp.asarray(paid, dtype=jnp.float32)
        self.start = jnp.asarray(mdp.start, dtype=jnp.float32)
        self.n_states = mdp.n_states
        self.n_actions = mdp.n_actions
        self.most_actions = int(np.diff(mdp.state_ptr).max())
        self.row_search = max(1, int(np.ceil(np.log2(lengths.max() + 1))))
        self.time_limit = time_limit

    def observe(self, at: MDPState) -> Float[Array, "S"]:
        """The one-hot observation of a state."""
        return jax.nn.one_hot(at.state, self.n_states)

    def reset(self, key: PRNGKeyArray) -> tuple[MDPState, Float[Array, "S"]]:
        """Draw a first state from the start distribution."""
        state = jax.random.choice(key, self.n_states, p=self.start).astype(jnp.int32)
        at = MDPState(state, jnp.int32(0))
        return at, self.observe(at)

    def step(
        self, at: MDPState, action: Int[Array, ""], key: PRNGKeyArray
    ) -> tuple[MDPState, Float[Array, "S"], Float[Array, ""], Bool[Array, ""], Bool[Array, ""]]:
        """Take one step: (state, observation, reward, terminated, truncated)."""
        pair, available = self._pair(at.state, action)
        chosen = self._draw(pair, jax.random.uniform(key))
        reward = jnp.where(available, self.reward[chosen], jnp.nan)
        terminated = chosen >= self.continuing_end[pair]
        following = MDPState(self.next_state[chosen], at.steps + 1)
        truncated = (following.steps >= self.time_limit) & ~terminated
        return following, self.observe(following), reward, terminated, truncated

    def _pair(self, state: Int[Array, ""], action: Int[Array, ""]) -> tuple[Int[Array, ""], Bool[Array, ""]]:
        """The pair (state, action), and whether there is one; action sets may be ragged."""
        candidates = self.state_ptr[state] + jnp.arange(self.most_actions)
        matches = (candidates < self.state_ptr[state + 1]) & (self.action[candidates] == action)
        return candidates[jnp.argmax(matches)], matches.any()

    def _draw(self, pair: Int[Array, ""], uniform: Float[Array, ""]) -> Int[Array, ""]:
        """The first transition of the row whose cumulative probability exceeds a uniform draw, by bisection."""
        low, high = self.row_ptr[pair], self.row_ptr[pair + 1] - 1
        for _ in range(self.row_search):
            middle = (low + high) // 2
            beyond = self.cumulative[middle] > uniform
            low, high = jnp.where(beyond, low, middle + 1), jnp.where(beyond, middle, high)
        return jnp.minimum(low, self.row_ptr[pair + 1] - 1)
