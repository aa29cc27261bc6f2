"""What training runs on: an environment in JAX, or what makes environments of Gymnasium, by name or as it is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import numpy as np

from rlbook.deep.algorithm import Spaces
from rlbook.deep.environments import make, names
from rlbook.deep.environments.interface import Environment
from rlbook.deep.environments.to_gymnasium import to_gymnasium
from rlbook.deep.gymnasium_driver import name_of, spaces_of
from rlbook.errors import ParameterError, UnknownNameError
from rlbook.mdp import FiniteMDP

if TYPE_CHECKING:
    import gymnasium

    MakeOne = Callable[[], gymnasium.Env[Any, Any]]
    Worlds = str | Environment | MakeOne

Driver = Literal["compiled", "gym"]


class World(NamedTuple):
    """What a driver runs on. digest: of what the environment holds, since two of one name may differ.

    compiled: the environment in JAX, if it is one. make_one: makes one for Gymnasium's driver, if that is to run.
    """

    name: str
    spaces: Spaces
    digest: str
    compiled: Environment | None
    make_one: MakeOne | None


def world_of(environment: Worlds, driver: Driver) -> World:
    """What `driver` is to run on; raises UnknownNameError or ParameterError where that is nothing of use."""
    if isinstance(environment, str):
        import gymnasium

        if driver == "gym" and (environment in gymnasium.registry or ":" in environment):
            return _made_by(lambda: gymnasium.make(environment), environment)
        return _in_jax(_made(environment, driver), driver)._replace(name=environment)
    if isinstance(environment, Environment):
        return _in_jax(environment, driver)
    if isinstance(environment, FiniteMDP):
        raise ParameterError(
            "environment is a FiniteMDP, whose episodes have no limit yet; give FiniteMDPEnvironment(mdp, "
            "time_limit=...) of rlbook.deep"
        )
    if not callable(environment):
        raise ParameterError(
            f"environment is {environment!r}; give a name, an environment of rlbook.deep, or a function without "
            "arguments that makes a Gymnasium environment, since training needs more than one"
        )
    if driver == "compiled":
        raise ParameterError(
            "environment is a function that makes Gymnasium environments, which only driver='gym' can step"
        )
    return _made_by(environment, environment)


def _in_jax(environment: Environment, driver: Driver) -> World:
    spaces = Spaces(environment.observation_shape, environment.action_space)
    make_one = (lambda: to_gymnasium(environment)) if driver == "gym" else None
    return World(environment.name, spaces, _digest(environment), environment, make_one)


def _made_by(make_one: MakeOne, given: Any) -> World:
    """Tries it once; raises ParameterError where it makes nothing of use. given: as the user has named it."""
    import gymnasium

    try:
        trial = make_one()
    except (gymnasium.error.Error, ImportError) as error:
        raise ParameterError(f"environment {given!r} cannot be made: {error}") from None
    if not isinstance(trial, gymnasium.Env):
        raise ParameterError(f"environment makes {trial!r}; it must be a function that makes a Gymnasium environment")
    try:
        return World(name_of(trial), spaces_of(trial), _digest_of_spec(trial), None, make_one)
    finally:
        trial.close()


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
