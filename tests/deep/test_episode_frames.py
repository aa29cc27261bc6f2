"""An episode that is kept to be looked at is the one that the agent really has."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.deep import to_gymnasium
from rlbook.deep.algorithm import Spaces
from rlbook.deep.environments import Discrete, make
from rlbook.deep.episode_frames import greedy_episode
from rlbook.deep.policy import Policy
from rlbook.errors import ParameterError

from .small import CART, TableConfig, table_algorithm


def table_policy(q: np.ndarray, shape: tuple[int, ...], name: str) -> Policy:
    agent = table_algorithm(q)
    spaces = Spaces(shape, Discrete(q.shape[1]))
    return Policy(agent, TableConfig(), spaces, agent.init(TableConfig(), spaces, None), name)


LEANING = table_policy(np.array([[0, 0.1], [0, 0.3], [0, 2.0], [0, 1.0]]), (4,), "CartPole-v1")


@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_the_episode_that_gymnasium_has(seed: int) -> None:
    """Prevents other draws than those of the environment, a state or a reward that is off by one step."""
    episode = greedy_episode(LEANING, make("CartPole-v1"), seed)
    world = to_gymnasium(make("CartPole-v1"))
    seen, _ = world.reset(seed=seed)
    for n, (action, paid) in enumerate(zip(episode.actions, episode.rewards, strict=True)):
        assert np.array_equal(np.stack(episode.state(n)), seen)
        assert action == LEANING(seen)
        seen, reward, terminated, truncated, _ = world.step(int(action))
        assert reward == paid
    assert np.array_equal(np.stack(episode.state(len(episode) - 1)), seen)
    assert (terminated, truncated) == (episode.terminated, episode.truncated)
    assert terminated or truncated


def test_the_last_frame_tells_how_it_ended() -> None:
    """Prevents an end of the world where only time was up, and frames that are not there."""
    cut = greedy_episode(LEANING, CART)
    assert (cut.terminated, cut.truncated, len(cut)) == (False, True, 14)
    figure, words = cut.frame(13)
    assert "Step 13 of 13: return 13, time is up. The cart is" in words
    assert figure["layout"]["title"]["text"] in words
    left = greedy_episode(LEANING, make("CartPole-v1"), most_steps=5)
    assert (left.terminated, left.truncated, len(left)) == (False, False, 6)
    assert "it goes on" in left.frame(5)[1]
    right = greedy_episode(table_policy(np.array([[0.0, 1.0]] * 4), (4,), "CartPole-v1"), make("CartPole-v1"))
    assert "the episode is over" in right.frame(len(right) - 1)[1]
    with pytest.raises(ParameterError, match="n is 14"):
        cut.frame(14)


def test_a_policy_of_another_world_is_refused() -> None:
    """Prevents a broadcast that acts on nonsense."""
    with pytest.raises(ParameterError, match="trained on CartPole-v1"):
        greedy_episode(LEANING, make("MountainCar-v0"))
