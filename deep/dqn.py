"""Deep Q-learning, and the pieces that were added to it.

    loss = mean_i w_i (y_i - q(s_i, a_i; theta))^2,    y = R + discount q(s', a'; theta-)

with a' = argmax q(s', .; theta-) for DQN (Mnih et al. 2015, algorithm 1) and argmax q(s', .; theta) for double DQN (van
Hasselt, Guez & Silver 2016, eq. 4); theta- is a copy of theta, renewed now and then. R and discount are those of n
steps, w the weights of prioritised replay (see `rlbook.deep.replay`). With `dueling`,

    q(s, a) = v(s) + A(s, a) - mean_b A(s, b)                                       (Wang et al. 2016, eq. 9).

Mnih et al. clip errors to [-1, 1], which is the Huber loss. It is an option here and not the default: where few rows
are terminal, as on CartPole, their errors grow large, and clipped they are outvoted by small errors of all the others;
with the default step sizes values then grow without bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.config import Config as BaseConfig
from rlbook.deep.exploration import epsilon_greedy, falling
from rlbook.deep.networks import Torso, copied_every
from rlbook.deep.replay import Batch, Learned, Replay

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Config(BaseConfig):
    """Defaults are CleanRL's for classic control."""

    learning_rate: float = Field(2.5e-4, gt=0, le=1, description="step size of Adam")
    discount: float = Field(0.99, ge=0, le=1, description="of rewards, per step")
    exploration_start: float = Field(1.0, ge=0, le=1, description="chance of a random action at first")
    exploration_end: float = Field(0.05, ge=0, le=1, description="chance of a random action later")
    exploration_fraction: float = Field(0.5, gt=0, le=1, description="share of training in which it falls")
    priority_exponent: float = Field(0.6, ge=0, le=1, description="how much errors count when rows are drawn")
    importance_exponent: float = Field(0.4, ge=0, le=1, description="how much weights make up for that, at first")
    gradient_norm: float = Field(10.0, gt=0, description="longest gradient; longer ones are scaled down")
    train_every: int = Field(10, ge=1, le=10_000, description="steps between two updates")
    batch_size: int = Field(128, ge=1, le=65_536, description="rows of an update")
    buffer_size: int = Field(10_000, ge=1, le=10_000_000, description="rows that are kept")
    learning_starts: int = Field(10_000, ge=1, le=10_000_000, description="rows before the first update")
    target_every: int = Field(50, ge=1, description="updates between two copies to the target network")
    n_step: int = Field(1, ge=1, le=100, description="rewards before the bootstrap")
    double: bool = Field(False, description="choose the next action with the network, judge it with its target")
    dueling: bool = Field(False, description="value and advantages apart")
    prioritised: bool = Field(False, description="draw rows by their errors")
    loss: Literal["squared", "huber"] = Field("squared", description="of an error; the Huber loss is linear beyond 1")
    first_width: int = Field(120, ge=1, le=4096, description="units of the first layer")
    second_width: int = Field(84, ge=1, le=4096, description="units of the second layer")


class QNetwork(eqx.Module):
    """Action values of an observation, (n,); `value` is there for dueling networks only."""

    torso: Torso
    value: eqx.nn.Linear | None
    advantage: eqx.nn.Linear

    def __init__(self, config: Config, spaces: Spaces, key: PRNGKeyArray) -> None:
        torso, value, advantage = jax.random.split(key, 3)
        widths = (config.first_width, config.second_width)
        self.torso = Torso(spaces.observation_shape, widths, torso)
        self.value = eqx.nn.Linear(widths[-1], 1, key=value) if config.dueling else None
        self.advantage = eqx.nn.Linear(widths[-1], spaces.choices, key=advantage)

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "n"]:
        x = self.torso(observation)
        if self.value is None:
            return self.advantage(x)
        advantage = self.advantage(x)
        return self.value(x) + advantage - advantage.mean()


class State(NamedTuple):
    network: QNetwork
    target: QNetwork
    optimiser: Any
    updates: Int[Array, ""]


def experience(config: Config) -> Replay:
    return Replay(
        discount=config.discount,
        every=config.train_every,
        batch=config.batch_size,
        capacity=config.buffer_size,
        warm_up=config.learning_starts,
        n_step=config.n_step,
        prioritised=config.prioritised,
        priority_exponent=config.priority_exponent,
        importance_exponent=config.importance_exponent,
    )


def init(config: Config, spaces: Spaces, key: PRNGKeyArray) -> State:
    network = QNetwork(config, spaces, key)
    target = jax.tree.map(jnp.copy, network)
    return State(network, target, optimiser(config).init(network), jnp.int32(0))


def optimiser(config: Config) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(config.gradient_norm), optax.adam(config.learning_rate))


def act(config: Config, state: State, observation: Array, key: PRNGKeyArray, progress: Array) -> Array:
    """With chance epsilon, which falls along a line, any action; else a greedy one."""
    epsilon = falling(config.exploration_start, config.exploration_end, config.exploration_fraction, progress)
    return epsilon_greedy(state.network(observation), epsilon, key)


def greedy(config: Config, state: State, observation: Array) -> Array:
    return jnp.argmax(state.network(observation)).astype(jnp.int32)


def action_values(config: Config, state: State, observation: Array) -> Array:
    return state.network(observation)


def targets(config: Config, network: QNetwork, target: QNetwork, batch: Batch) -> Float[Array, "batch"]:
    """y of each row."""
    judged = jax.vmap(target)(batch.bootstrap_observation)
    chosen = jax.vmap(network)(batch.bootstrap_observation) if config.double else judged
    best = jnp.argmax(chosen, axis=1)
    return batch.reward + batch.discount * jnp.take_along_axis(judged, best[:, None], axis=1)[:, 0]


def loss(
    network: QNetwork, config: Config, batch: Batch, y: Float[Array, "batch"]
) -> tuple[Array, tuple[Array, Array]]:
    """The loss, and beside it each row's error y - q and value q."""
    q = jnp.take_along_axis(jax.vmap(network)(batch.observation), batch.action[:, None], axis=1)[:, 0]
    error = y - q
    each = jnp.square(error) if config.loss == "squared" else optax.losses.huber_loss(error)
    return jnp.mean(batch.weight * each), (error, q)


def update(config: Config, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Learned]:
    y = targets(config, state.network, state.target, batch)
    (value, (error, q)), gradient = jax.value_and_grad(loss, has_aux=True)(state.network, config, batch, y)
    change, optimiser_state = optimiser(config).update(gradient, state.optimiser)
    network = optax.apply_updates(state.network, change)
    updates = state.updates + 1
    target = copied_every(config.target_every, updates, network, state.target)
    return State(network, target, optimiser_state, updates), Learned(error, {"loss": value, "q": q.mean()})


ALGORITHM = Algorithm("dqn", "DQN", Config, experience, init, act, greedy, update, action_values)
train = ALGORITHM.train
