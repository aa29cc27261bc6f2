"""Environments in JAX by name: Gymnasium's classic control, small games, and every finite MDP of the catalogue."""

from __future__ import annotations

import inspect
from typing import Any

from rlbook import environments as finite
from rlbook.deep.environments.acrobot import Acrobot
from rlbook.deep.environments.breakout import Breakout
from rlbook.deep.environments.cartpole import CartPole
from rlbook.deep.environments.catch import Catch
from rlbook.deep.environments.deep_sea import DeepSea
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.deep.environments.interface import Environment
from rlbook.deep.environments.mountain_car import MountainCar
from rlbook.deep.environments.pendulum import Pendulum
from rlbook.errors import ParameterError, UnknownNameError, suggest

_GAMES: dict[str, type[Environment]] = {
    "CartPole-v1": CartPole,
    "MountainCar-v0": MountainCar,
    "Acrobot-v1": Acrobot,
    "Pendulum-v1": Pendulum,
    "Catch": Catch,
    "DeepSea": DeepSea,
    "MinAtar/Breakout-v1": Breakout,
}
_OF_FINITE = tuple(inspect.signature(FiniteMDPEnvironment).parameters)[1:]


def names() -> tuple[str, ...]:
    """All names that `make` knows: the games first, then the finite MDPs in the order of their catalogue."""
    return (*_GAMES, *(entry.name for entry in finite.catalogue()))


def make(name: str, **options: Any) -> Environment:
    """Build an environment: `make("CartPole-v1")`, `make("DeepSea(size=20)")`, `make("taxi", features=32)`.

    options: those of the environment's class; for a finite MDP its parameters in the catalogue and `time_limit`,
    `features` and `feature_seed` of `FiniteMDPEnvironment`. Raises UnknownNameError with the nearest names, and
    ParameterError for an option that is unknown, given twice or out of range.
    """
    name, given = finite.merged_call(name, options)
    if name in _GAMES:
        return _game(name, given)
    if name not in names():
        raise UnknownNameError("environment", name, names())
    of_mdp = {option: value for option, value in given.items() if option not in _OF_FINITE}
    seen = {option: value for option, value in given.items() if option in _OF_FINITE}
    return FiniteMDPEnvironment(finite.make(name, **of_mdp), **seen)


def _game(name: str, options: dict[str, Any]) -> Environment:
    known = inspect.signature(_GAMES[name]).parameters
    for option in options:
        if option not in known:
            raise ParameterError(f"{name}: option {option!r} is unknown; {suggest(option, known)}")
    return _GAMES[name](**options)
