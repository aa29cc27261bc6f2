"""Who learns in the streaming labs: a stream, whole or without one of its pieces, and DQN with replay and without."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlbook.chapters.ch09_deep_q.head_worlds import head_mdp, head_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rlbook.deep.algorithm import Algorithm
    from rlbook.deep.config import Config
    from rlbook.deep.environments import Environment
    from rlbook.lab import Context

Learner = Literal[
    "stream", "stream without bound", "stream without sparse start", "stream without normalisation", "single-step DQN"
]
StreamWorld = Literal["CartPole-v1", "Acrobot-v1", "icy grid"]

REPLAY = "replay DQN"
EVALUATIONS = 20
_CURVES = ("evaluation_return", "q", "regret")
_EPISODES = 5  # of the greedy policy, at each evaluation
_DISCOUNT = 0.99  # of all learners
_RETURNS: dict[str, tuple[float, float]] = {"CartPole-v1": (0.0, 500.0), "Acrobot-v1": (-500.0, 0.0)}
_PIECES: dict[str, dict[str, bool]] = {
    "stream": {},
    "stream without bound": {"bounded": False},
    "stream without sparse start": {"sparse": False},
    "stream without normalisation": {"normalised": False},
}
# Of DQN for short training: it begins early, learns at every fourth step, and soon stops exploring. Of five settings
# tried on CartPole, with seeds of their own and before the streams' verdicts, none had the greater area.
_SHORT = {"learning_rate": 1e-3, "train_every": 4, "learning_starts": 1_000, "exploration_fraction": 0.2}
# The same, but of the latest step alone, at each step; the target network is as old as there, counted in steps.
_SINGLE = {**_SHORT, "train_every": 1, "learning_starts": 1, "batch_size": 1, "buffer_size": 1, "target_every": 200}


def agent_of(learner: str) -> tuple[Algorithm, Config]:
    """An algorithm and its configuration; the stream's numbers are its authors', for all worlds."""
    from rlbook.deep import dqn, stream_q

    if learner in _PIECES:
        return stream_q.ALGORITHM, stream_q.Config.parse({**_PIECES[learner], "discount": _DISCOUNT})
    return dqn.ALGORITHM, dqn.Config.parse({**(_SHORT if learner == REPLAY else _SINGLE), "discount": _DISCOUNT})


@dataclass(frozen=True)
class Lesson:
    """What came of one learner.

    step: of each evaluation, (evaluations,). returns: of the greedy policy, (seeds, evaluations); on the grid its exact
    value at the start. value: mean action value of what was learned from. NaN after a loss that was no number.
    """

    step: NDArray[np.int64]
    returns: NDArray[np.float64]
    value: NDArray[np.float64]


def learn(learner: str, world: StreamWorld, seeds: Sequence[int], steps: int, context: Context) -> Lesson:
    """Train one learner under all seeds."""
    from rlbook.deep.training import TrainingWarning

    algorithm, config = agent_of(learner)
    with warnings.catch_warnings():
        # That it comes to nothing is what is measured here.
        warnings.simplefilter("ignore", TrainingWarning)
        found = algorithm.train(
            environment_of(world),
            config=config,
            seeds=list(seeds),
            steps=steps,
            evaluations=EVALUATIONS,
            evaluation_episodes=_EPISODES,
            context=context,
        )
    nothing = np.full(found["evaluation_return"].shape, np.nan)
    # A learner whose every seed breaks down before the first evaluation has neither values nor grades.
    returns, value, regret = (found[each].values if each in found else nothing for each in _CURVES)
    return Lesson(found["step"].values, returns if world != "icy grid" else best_on_grid() - regret, value)


def environment_of(world: StreamWorld) -> Environment:
    """The world itself; on the grid, agents are graded exactly."""
    from rlbook.deep.environments import make

    return head_world() if world == "icy grid" else make(world)


@lru_cache(maxsize=1)
def best_on_grid() -> float:
    """The optimal value at the start, by the discount of the learners."""
    from rlbook.tabular import solve

    return float(solve(head_mdp().replace(discount=_DISCOUNT)).value_at_start)


def ends(world: StreamWorld) -> tuple[float, float]:
    """The returns that are worth a score of 0 and of 1."""
    return (0.0, best_on_grid()) if world == "icy grid" else _RETURNS[world]


def scores(returns: NDArray[np.float64], world: StreamWorld) -> NDArray[np.float64]:
    """Returns as parts of the way from the least to the greatest possible; 0 where the learner has broken down.

    On the grid from 0, which is what it is worth to stay out of it, to the optimal value.
    """
    low, high = ends(world)
    return np.maximum(np.nan_to_num((returns - low) / (high - low), nan=0.0), 0.0)


def kept_bytes(learner: str, world: StreamWorld) -> int:
    """How much memory a learner keeps from step to step: weights, traces, running means, and the rows it replays."""
    import jax

    from rlbook.deep.algorithm import Spaces

    algorithm, config = agent_of(learner)
    environment = environment_of(world)
    spaces = Spaces(environment.observation_shape, environment.action_space)

    def begin(key: Any) -> Any:
        from rlbook.deep.block import beginning

        carry, _ = beginning(algorithm, config, spaces, key)
        return carry.state, carry.memory

    leaves = jax.tree.leaves(jax.eval_shape(begin, np.uint32(0)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
