"""One seed's training in chunks: evaluation apart from it, checkpoints now and then, and a halt when asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rlbook.deep.plan import Plan, Training
from rlbook.deep.policy import Policy
from rlbook.deep.results import SeedRecord

Watch = Callable[[int, int, Any], None]

_SECONDS_BETWEEN_CHECKPOINTS = 20.0


class FirstTime:
    """Lets one thread at a time do what nobody has done yet: two would compile the same program, each for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: set[str] = set()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        if what not in self._done:
            with self._lock:
                if what not in self._done:
                    yield
                    self._done.add(what)
                    return
        yield


@dataclass(frozen=True)
class Shared:
    """What the threads of one training share: its plan, when to stop, and who may compile.

    noting: held while a record grows, so that nobody reads half of a chunk. tell: called after each chunk with the
    seed and the part of its training that is over, in [0, 1]. watch: see `Algorithm.train`.
    """

    plan: Plan
    tell: Callable[[int, float], None]
    watch: Watch | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    noting: threading.Lock = field(default_factory=threading.Lock)
    compiling: FirstTime = field(default_factory=FirstTime)


def train_seed(shared: Shared, seed: int, record: SeedRecord) -> Policy | None:
    """Train one seed to its end, or until it shall stop, and fill in its record; returns the policy it has by then.

    Goes on from the seed's checkpoint, if there is one, and leaves one. None where it shall stop before it begins.
    """
    plan = shared.plan
    if shared.stop.is_set():
        return None
    with shared.compiling("start"):
        training = plan.open(seed)
    try:
        _run(shared, training, seed, record)
        state, environment = training.state, plan.identity.environment
        policy = Policy.of(plan.algorithm, plan.config, training.spaces, state, environment)
        if plan.folder is not None:
            policy.save(plan.folder / f"policy-{seed}.npz")
        return policy
    finally:
        training.close()


def _run(shared: Shared, training: Training, seed: int, record: SeedRecord) -> None:
    plan = shared.plan
    checkpoint = plan.checkpoint(seed)
    if checkpoint is not None:
        checkpoint.load(training, record, shared.noting)
    kept, saved = record.units, time.perf_counter()
    last = int(plan.evaluated_at[-1])
    if record.units == 0:
        _show(shared, training, seed, 0)
    while record.units < last and record.diverged_at < 0 and not shared.stop.is_set():
        if _chunk(shared, training, record):
            _show(shared, training, seed, record.units * plan.steps_per_unit)
        shared.tell(seed, record.units / last)
        if checkpoint is not None and time.perf_counter() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
            checkpoint.save(training, record)
            kept, saved = record.units, time.perf_counter()
    if checkpoint is not None and record.units > kept:
        checkpoint.save(training, record)


def _show(shared: Shared, training: Training, seed: int, step: int) -> None:
    if shared.watch is not None:
        with shared.compiling("watch"):
            shared.watch(seed, step, training.state)


def _chunk(shared: Shared, training: Training, record: SeedRecord) -> bool:
    """Run up to the next evaluation, to the first update, or a chunk, whichever comes first; whether it evaluated."""
    plan = shared.plan
    stops = [record.units + plan.chunk, int(plan.evaluated_at[record.evaluated])]
    learning = record.units >= plan.idle_units
    if not learning:
        stops.append(plan.idle_units)
    units = min(stops) - record.units
    with shared.compiling("learning" if learning else "warm-up"):
        metrics, endings = training.advance(units, learning=learning)
    with shared.noting:
        record.add(metrics, endings, units, plan.steps_per_unit)
    evaluated = bool(record.units == plan.evaluated_at[record.evaluated]) and record.diverged_at < 0
    if evaluated:
        first = record.evaluated * plan.evaluation_episodes
        with shared.compiling("evaluation"):
            returns, lengths = training.evaluate(first, plan.evaluation_episodes)
            exact = {} if plan.oracle is None else plan.oracle.judge(training.state)
        with shared.noting:
            record.evaluate(returns, lengths, exact)
    return evaluated
