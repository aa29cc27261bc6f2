"""PQN, the parallelised Q-network: no replay, no target network (Gallici, Fellows et al. 2025).

    loss = mean (G_t - q(s_t, a_t; theta))^2
    G_t = r_t + discount (lambda G_{t+1} + (1 - lambda) max_a q(s_{t+1}, a; theta)),    discount 0 where the world ended

Many environments act side by side for some steps; then G is computed once, backwards, and a few passes over all these
rows, in shuffled minibatches, fit q to it. lambda is 0 where the rollout or a time limit cuts the episode, so that the
value of the last observation is what follows. Exploratory actions do not cut G (Peng & Williams 1996). What keeps this
stable without a target network is layer normalisation (section 3 of the paper).

The authors let the step size fall to 0 along a line; here it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.config import Config as BaseConfig
from rlbook.deep.episodes import Row
from rlbook.deep.experience import Rollout
from rlbook.deep.exploration import epsilon_greedy, falling
from rlbook.deep.networks import Torso
from rlbook.deep.returns import lambda_returns
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Config(BaseConfig):
    """Defaults: the sizes of rollouts and rounds that the authors take on CartPole, and CleanRL's other numbers."""

    learning_rate: float = Field(2.5e-4, gt=0, le=1, description="step size of RAdam")
    discount: float = Field(0.99, ge=0, le=1, description="of rewards, per step")
    trace_decay: float = Field(0.65, ge=0, le=1, description="lambda: how far returns look before they bootstrap")
    exploration_start: float = Field(1.0, ge=0, le=1, description="chance of a random action at first")
    exploration_end: float = Field(0.05, ge=0, le=1, description="chance of a random action later")
    exploration_fraction: float = Field(0.5, gt=0, le=1, description="share of training in which it falls")
    gradient_norm: float = Field(10.0, gt=0, description="longest gradient; longer ones are scaled down")
    environments: int = Field(32, ge=1, le=65_536, description="environments side by side")
    rollout: int = Field(64, ge=1, le=10_000, description="steps of each environment between two rounds of updates")
    epochs: int = Field(4, ge=1, le=1_000, description="passes over a rollout")
    minibatches: int = Field(16, ge=1, le=65_536, description="updates of each pass")
    first_width: int = Field(120, ge=1, le=4096, description="units of the first layer")
    second_width: int = Field(84, ge=1, le=4096, description="units of the second layer")

    @model_validator(mode="after")
    def _even(self) -> Self:
        rows = self.rollout * self.environments
        if rows % self.minibatches != 0:
            raise ParameterError(
                f"minibatches is {self.minibatches}, but {rows} rows ({self.rollout} steps of {self.environments} "
                "environments) must fall into equal minibatches; choose a divisor of their number"
            )
        return self


class QNetwork(eqx.Module):
    """Action values of an observation, (n,); its layers are normalised."""

    torso: Torso
    head: eqx.nn.Linear

    def __init__(self, config: Config, spaces: Spaces, key: PRNGKeyArray) -> None:
        torso, head = jax.random.split(key)
        widths = (config.first_width, config.second_width)
        self.torso = Torso(spaces.observation_shape, widths, torso, norm="learned")
        self.head = eqx.nn.Linear(widths[-1], spaces.choices, key=head)

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "n"]:
        return self.head(self.torso(observation))


class State(NamedTuple):
    network: QNetwork
    optimiser: Any


def experience(config: Config) -> Rollout:
    return Rollout(config.environments, config.rollout)


def init(config: Config, spaces: Spaces, key: PRNGKeyArray) -> State:
    network = QNetwork(config, spaces, key)
    return State(network, optimiser(config).init(network))


def optimiser(config: Config) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(config.gradient_norm), optax.radam(config.learning_rate))


def act(config: Config, state: State, observation: Array, key: PRNGKeyArray, progress: Array) -> Array:
    """With chance epsilon, which falls along a line, any action; else a greedy one."""
    epsilon = falling(config.exploration_start, config.exploration_end, config.exploration_fraction, progress)
    return epsilon_greedy(state.network(observation), epsilon, key)


def greedy(config: Config, state: State, observation: Array) -> Array:
    return jnp.argmax(state.network(observation)).astype(jnp.int32)


def action_values(config: Config, state: State, observation: Array) -> Array:
    return state.network(observation)


def targets(config: Config, network: QNetwork, rows: Row) -> Float[Array, "T E"]:
    """G of each row."""
    following = jax.vmap(jax.vmap(network))(rows.next_observation).max(axis=-1)
    discount = jnp.where(rows.terminated, 0.0, config.discount)
    trust = jnp.where(rows.terminated | rows.truncated, 0.0, config.trace_decay)
    return lambda_returns(rows.reward, discount, following, trust)


def loss(
    network: QNetwork,
    observation: Float[Array, "rows ..."],
    action: Int[Array, "rows"],
    y: Float[Array, "rows"],
) -> tuple[Array, Float[Array, "rows"]]:
    """The loss, and beside it each row's value q."""
    q = jnp.take_along_axis(jax.vmap(network)(observation), action[:, None], axis=1)[:, 0]
    return jnp.mean(jnp.square(y - q)), q


def update(config: Config, state: State, rows: Row, key: PRNGKeyArray) -> tuple[State, dict[str, Array]]:
    y = targets(config, state.network, rows)
    given = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (rows.observation, rows.action, y))

    def step(state: State, chosen: Int[Array, "rows"]) -> tuple[State, tuple[Array, Array]]:
        minibatch = jax.tree.map(lambda leaf: leaf[chosen], given)
        (value, q), gradient = jax.value_and_grad(loss, has_aux=True)(state.network, *minibatch)
        change, optimiser_state = optimiser(config).update(gradient, state.optimiser, state.network)
        return State(optax.apply_updates(state.network, change), optimiser_state), (value, q.mean())

    shuffled = jax.vmap(lambda key: jax.random.permutation(key, y.size))(jax.random.split(key, config.epochs))
    state, (value, q) = jax.lax.scan(step, state, shuffled.reshape(config.epochs * config.minibatches, -1))
    return state, {"loss": value.mean(), "q": q.mean()}


ALGORITHM = Algorithm("pqn", "PQN", Config, experience, init, act, greedy, update, action_values)
train = ALGORITHM.train
