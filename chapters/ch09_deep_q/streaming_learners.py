"""Who learns in the streaming labs: a stream, whole or without one of its pieces, and DQN with replay and without."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rlbook.deep.algorithm import Algorithm
    from rlbook.deep.config import Config
    from rlbook.lab import Context

Learner = Literal[
    "stream", "stream without bound", "stream without sparse start", "stream without normalisation", "single-step DQN"
]
StreamWorld = Literal["CartPole-v1", "Acrobot-v1"]

REPLAY = "replay DQN"
EVALUATIONS = 20
_EPISODES = 5  # of the greedy policy, at each evaluation
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
        return stream_q.ALGORITHM, stream_q.Config.parse(_PIECES[learner])
    return dqn.ALGORITHM, dqn.Config.parse(_SHORT if learner == REPLAY else _SINGLE)


@dataclass(frozen=True)
class Lesson:
    """What came of one learner: the step of each evaluation, (evaluations,), and by seed, (seeds, evaluations), the
    greedy policy's mean return and mean action value of what was learned from; NaN after a loss that was no number."""

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
            world,
            config=config,
            seeds=list(seeds),
            steps=steps,
            evaluations=EVALUATIONS,
            evaluation_episodes=_EPISODES,
            context=context,
        )
    return Lesson(found["step"].values, found["evaluation_return"].values, found["q"].values)


def scores(returns: NDArray[np.float64], world: StreamWorld) -> NDArray[np.float64]:
    """Returns as parts of the way from the least to the greatest possible; 0 where the learner has broken down."""
    low, high = _RETURNS[world]
    return np.nan_to_num((returns - low) / (high - low), nan=0.0)


def kept_bytes(learner: str, world: StreamWorld) -> int:
    """How much memory a learner keeps from step to step: weights, traces, running means, and the rows it replays."""
    import jax

    from rlbook.deep.algorithm import Spaces
    from rlbook.deep.environments import make

    algorithm, config = agent_of(learner)
    environment = make(world)
    spaces = Spaces(environment.observation_shape, environment.action_space)

    def begin(key: Any) -> Any:
        from rlbook.deep.block import beginning

        carry, _ = beginning(algorithm, config, spaces, key)
        return carry.state, carry.memory

    leaves = jax.tree.leaves(jax.eval_shape(begin, np.uint32(0)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
