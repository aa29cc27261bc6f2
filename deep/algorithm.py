"""What an algorithm is: a configuration and a few pure functions, bundled under a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Continuous, Discrete
from rlbook.deep.experience import Experience
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Array, Float, PRNGKeyArray

    from rlbook.deep.training import Trained
    from rlbook.deep.worlds import Worlds


@dataclass(frozen=True)
class Spaces:
    """What an agent has to know of its environment before it meets it."""

    observation_shape: tuple[int, ...]
    actions: Discrete | Continuous

    @property
    def choices(self) -> int:
        """How many actions there are to choose from; raises ParameterError where actions are vectors."""
        if not isinstance(self.actions, Discrete):
            raise ParameterError(
                "actions are vectors, but this algorithm chooses among finitely many; take an environment with "
                "discrete actions, such as CartPole-v1"
            )
        return self.actions.n


class ReturnLaw(NamedTuple):
    """What an agent believes of the returns of n actions: k atoms of each, and how likely each atom is."""

    atoms: Float[Array, "n k"]
    mass: Float[Array, "n k"]


@dataclass(frozen=True)
class Algorithm:
    """An algorithm for drivers to run; all functions are pure and may be compiled.

    experience: (config) -> the kind of experience it learns from. init: (config, spaces, key) -> its state, a pytree.
    act: (config, state, observation, key, progress) -> an action for learning, for one observation. greedy: (config,
    state, observation) -> the action that it thinks best. update: (config, state, experience, key); see `Replay`,
    `Rollout` and `Stream` for what it gets and gives. action_values: (config, state, observation) -> (n,), if it has
    any; with them it is graded on finite MDPs. return_law: (config, state, observation) -> the laws whose means they
    are, if it learns laws.
    """

    name: str
    title: str
    Config: type[Config]
    experience: Callable[[Any], Experience]
    init: Callable[[Any, Spaces, PRNGKeyArray], Any]
    act: Callable[[Any, Any, Array, PRNGKeyArray, Float[Array, ""]], Array]
    greedy: Callable[[Any, Any, Array], Array]
    update: Callable[..., Any]
    action_values: Callable[[Any, Any, Array], Array] | None = None
    return_law: Callable[[Any, Any, Array], ReturnLaw] | None = None

    def train(self, environment: Worlds = "CartPole-v1", **options: Any) -> xr.Dataset:
        """Train under several seeds; returns a dataset over "seed" and "step" (of evaluation).

        environment: a name (`rlbook.deep.environments.names`), an environment in JAX, or a function that makes a
        Gymnasium environment. seeds: how many, or which. steps: of all environments together, at least 1. config: the
        algorithm's own `Config`; its fields can also be given by name. driver: "compiled", agent and environment as one
        program, or "gym", any environment of Gymnasium's. evaluations, evaluation_episodes: how often the greedy policy
        is tried, and in how many episodes. folder: where checkpoints and policies go; training goes on from what is
        there, and a result's `seconds` are those since then. workers: seeds that are trained at once, by default one
        per core. context: see `rlbook.lab.Context`. watch: called before the first step and after each evaluation, as
        watch(seed, step, state), by that seed's thread; it may look at the agent's state, and must copy what it keeps,
        since training goes on in the same memory.

        A seed gives the same numbers alone and in company. Where a loss is no number, that seed ends with a
        TrainingWarning. Raises UnknownNameError and ParameterError for bad input, before anything runs; Ctrl-C raises
        TrainingInterrupted, with result and policies so far; Cancelled when the context says so.
        """
        from rlbook.deep.training import run

        return run(self, environment, **options).result

    def run(self, environment: Worlds = "CartPole-v1", **options: Any) -> Trained:
        """As `train`, and the trained policies as well."""
        from rlbook.deep.training import run

        return run(self, environment, **options)
