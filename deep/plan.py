"""What is settled before training begins: everything that can be wrong with its arguments is said here."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import jax
import numpy as np

from rlbook.atomic_files import sweep
from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.checkpoints import Checkpoint, Identity
from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.config import Config
from rlbook.deep.gymnasium_driver import GymnasiumTraining
from rlbook.deep.oracle import Oracle
from rlbook.deep.worlds import Driver, World, world_of
from rlbook.errors import ParameterError, suggest
from rlbook.whole_numbers import is_whole, require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.deep.episodes import Ending
    from rlbook.deep.worlds import Worlds

# Steps between two looks at what the caller wants: about a hundredth of a second in either driver.
_CHUNK: dict[Driver, int] = {"compiled": 1_000, "gym": 50}
_MOST_STEPS = 2**31 - 1  # units are counted in 32 bits
_MOST_SEED = 2**32 - 1
_MOST_SEEDS = 100_000
_MOST_EVALUATIONS, _MOST_EPISODES = 100_000, 10_000


class Training(Protocol):
    """One seed's training, as both drivers run it."""

    spaces: Spaces

    @property
    def state(self) -> Any: ...
    def advance(self, units: int, *, learning: bool) -> tuple[dict[str, NDArray[Any]], Ending]: ...
    def evaluate(self, first: int, episodes: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]: ...
    def snapshot(self) -> dict[str, NDArray[Any]]: ...
    def restore(self, arrays: dict[str, NDArray[Any]], where: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What all seeds of a training have in common. `evaluated_at`: after how many units, increasing, (n,)."""

    algorithm: Algorithm
    config: Config
    identity: Identity
    open: Callable[[int], Training]
    oracle: Oracle | None
    steps_per_unit: int
    idle_units: int
    chunk: int
    evaluated_at: NDArray[np.int64]
    evaluation_episodes: int
    folder: Path | None

    def checkpoint(self, seed: int) -> Checkpoint | None:
        """Where this seed's checkpoint is or will be, if any are kept."""
        return None if self.folder is None else Checkpoint(self.folder, self.identity, seed)

    def tidy(self, seeds: Sequence[int]) -> None:
        """Remove what killed writers left in the folder, and see that it holds no other training's checkpoints.

        Raises ArrayFileError. Done before anything runs: else a wrong file would be found seed by seed.
        """
        if self.folder is None or not self.folder.exists():
            return
        sweep(self.folder)
        for seed in seeds:
            Checkpoint(self.folder, self.identity, seed).check()


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """The seeds meant: how many, or which; raises ParameterError."""
    if isinstance(seeds, int | np.integer):
        require_whole("seeds", seeds, 1, _MOST_SEEDS)
        return list(range(int(seeds)))
    each = list(seeds) if isinstance(seeds, Sequence | np.ndarray) else []
    if not each or not all(is_whole(seed, 0, _MOST_SEED) for seed in each) or len(set(each)) != len(each):
        raise ParameterError(
            f"seeds is {seeds!r}; give how many, at least 1, or different whole numbers from 0 to {_MOST_SEED}"
        )
    return [int(seed) for seed in each]


def config_of(algorithm: Algorithm, config: Config | None, settings: dict[str, Any], options: Sequence[str]) -> Config:
    """`config`, or the default one, with `settings` in it; raises ParameterError. options: names known besides."""
    known = algorithm.Config.model_fields
    for name in settings:
        if name not in known:
            raise ParameterError(f"{algorithm.name} has no setting {name!r}; {suggest(name, [*known, *options])}")
    if config is None:
        return algorithm.Config.parse(settings)
    if not isinstance(config, algorithm.Config):
        raise ParameterError(
            f"config is a {type(config).__qualname__} of {type(config).__module__}; {algorithm.name} needs its own, "
            f"{algorithm.Config.__module__}.{algorithm.Config.__qualname__}"
        )
    return algorithm.Config.parse({**config.model_dump(), **settings})


def plan_of(
    algorithm: Algorithm,
    config: Config,
    environment: Worlds,
    *,
    driver: Driver,
    steps: int,
    evaluations: int,
    evaluation_episodes: int,
    folder: str | Path | None,
) -> Plan:
    """Check everything and solve what the oracle needs; runs and writes nothing. Raises UnknownNameError and others."""
    if driver not in get_args(Driver):
        raise ParameterError(f"driver is {driver!r}; it is 'compiled' or 'gym'")
    require_whole("steps", steps, 1, _MOST_STEPS)
    require_whole("evaluations", evaluations, 1, _MOST_EVALUATIONS)
    require_whole("evaluation_episodes", evaluation_episodes, 1, _MOST_EPISODES)
    kind = algorithm.experience(config)
    per_unit = kind.length * kind.environments
    units = -(-steps // per_unit)
    chunk = max(1, _CHUNK[driver] // per_unit)
    world = world_of(environment, driver)
    try:
        jax.eval_shape(partial(algorithm.init, config, world.spaces), jax.random.key(0))
    except ParameterError as error:
        raise ParameterError(f"{algorithm.name} on {world.name}: {error}") from None
    identity = Identity(
        algorithm=algorithm.name,
        config=config.canonical_json(),
        environment=world.name,
        environment_digest=world.digest,
        driver=driver,
        steps=int(steps),
        evaluations=int(evaluations),
        evaluation_episodes=int(evaluation_episodes),
    )
    return Plan(
        algorithm=algorithm,
        config=config,
        identity=identity,
        open=_opening(algorithm, config, world, steps, chunk),
        oracle=Oracle.of(world.compiled, algorithm, config),
        steps_per_unit=per_unit,
        idle_units=min(kind.idle_units, units),
        chunk=chunk,
        evaluated_at=_evenly(units, evaluations),
        evaluation_episodes=int(evaluation_episodes),
        folder=None if folder is None else _folder(folder),
    )


def _folder(folder: str | Path) -> Path:
    """Where checkpoints go; raises ParameterError where that is not a folder that can be written to."""
    if not isinstance(folder, str | os.PathLike) or not str(folder).strip():
        raise ParameterError(f"folder is {folder!r}; name a folder, or '.' for the current one")
    path = Path(folder)
    standing = next((each for each in (path, *path.absolute().parents) if each.exists()), path)
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        raise ParameterError(
            f"folder is {str(folder)!r}, but nothing can be written to {str(standing)!r}; name another"
        )
    return path


def _opening(
    algorithm: Algorithm, config: Config, world: World, steps: int, chunk: int
) -> Callable[[int], CompiledTraining | GymnasiumTraining]:
    def open_one(seed: int) -> CompiledTraining | GymnasiumTraining:
        if world.make_one is not None:
            return GymnasiumTraining(algorithm, config, world.make_one, seed, steps)
        assert world.compiled is not None
        return CompiledTraining(algorithm, config, world.compiled, seed, steps, chunk)

    return open_one


def _evenly(units: int, evaluations: int) -> NDArray[np.int64]:
    """After how many units to evaluate: at equal distances, the last time at the end, and never twice at one place."""
    return np.unique(-(-np.arange(1, evaluations + 1, dtype=np.int64) * units // evaluations))
