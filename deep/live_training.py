"""Training that is begun, stopped and taken up again, with all that there is to see of it on the way.

It knows nothing of widgets: `rlbook.widgets.watch_training` takes it as it is, and so can anything else that has a
thread to spare.

    from rlbook.deep.live_training import LiveTraining
    from rlbook.widgets import watch_training

    watch_training(LiveTraining("dqn", "CartPole-v1", seeds=4, steps=20_000))
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.deep.algorithm import Algorithm
from rlbook.deep.algorithms import algorithm as algorithm_named
from rlbook.deep.compilation_cache import keep_programs
from rlbook.deep.environments.drawing import scene
from rlbook.deep.environments.interface import Environment, episode_key
from rlbook.deep.episode_frames import GreedyEpisode, greedy_episode
from rlbook.deep.plan import Plan, config_of, plan_of
from rlbook.deep.policy import Policy
from rlbook.deep.results import SeedRecord, dataset
from rlbook.deep.training import TrainingCancelled, TrainingWarning, run
from rlbook.deep.training_curves import curves_in_words, last_evaluations, training_curves
from rlbook.deep.worlds import world_of
from rlbook.errors import ParameterError
from rlbook.lab import Context
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.deep.config import Config
    from rlbook.deep.worlds import Driver, Worlds

_MOST_SEEDS = 32  # lines that can be told apart, and threads that share the cores


class LiveTraining:
    """An agent in an environment, to be trained while somebody looks on. One thread at a time may call its methods.

    What was reached lies as checkpoints in a temporary folder, so that training which was stopped goes on to the bits
    that it would have had without the stop.
    """

    def __init__(
        self,
        algorithm: Algorithm | str,
        environment: Worlds = "CartPole-v1",
        *,
        seeds: int = 4,
        steps: int = 20_000,
        config: Config | None = None,
        driver: Driver = "compiled",
        evaluations: int = 20,
        evaluation_episodes: int = 5,
        **settings: Any,
    ) -> None:
        """algorithm: one, or its name. seeds: how many, 1 to 32. The others are those of `Algorithm.train`.

        Raises UnknownNameError and ParameterError as `train` does.
        """
        require_whole("seeds", seeds, 1, _MOST_SEEDS)
        self._algorithm = algorithm_named(algorithm) if isinstance(algorithm, str) else algorithm
        self._config = config_of(self._algorithm, config, settings, ())
        self._environment = environment
        self._options: dict[str, Any] = {
            **{"driver": driver, "steps": steps},
            **{"evaluations": evaluations, "evaluation_episodes": evaluation_episodes},
        }
        self._plan = self._new_plan()
        self._drawn = _drawn(environment, driver)
        self._seeds = list(range(seeds))
        self._folder = _folder_for(self)
        self.result = self._nothing()

    @property
    def title(self) -> str:
        """What is trained on what."""
        return f"{self._algorithm.title} on {self._plan.identity.environment}"

    @property
    def finished(self) -> bool:
        """Whether every seed has come to its end."""
        steps = int(self._plan.evaluated_at[-1]) * self._plan.steps_per_unit
        ended = (self.result["steps_taken"].values >= steps) | (self.result["diverged_at"].values >= 0)
        return bool(ended.all())

    def train(self, context: Context) -> None:
        """Begin, or go on; `result` grows, and is published. Raises Cancelled when the context says so."""
        heard = context.part(publish=lambda partial: self._reached(partial, context))
        try:
            with warnings.catch_warnings():
                # `curves_in_words` says the same where the reader looks.
                warnings.simplefilter("ignore", TrainingWarning)
                trained = run(
                    self._algorithm,
                    self._environment,
                    config=self._config,
                    seeds=self._seeds,
                    folder=self._folder,
                    # All at once, however few cores: curves that begin one after the other cannot be compared.
                    workers=len(self._seeds),
                    context=heard,
                    **self._options,
                )
        except TrainingCancelled as stop:
            # What the agents were saved with is newer than what was last told of them.
            self._keep(stop.result)
            raise
        self.result = trained.result

    def begin_anew(self) -> None:
        """Forget what was reached; the next training has the seeds that follow."""
        self._seeds = [seed + len(self._seeds) for seed in self._seeds]
        shutil.rmtree(self._folder)
        self._folder = _folder_for(self)
        self.result = self._nothing()

    def curves(self) -> tuple[dict[str, Any], str]:
        """The learning curves as a figure, and in words."""
        return training_curves(self.result), curves_in_words(self.result)

    def episodes(self) -> dict[str, GreedyEpisode]:
        """An episode of each seed's agent as it is now, with a name for each, the best first.

        Empty where the environment has no drawing, or is not in JAX.
        """
        if self._drawn is None:
            return {}
        known = last_evaluations(self.result)
        taken = dict(zip(self._seeds, self.result["steps_taken"].values.tolist(), strict=True))
        order = sorted(self._seeds, key=lambda seed: (-_or_least(known[seed]), seed))
        # Before training all agents are as bad, and one is enough to see that.
        shown = [seed for seed in order if taken[seed]] or order[:1]
        return {
            _agent(seed, taken[seed], known[seed]): greedy_episode(self._policy(seed), self._drawn) for seed in shown
        }

    def _policy(self, seed: int) -> Policy:
        """Of this seed: the trained one, where there is one, else the one that it begins with."""
        path = self._folder / f"policy-{seed}.npz"
        if path.exists():
            return Policy.load(path, self._algorithm)
        keep_programs()
        training = self._plan.open(seed)
        try:
            environment = self._plan.identity.environment
            return Policy.of(self._algorithm, self._config, training.spaces, training.state, environment)
        finally:
            training.close()

    def _reached(self, partial: xr.Dataset, context: Context) -> None:
        self._keep(partial)
        context.publish(self.result)

    def _keep(self, partial: xr.Dataset) -> None:
        # Just after a stop, some seeds have not read their checkpoints yet: their curves would vanish for a moment.
        if np.all(partial["steps_taken"].values >= self.result["steps_taken"].values):
            self.result = partial

    def _new_plan(self) -> Plan:
        return plan_of(self._algorithm, self._config, self._environment, folder=None, **self._options)

    def _nothing(self) -> xr.Dataset:
        return dataset(self._plan, self._seeds, [SeedRecord.empty(self._plan) for _ in self._seeds], 0.0)


def _folder_for(live: LiveTraining) -> Path:
    """A folder that lives no longer than its training."""
    folder = Path(tempfile.mkdtemp(prefix="rlbook-training-"))
    weakref.finalize(live, shutil.rmtree, folder, ignore_errors=True)
    return folder


def _drawn(environment: Worlds, driver: Driver) -> Environment | None:
    """The environment, where it is in JAX and has a drawing."""
    compiled = world_of(environment, driver).compiled
    if compiled is None:
        return None
    try:
        scene(compiled, compiled.reset(episode_key(0))[0])
    except ParameterError:
        return None
    return compiled


def _agent(seed: int, taken: int, reached: float | None) -> str:
    when = f"after {taken:,} steps" if taken else "before training"
    return f"seed {seed}, {when}" if reached is None else f"seed {seed}, {when}, evaluated at {reached:.4g}"


def _or_least(value: float | None) -> float:
    return -np.inf if value is None else value
