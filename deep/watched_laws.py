"""What an agent believes of the return in every state of a finite MDP, noted while it learns.

    watched = WatchedLaws(ALGORITHM, config, environment)
    ALGORITHM.run(environment, config=config, watch=watched)
    atoms, mass = watched.laws([0, 1])

Both are arrays (seeds, looks, S, A, k); the first look is at the agent before it has learned anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep.algorithm import Algorithm, ReturnLaw
from rlbook.deep.config import Config
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    from jaxtyping import Array, Float
    from numpy.typing import NDArray


class WatchedLaws:
    """A `watch` for training on a finite MDP: the return laws of all states and actions, at every look.

    An agent that learns no laws is sure of its action values: its laws are single atoms, of mass 1.
    """

    def __init__(self, algorithm: Algorithm, config: Config, environment: FiniteMDPEnvironment) -> None:
        """Raises ParameterError for an algorithm without action values."""
        if algorithm.action_values is None:
            raise ParameterError(f"{algorithm.name} has no action values, so there are no laws of returns to watch")
        self._algorithm, self._config, self._environment = algorithm, config, environment
        self._looks: dict[int, dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}

    def __call__(self, seed: int, step: int, state: Any) -> None:
        found = _laws(self._algorithm, self._config, state, self._environment.observe_all())
        self._looks.setdefault(seed, {})[step] = np.array(found.atoms), np.array(found.mass)

    def steps(self, seed: int) -> NDArray[np.int64]:
        """After how many steps of training this seed was looked at, (looks,)."""
        return np.array(list(self._looks[seed]), dtype=np.int64)

    def laws(self, seeds: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Atoms and masses of seeds that were looked at equally often, (seeds, looks, S, A, k) each."""
        each = [list(self._looks[seed].values()) for seed in seeds]
        atoms, mass = (np.array([[law[part] for law in looks] for looks in each]) for part in range(2))
        return atoms, mass


@partial(jax.jit, static_argnums=0)
def _laws(algorithm: Algorithm, config: Config, state: Any, seen: Float[Array, "S d"]) -> ReturnLaw:
    def believed(observation: Array) -> ReturnLaw:
        if algorithm.return_law is not None:
            return algorithm.return_law(config, state, observation)
        assert algorithm.action_values is not None
        atoms = algorithm.action_values(config, state, observation)[:, None]
        return ReturnLaw(atoms, jnp.ones_like(atoms))

    return jax.vmap(believed)(seen)
