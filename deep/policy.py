"""A trained policy: saved, loaded and asked without the trainer that made it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.array_files import ArrayFileError, leaves_of, read, tree_of, write
from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Continuous, Discrete
from rlbook.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FORMAT = "rlbook policy 1"


@dataclass(frozen=True, eq=False)
class Policy:
    """What an agent has learned. environment: the name of the one that it was trained on."""

    algorithm: Algorithm
    config: Config
    spaces: Spaces
    state: Any
    environment: str

    @classmethod
    def of(cls, algorithm: Algorithm, config: Config, spaces: Spaces, state: Any, environment: str) -> Policy:
        """A policy of its own: training may go on, and reuse the memory of `state`."""
        own = jax.tree.map(lambda leaf: jax.numpy.array(leaf, copy=True), state)
        return cls(algorithm, config, spaces, own, environment)

    def __call__(self, observation: ArrayLike) -> NDArray[Any]:
        """The action that the agent thinks best; raises ParameterError for an observation of another shape."""
        return np.asarray(_greedy(self.algorithm, self.config, self.state, self._checked(observation)))

    def action_values(self, observation: ArrayLike) -> NDArray[np.float32]:
        """The agent's value of each action, (n,), in units of return; ParameterError where it has none."""
        if self.algorithm.action_values is None:
            raise ParameterError(f"{self.algorithm.name} learns no action values; call the policy for its action")
        return np.asarray(_values(self.algorithm, self.config, self.state, self._checked(observation)))

    def save(self, path: str | Path) -> None:
        """Write the policy to a file, atomically; raises ArrayFileError where that cannot be."""
        actions = self.spaces.actions
        header = {
            "format": _FORMAT,
            "algorithm": self.algorithm.name,
            "config": self.config.model_dump(),
            "observation_shape": self.spaces.observation_shape,
            "actions": {"kind": type(actions).__name__, **asdict(actions)},
            "environment": self.environment,
        }
        write(Path(path), header, leaves_of(self.state, "state"))

    @staticmethod
    def load(path: str | Path, own: Algorithm | None = None) -> Policy:
        """The policy in a file that `save` wrote; nothing in it is executed. Raises ArrayFileError.

        own: your algorithm, for the policies that it has made; the book's are found by their names.
        """
        from rlbook.deep.algorithms import algorithm

        path = Path(path)
        header, arrays = read(path, _FORMAT)
        try:
            made_by = own if own is not None and own.name == header["algorithm"] else algorithm(header["algorithm"])
            config = made_by.Config.parse(header["config"])
            spaces = Spaces(tuple(header["observation_shape"]), _actions_of(header["actions"]))
            environment = str(header["environment"])
        except (UnknownNameError, ParameterError) as error:
            raise ArrayFileError(f"{str(path)!r} is of another version of rlbook: {error}") from None
        except (KeyError, TypeError) as error:
            raise ArrayFileError(f"{str(path)!r} lacks a part ({error}); another version of rlbook wrote it") from None
        like = jax.eval_shape(partial(made_by.init, config, spaces), jax.random.key(0))
        state = tree_of(like, arrays, "state", repr(str(path)))
        return Policy(made_by, config, spaces, state, environment)

    def describe(self) -> str:
        """In one line: the algorithm, its environment, and the settings that are not the defaults."""
        usual = self.algorithm.Config().model_dump()
        own = {name: value for name, value in self.config.model_dump().items() if usual[name] != value}
        return f"{self.algorithm.name} trained on {self.environment}" + (f", with {json.dumps(own)}" if own else "")

    def _checked(self, observation: ArrayLike) -> NDArray[np.float32]:
        seen = np.asarray(observation, dtype=np.float32)
        if seen.shape != self.spaces.observation_shape:
            raise ParameterError(
                f"observation has shape {seen.shape}, but this policy was trained on {self.environment}, whose "
                f"observations have shape {self.spaces.observation_shape}"
            )
        return seen


def _actions_of(told: dict[str, Any]) -> Discrete | Continuous:
    if told["kind"] == "Discrete":
        return Discrete(int(told["n"]))
    return Continuous(tuple(told["low"]), tuple(told["high"]))


@partial(jax.jit, static_argnums=0)
def _greedy(algorithm: Algorithm, config: Config, state: Any, seen: Any) -> Any:
    return algorithm.greedy(config, state, seen)


@partial(jax.jit, static_argnums=0)
def _values(algorithm: Algorithm, config: Config, state: Any, seen: Any) -> Any:
    assert algorithm.action_values is not None
    return algorithm.action_values(config, state, seen)
