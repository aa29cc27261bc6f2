"""Training: every seed in chunks, with evaluation apart from it, progress, cancelling, and going on after a stop."""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.block import Carry
from rlbook.deep.checkpoints import Checkpoint, Identity
from rlbook.deep.compilation_cache import keep_programs
from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.config import Config
from rlbook.deep.environments import make, names
from rlbook.deep.environments.interface import Continuous, Environment
from rlbook.deep.environments.to_gymnasium import to_gymnasium
from rlbook.deep.episodes import Ending
from rlbook.deep.gymnasium_driver import GymnasiumTraining
from rlbook.deep.oracle import Oracle
from rlbook.deep.policy import Policy
from rlbook.deep.results import SeedRecord, dataset
from rlbook.errors import Cancelled, ParameterError, UnknownNameError
from rlbook.lab import Context
from rlbook.processes import cores
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    import gymnasium
    import xarray as xr
    from numpy.typing import NDArray

    Worlds = str | Environment | Callable[[], gymnasium.Env[Any, Any]]

Driver = Literal["compiled", "gym"]

_CHUNK = 1_000  # steps between two looks at the flag of a cancel, about a hundredth of a second
_SECONDS_BETWEEN_CHECKPOINTS = 20.0
_SECONDS_BETWEEN_REPORTS = 0.2
_MOST_SEED = 2**32 - 1


class TrainingWarning(UserWarning):
    """A seed's training ended before its time; what it had reached is in the result."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended training; `result` holds what every seed had reached."""

    def __init__(self, sentence: str, result: xr.Dataset) -> None:
        super().__init__(sentence)
        self.result = result


@dataclass(frozen=True)
class Trained:
    """What training leaves: results over seeds, and the policy of each."""

    result: xr.Dataset
    policies: tuple[Policy, ...]


