"""What is settled before training begins: everything that can be wrong with its arguments is said here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import jax
import numpy as np

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.checkpoints import Checkpoint, Identity
from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.config import Config
from rlbook.deep.environments import make, names
from rlbook.deep.environments.interface import Continuous, Environment
from rlbook.deep.environments.to_gymnasium import to_gymnasium
from rlbook.deep.gymnasium_driver import GymnasiumTraining, name_of, spaces_of
from rlbook.deep.oracle import Oracle
from rlbook.errors import ParameterError, UnknownNameError, suggest
from rlbook.mdp import FiniteMDP
from rlbook.whole_numbers import is_whole, require_whole

if TYPE_CHECKING:
    import gymnasium
    from numpy.typing import NDArray

    from rlbook.deep.episodes import Ending

    MakeOne = Callable[[], gymnasium.Env[Any, Any]]
    Worlds = str | Environment | MakeOne

Driver = Literal["compiled", "gym"]

# Steps between two looks at what the caller wants: about a hundredth of a second in either driver.
_CHUNK: dict[Driver, int] = {"compiled": 1_000, "gym": 50}
_MOST_STEPS = 2**31 - 1  # units are counted in 32 bits
_MOST_SEED = 2**32 - 1
_MOST_SEEDS = 100_000
_MOST_EVALUATIONS = 1_000_000


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
        """Where this seed's checkpoint is, if any are kept."""
        return None if self.folder is None else Checkpoint(self.folder, self.identity, seed)


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
    require_whole("evaluation_episodes", evaluation_episodes, 1, 100_000)
    kind = algorithm.experience(config)
    per_unit = kind.length * kind.environments
    units = -(-steps // per_unit)
    chunk = max(1, _CHUNK[driver] // per_unit)
    world, make_one = _world(environment, driver)
    open_one: Callable[[int], Training]
    if make_one is None:
        assert world is not None
        compiled = world
        spaces, name = Spaces(compiled.observation_shape, compiled.action_space), compiled.name
        open_one = lambda seed: CompiledTraining(algorithm, config, compiled, seed, steps, chunk)  # noqa: E731
    else:
        maker = make_one
        name, spaces, contents = _tried(maker, environment)
        open_one = lambda seed: GymnasiumTraining(algorithm, config, maker, seed, steps)  # noqa: E731
    if isinstance(spaces.actions, Continuous):
        # So far no algorithm here acts in vectors.
        raise ParameterError(
            f"{name} takes vectors as actions, but {algorithm.name} chooses among finitely many; take an environment "
            "with discrete actions, such as CartPole-v1"
        )
    identity = Identity(
        algorithm=algorithm.name,
        config=config.canonical_json(),
        environment=environment if isinstance(environment, str) else name,
        environment_digest=contents if world is None else _digest(world),
        driver=driver,
        steps=int(steps),
        evaluations=int(evaluations),
        evaluation_episodes=int(evaluation_episodes),
    )
    return Plan(
        algorithm=algorithm,
        config=config,
        identity=identity,
        open=open_one,
        oracle=Oracle.of(world, algorithm, config),
        steps_per_unit=per_unit,
        idle_units=min(kind.idle_units, units),
        chunk=chunk,
        evaluated_at=np.unique(np.ceil(np.arange(1, evaluations + 1) * (units / evaluations)).astype(np.int64)),
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


def _world(environment: Worlds, driver: Driver) -> tuple[Environment | None, MakeOne | None]:
    """The environment in JAX, if it is one, and what makes it for Gymnasium's driver, if that is to run."""
    if isinstance(environment, str):
        import gymnasium

        if driver == "gym" and (environment in gymnasium.registry or ":" in environment):
            return None, lambda: gymnasium.make(environment)
        world = _made(environment, driver)
    elif isinstance(environment, Environment):
        world = environment
    elif isinstance(environment, FiniteMDP):
        raise ParameterError(
            "environment is a FiniteMDP, whose episodes have no limit yet; give FiniteMDPEnvironment(mdp, "
            "time_limit=...) of rlbook.deep"
        )
    elif not callable(environment):
        raise ParameterError(
            f"environment is {environment!r}; give a name, an environment of rlbook.deep, or a function without "
            "arguments that makes a Gymnasium environment, since training needs more than one"
        )
    elif driver == "compiled":
        raise ParameterError(
            "environment is a function that makes Gymnasium environments, which only driver='gym' can step"
        )
    else:
        return None, environment
    return world, (lambda: to_gymnasium(world)) if driver == "gym" else None


def _made(name: str, driver: Driver) -> Environment:
    try:
        return make(name)
    except UnknownNameError:
        import gymnasium

        if driver == "gym":
            raise UnknownNameError("environment", name, [*names(), *gymnasium.registry]) from None
        if name in gymnasium.registry:
            raise ParameterError(
                f"environment {name!r} is Gymnasium's and not in JAX, which the compiled driver needs; take "
                f"driver='gym', or one of {', '.join(names()[:7])}"
            ) from None
        raise


def _tried(make_one: MakeOne, environment: Worlds) -> tuple[str, Spaces, str]:
    """Name, spaces and digest of what `make_one` makes; raises ParameterError where it makes nothing of use."""
    import gymnasium

    try:
        trial = make_one()
    except (gymnasium.error.Error, ImportError) as error:
        raise ParameterError(f"environment {environment!r} cannot be made: {error}") from None
    if not isinstance(trial, gymnasium.Env):
        raise ParameterError(f"environment makes {trial!r}; it must be a function that makes a Gymnasium environment")
    try:
        return name_of(trial), spaces_of(trial), _digest_of_spec(trial)
    finally:
        trial.close()


def _digest_of_spec(trial: gymnasium.Env[Any, Any]) -> str:
    spec = trial.spec
    if spec is None:
        return type(trial.unwrapped).__qualname__
    told = [spec.id, spec.max_episode_steps, spec.kwargs]
    return _hashed(json.dumps(told, sort_keys=True, default=lambda value: type(value).__qualname__).encode())


def _digest(environment: Environment) -> str:
    """Of all that the steps of an environment in JAX follow from, as far as it is numbers and names."""
    plain = {
        each.name: repr(value)
        for each in dataclasses.fields(environment)
        if isinstance(value := getattr(environment, each.name), int | float | str | tuple)
    }
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(environment)]
    told = json.dumps([type(environment).__qualname__, plain, [[str(leaf.dtype), leaf.shape] for leaf in leaves]])
    return _hashed(told.encode(), *(leaf.tobytes() for leaf in leaves))


def _hashed(*pieces: bytes) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()[:16]
