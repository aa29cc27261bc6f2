"""Training under many seeds: one thread for each, with progress, cancelling, and going on after a stop."""

from __future__ import annotations

import queue
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbook.deep.algorithm import Algorithm
from rlbook.deep.compilation_cache import keep_programs
from rlbook.deep.config import Config
from rlbook.deep.plan import Plan, config_of, plan_of, seeds_of
from rlbook.deep.policy import Policy
from rlbook.deep.results import SeedRecord, dataset
from rlbook.deep.seed_training import Shared, Watch, train_seed
from rlbook.deep.worlds import Driver
from rlbook.errors import Cancelled
from rlbook.lab import Context
from rlbook.processes import cores
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.deep.worlds import Worlds

_SECONDS_BETWEEN_REPORTS = 0.2
_OPTIONS = (
    *("environment", "seeds", "steps", "config", "driver", "evaluations", "evaluation_episodes"),
    *("folder", "workers", "context", "watch"),
)


class TrainingWarning(UserWarning):
    """Training ended before its time, or before anything was learned; what was reached is in the result."""


class TrainingCancelled(Cancelled):
    """The context ended training. `result`: what every seed had reached when its thread was at rest."""

    def __init__(self, result: xr.Dataset) -> None:
        super().__init__()
        self.result = result


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended training. `result`: what every seed had reached. `policies`: of the seeds that had begun."""

    def __init__(self, sentence: str, result: xr.Dataset, policies: dict[int, Policy]) -> None:
        super().__init__(sentence)
        self.result = result
        self.policies = policies


@dataclass(frozen=True)
class Trained:
    """What training leaves: results over seeds, and the policy of each, in the same order."""

    result: xr.Dataset
    policies: tuple[Policy, ...]


def run(
    algorithm: Algorithm,
    environment: Worlds = "CartPole-v1",
    *,
    seeds: int | Sequence[int] = 8,
    steps: int = 50_000,
    config: Config | None = None,
    driver: Driver = "compiled",
    evaluations: int = 20,
    evaluation_episodes: int = 10,
    folder: str | Path | None = None,
    workers: int | None = None,
    context: Context | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Trained:
    """Train an algorithm on an environment under every seed, and keep results and policies; see `Algorithm.train`."""
    each = seeds_of(seeds)
    if workers is not None:
        require_whole("workers", workers, 1, 10_000)
    plan = plan_of(
        algorithm,
        config_of(algorithm, config, settings, _OPTIONS),
        environment,
        driver=driver,
        steps=steps,
        evaluations=evaluations,
        evaluation_episodes=evaluation_episodes,
        folder=folder,
    )
    plan.tidy(each)
    keep_programs()
    return _Company(plan, each, workers or cores(), context or Context(), watch).train()


class _Company:
    """All seeds of one training, and the thread that waits for them."""

    def __init__(self, plan: Plan, seeds: list[int], workers: int, context: Context, watch: Watch | None) -> None:
        self._plan, self._seeds, self._workers, self._context = plan, seeds, workers, context
        self._news: queue.SimpleQueue[tuple[int, float | None]] = queue.SimpleQueue()
        self._shared = Shared(plan, tell=lambda seed, fraction: self._news.put((seed, fraction)), watch=watch)
        self._records = {seed: SeedRecord.empty(plan) for seed in seeds}
        self._policies: dict[int, Policy] = {}
        self._began = time.perf_counter()

    def train(self) -> Trained:
        """Raises what a thread raised, TrainingCancelled or TrainingInterrupted, after all threads are at rest."""
        count = min(self._workers, len(self._seeds))
        with ThreadPoolExecutor(count, thread_name_prefix="rlbook-training") as pool:
            futures: dict[int, Future[None]] = {}
            try:
                for seed in self._seeds:
                    futures[seed] = pool.submit(self._one, seed)
                self._wait(futures)
            except KeyboardInterrupt:
                self._halt(futures)
                raise TrainingInterrupted(self._interruption(), self._result(), self._policies) from None
            except Cancelled:
                self._halt(futures)
                raise TrainingCancelled(self._result()) from None
            except BaseException:
                self._halt(futures)
                raise
        self._warn()
        return Trained(self._result(), tuple(self._policies[seed] for seed in self._seeds))

    def _one(self, seed: int) -> None:
        try:
            policy = train_seed(self._shared, seed, self._records[seed])
            if policy is not None:
                self._policies[seed] = policy
        finally:
            self._news.put((seed, None))

    def _wait(self, futures: dict[int, Future[None]]) -> None:
        """Until all threads have ended, or one has raised; tells the context how far they are."""
        fractions: dict[int, float] = {}
        next_report, running = time.perf_counter() + _SECONDS_BETWEEN_REPORTS, len(futures)
        while running:
            try:
                seed, fraction = self._news.get(timeout=_SECONDS_BETWEEN_REPORTS)
            except queue.Empty:
                self._context.check()
                continue
            if fraction is None:
                futures[seed].result()
                running -= 1
                continue
            fractions[seed] = fraction
            now = time.perf_counter()
            if now > next_report:
                self._context.progress(sum(fractions.values()) / len(futures), self._label())
                self._context.publish(self._result())
                # Long results take long to put together: that must not become the work.
                next_report = time.perf_counter() + max(_SECONDS_BETWEEN_REPORTS, 10 * (time.perf_counter() - now))

    def _halt(self, futures: dict[int, Future[None]]) -> None:
        """Have every thread leave a checkpoint and end."""
        self._shared.stop.set()
        for future in futures.values():
            future.cancel()
        wait(futures.values())

    def _result(self) -> xr.Dataset:
        seconds = time.perf_counter() - self._began
        with self._shared.noting:
            return dataset(self._plan, self._seeds, [self._records[seed] for seed in self._seeds], seconds)

    def _interruption(self) -> str:
        plan = self._plan
        least = min(record.units for record in self._records.values()) * plan.steps_per_unit
        way_out = (
            "the exception's `result` and `policies` hold what was reached; name a folder to be able to go on after a "
            "stop"
            if plan.folder is None
            else f"run the same again to go on from the checkpoints in {str(plan.folder)!r}"
        )
        return f"training of {self._label()} was interrupted after at least {least:,} steps of each seed; {way_out}"

    def _label(self) -> str:
        return f"{self._plan.algorithm.name} on {self._plan.identity.environment}"

    def _warn(self) -> None:
        if self._plan.idle_units >= self._plan.evaluated_at[-1]:
            warnings.warn(
                f"{self._label()} has learned nothing: training ended before its first update; take more steps, or "
                "lower learning_starts",
                TrainingWarning,
                stacklevel=5,
            )
        for seed, record in self._records.items():
            if record.diverged_at >= 0:
                warnings.warn(
                    f"the loss of seed {seed} is not a number at step {record.diverged_at:,}; its training ended there "
                    "and what came before is kept; lower the learning rate",
                    TrainingWarning,
                    stacklevel=5,
                )