class _FirstTime:
    """Lets one thread at a time do what nobody has done yet: two would compile the same program, each for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: set[str] = set()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        if what in self._done:
            yield
            return
        with self._lock:
            yield
            self._done.add(what)


class Training(Protocol):
    """One seed's training, as both drivers run it."""

    spaces: Spaces
    carry: Carry

    def advance(self, units: int, *, learning: bool) -> tuple[dict[str, NDArray[Any]], Ending]: ...
    def evaluate(self, first: int, episodes: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]: ...
    def world(self) -> Any: ...
    def restore(self, carry: Carry, world: Any) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What all seeds of a training have in common. `evaluated_at`: after how many units, increasing, (n,)."""

    algorithm: Algorithm
    config: Config
    open: Callable[[int], Training]
    oracle: Oracle | None
    steps_per_unit: int
    idle_units: int
    chunk: int
    evaluated_at: NDArray[np.int64]
    evaluation_episodes: int
    identity: Identity
    folder: Path | None
    compiling: _FirstTime = field(default_factory=_FirstTime)


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
    **settings: Any,
) -> Trained:
    """Train an algorithm on an environment under every seed, and keep results and policies; see `Algorithm.train`."""
    require_whole("steps", steps, 1, 2**31 - 1)
    require_whole("evaluations", evaluations, 1, steps)
    require_whole("evaluation_episodes", evaluation_episodes, 1, 100_000)
    each = _seeds(seeds)
    keep_programs()
    config = _configured(algorithm, config, settings)
    plan = _plan(algorithm, config, environment, driver, steps, evaluations, evaluation_episodes, folder)
    return _train_all(plan, each, workers or cores(), context or Context())


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    each = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not each or len(set(each)) != len(each):
        raise ParameterError(f"seeds is {seeds!r}; give how many, at least 1, or different seeds in a list")
    for seed in each:
        require_whole("seeds", seed, 0, _MOST_SEED)
    return [int(seed) for seed in each]


def _configured(algorithm: Algorithm, config: Config | None, settings: dict[str, Any]) -> Config:
    if config is None:
        return algorithm.Config.parse(settings)
    if not isinstance(config, algorithm.Config):
        raise ParameterError(
            f"config is a {type(config).__name__} of {type(config).__module__}, but {algorithm.name} has its own"
        )
    return algorithm.Config.parse({**config.model_dump(), **settings})


def _plan(
    algorithm: Algorithm,
    config: Config,
    environment: Worlds,
    driver: Driver,
    steps: int,
    evaluations: int,
    evaluation_episodes: int,
    folder: str | Path | None,
) -> Plan:
    kind = algorithm.experience(config)
    per_unit = kind.length * kind.environments
    chunk = max(1, _CHUNK // per_unit)
    units = -(-steps // per_unit)
    world = _world(environment, driver)
    open_one: Callable[[int], Training]
    if isinstance(world, Environment):
        open_one = lambda seed: CompiledTraining(algorithm, config, world, seed, steps, chunk)  # noqa: E731
        spaces = Spaces(world.observation_shape, world.action_space)
        name = world.name
    else:
        open_one = lambda seed: GymnasiumTraining(algorithm, config, world, seed, steps)  # noqa: E731
        trial = open_one(0)
        spaces, name = trial.spaces, _name_of(environment, world)
        trial.close()
    if isinstance(spaces.actions, Continuous) and algorithm.action_values is not None:
        raise ParameterError(
            f"{name} takes vectors as actions, but {algorithm.name} chooses among finitely many; take an environment "
            "with discrete actions, such as CartPole-v1"
        )
    told = Identity(algorithm.name, config.canonical_json(), name, driver, steps, evaluations, evaluation_episodes)
    return Plan(
        algorithm=algorithm,
        config=config,
        open=open_one,
        oracle=Oracle.of(environment if isinstance(environment, Environment) else world, algorithm, config),
        steps_per_unit=per_unit,
        idle_units=min(kind.idle_units, units),
        chunk=chunk,
        evaluated_at=np.unique(np.ceil(np.arange(1, evaluations + 1) * units / evaluations).astype(np.int64)),
        evaluation_episodes=evaluation_episodes,
        identity=told,
        folder=None if folder is None else Path(folder),
    )


def _world(environment: Worlds, driver: Driver) -> Environment | Callable[[], gymnasium.Env[Any, Any]]:
    """What the driver runs on; raises UnknownNameError or ParameterError where there is nothing."""
    if driver not in ("compiled", "gym"):
        raise ParameterError(f"driver is {driver!r}; it is 'compiled' or 'gym'")
    if isinstance(environment, Environment):
        return environment if driver == "compiled" else lambda: to_gymnasium(environment)
    if not isinstance(environment, str):
        if driver == "compiled":
            raise ParameterError("environment makes Gymnasium environments, which only driver='gym' can step")
        return environment
    if driver == "compiled":
        return _made(environment)
    import gymnasium

    if environment in gymnasium.registry:
        return lambda: gymnasium.make(environment)
    made = _made(environment)
    return lambda: to_gymnasium(made)


def _made(name: str) -> Environment:
    try:
        return make(name)
    except UnknownNameError:
        import gymnasium

        if name in gymnasium.registry:
            raise ParameterError(
                f"environment {name!r} is Gymnasium's and not in JAX, which the compiled driver needs; take "
                f"driver='gym', or one of {', '.join(names()[:7])}"
            ) from None
        raise


def _name_of(environment: Worlds, make_one: Callable[[], gymnasium.Env[Any, Any]]) -> str:
    if isinstance(environment, str):
        return environment
    if isinstance(environment, Environment):
        return environment.name
    return getattr(make_one, "__qualname__", repr(make_one))


@dataclass
class _Told:
    """What a worker tells the caller's thread."""

    seed: int
    fraction: float


def _train_all(plan: Plan, seeds: list[int], workers: int, context: Context) -> Trained:
    stop = threading.Event()
    told: queue.SimpleQueue[_Told | None] = queue.SimpleQueue()
    records = {seed: SeedRecord.empty(plan) for seed in seeds}
    noting = threading.Lock()  # so that no record is read while it grows
    policies: dict[int, Policy] = {}

    def one(seed: int) -> None:
        try:
            policies[seed] = _train_one(
                plan, seed, records[seed], noting, stop, lambda done: told.put(_Told(seed, done))
            )
        finally:
            told.put(None)

    began = time.perf_counter()

    def result() -> xr.Dataset:
        with noting:
            return dataset(plan, seeds, [records[seed] for seed in seeds], time.perf_counter() - began)

    with ThreadPoolExecutor(min(workers, len(seeds)), thread_name_prefix="rlbook-training") as pool:
        futures = [pool.submit(one, seed) for seed in seeds]
        try:
            _report(told, len(seeds), futures, context, result)
        except KeyboardInterrupt:
            _halt(stop, futures)
            raise TrainingInterrupted(_interruption(plan, records), result()) from None
        except BaseException:
            _halt(stop, futures)
            raise
    found = result()
    for seed, record in records.items():
        if record.diverged_at >= 0:
            warnings.warn(
                f"the loss of seed {seed} is not a number at step {record.diverged_at:,}; its training ended there and "
                "what came before is kept; lower the learning rate",
                TrainingWarning,
                stacklevel=4,
            )
    return Trained(found, tuple(policies[seed] for seed in seeds))


