"""One greedy episode, kept state by state, so that it can be looked at afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep.environments.drawing import scene, scene_in_words
from rlbook.deep.environments.interface import Environment, episode_key, step_key
from rlbook.errors import ParameterError
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.deep.policy import Policy

_MOST_STEPS = 1_000  # more than anybody watches, and enough for every task of the registry
_MOST_SEED = 2**32 - 1
_TITLE = 26  # px


@dataclass(frozen=True, eq=False)
class GreedyEpisode:
    """What a policy did in n steps.

    states: the environment's own, from the first to the last, (n + 1, ...). actions: (n, ...). rewards: (n,).
    terminated: whether the world ended the episode; truncated: whether its time limit did. Where neither is true, the
    episode was left while it went on.
    """

    environment: Environment
    states: Any
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    terminated: bool
    truncated: bool

    def __len__(self) -> int:
        """How many frames there are: a state more than there are steps."""
        return len(self.rewards) + 1

    def state(self, n: int) -> Any:
        """The state after n steps."""
        return jax.tree.map(lambda leaf: leaf[n], self.states)

    def frame(self, n: int) -> tuple[dict[str, Any], str]:
        """The state after n steps as a figure, {"data": ..., "layout": ...}, and as sentences.

        n: from 0 to the number of steps. Raises ParameterError where it is not, and where there is no drawing.
        """
        require_whole("n", n, 0, len(self.rewards))
        state, told = self.state(n), self._told(n)
        figure = scene(self.environment, state)
        look = dict(figure["layout"])
        # The legend keeps its place above the scene, and the title takes a line of its own above that.
        look["margin"] = {**look["margin"], "t": look["margin"]["t"] + _TITLE}
        look["title"] = {"text": told, "x": 0.02, "xanchor": "left", "y": 0.97, "yanchor": "top", "font": {"size": 15}}
        return {**figure, "layout": look}, f"{told}. {scene_in_words(self.environment, state)}"

    def _told(self, n: int) -> str:
        """How far the episode is, what it has paid, and how it ended."""
        steps = len(self.rewards)
        told = f"Step {n} of {steps}: return {float(self.rewards[:n].sum()):.4g}"
        if n < steps:
            return told
        ending = "the episode is over" if self.terminated else "time is up" if self.truncated else "it goes on"
        return f"{told}, {ending}"


def greedy_episode(
    policy: Policy, environment: Environment, seed: int = 0, most_steps: int = _MOST_STEPS
) -> GreedyEpisode:
    """Let a policy act greedily from the start that `seed` draws.

    It is the episode that `to_gymnasium(environment)` has after `reset(seed=seed)`. seed: 0 to 2^32 - 1. most_steps:
    1 to 1,000; a longer episode is left there. Raises ParameterError where a number is out of range, or where
    observations are not of the shape that the policy knows.
    """
    require_whole("seed", seed, 0, _MOST_SEED)
    require_whole("most_steps", most_steps, 1, _MOST_STEPS)
    if environment.observation_shape != policy.spaces.observation_shape:
        raise ParameterError(
            f"environment {environment.name} shows observations of shape {environment.observation_shape}, but this "
            f"policy was trained on {policy.environment}, which shows {policy.spaces.observation_shape}; take that one"
        )
    most = min(environment.time_limit, most_steps)
    told = _roll(policy.algorithm, policy.config, environment, policy.state, np.uint32(seed), most=most)
    states, actions, rewards, terminated = jax.tree.map(np.asarray, told)
    ended = np.flatnonzero(terminated)
    steps = int(ended[0]) + 1 if len(ended) else most
    return GreedyEpisode(
        environment,
        jax.tree.map(lambda leaf: leaf[: steps + 1], states),
        actions[:steps],
        rewards[:steps],
        terminated=len(ended) > 0,
        truncated=len(ended) == 0 and steps == environment.time_limit,
    )


@partial(jax.jit, static_argnums=0, static_argnames="most")
def _roll(algorithm: Any, config: Any, environment: Environment, agent: Any, seed: Any, *, most: int) -> Any:
    """States (most + 1, ...), actions, rewards and ends (most, ...); what follows the first end means nothing."""
    key = episode_key(seed)
    first, seen = environment.reset(step_key(key, 0))

    def step(now: Any, n: Any) -> Any:
        state, seen = now
        action = algorithm.greedy(config, agent, seen)
        after = environment.step(state, action, step_key(key, n))
        return (after.state, after.observation), (after.state, action, after.reward, after.terminated)

    _, (states, actions, rewards, ends) = jax.lax.scan(step, (first, seen), jnp.arange(1, most + 1))
    states = jax.tree.map(lambda start, rest: jnp.concatenate([jnp.asarray(start)[None], rest]), first, states)
    return states, actions, rewards, ends