def _report(
    told: queue.SimpleQueue[_Told | None],
    count: int,
    futures: list[Future[None]],
    context: Context,
    result: Callable[[], xr.Dataset],
) -> None:
    """Wait for all workers in the caller's thread, and tell the context how far they are."""
    fractions: dict[int, float] = {}
    shown, open_ones = time.perf_counter(), count
    while open_ones:
        try:
            news = told.get(timeout=_SECONDS_BETWEEN_REPORTS)
        except queue.Empty:
            context.check()
            continue
        if news is None:
            open_ones -= 1
            continue
        fractions[news.seed] = news.fraction
        if time.perf_counter() - shown > _SECONDS_BETWEEN_REPORTS:
            shown = time.perf_counter()
            context.progress(sum(fractions.values()) / count, "training")
            context.publish(result())
    for future in futures:
        future.result()


def _halt(stop: threading.Event, futures: list[Future[None]]) -> None:
    """Have every worker write its checkpoint and end."""
    stop.set()
    for future in futures:
        future.cancel()


def _interruption(plan: Plan, records: dict[int, SeedRecord]) -> str:
    least = min(record.units for record in records.values()) * plan.steps_per_unit
    way_out = (
        "the exception's `result` holds what was reached; give a folder to be able to go on after a stop"
        if plan.folder is None
        else f"run the same again to go on from the checkpoints in {plan.folder}"
    )
    return f"training of {plan.algorithm.name} was interrupted after at least {least:,} steps of each seed; {way_out}"


def _train_one(
    plan: Plan,
    seed: int,
    record: SeedRecord,
    noting: threading.Lock,
    stop: threading.Event,
    tell: Callable[[float], None],
) -> Policy:
    with plan.compiling("start"):
        training = plan.open(seed)
    try:
        checkpoint = None if plan.folder is None else Checkpoint(plan.folder, plan.identity, seed)
        if checkpoint is not None:
            checkpoint.load(training, record)
        saved = time.perf_counter()
        last = int(plan.evaluated_at[-1])
        while record.units < last and record.diverged_at < 0:
            if stop.is_set():
                if checkpoint is not None:
                    checkpoint.save(training, record)
                raise Cancelled
            _chunk(plan, training, record, noting)
            tell(record.units / last)
            if checkpoint is not None and time.perf_counter() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                checkpoint.save(training, record)
                saved = time.perf_counter()
        if checkpoint is not None:
            checkpoint.save(training, record)
        policy = Policy.of(
            plan.algorithm, plan.config, training.spaces, training.carry.state, plan.identity.environment
        )
        if plan.folder is not None:
            policy.save(plan.folder / f"policy-{seed}.npz")
        return policy
    finally:
        training.close()


def _chunk(plan: Plan, training: Training, record: SeedRecord, noting: threading.Lock) -> None:
    """Run up to the next evaluation, to the first update, or a chunk, whichever comes first."""
    stops = [record.units + plan.chunk, int(plan.evaluated_at[record.evaluated])]
    learning = record.units >= plan.idle_units
    if not learning:
        stops.append(plan.idle_units)
    units = min(stops) - record.units
    with plan.compiling("learning" if learning else "warm-up"):
        metrics, endings = training.advance(units, learning=learning)
    with noting:
        record.add(metrics, endings, units, plan.steps_per_unit)
    if record.units == plan.evaluated_at[record.evaluated] and record.diverged_at < 0:
        first = record.evaluated * plan.evaluation_episodes
        with plan.compiling("evaluation"):
            returns, lengths = training.evaluate(first, plan.evaluation_episodes)
            exact = {} if plan.oracle is None else plan.oracle.judge(training.carry.state)
        with noting:
            record.evaluate(returns, lengths, exact)
