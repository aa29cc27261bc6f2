"""QR-DQN: learn quantiles of the return (Dabney, Rowland, Bellemare & Munos 2018).

    loss = mean_i sum_k E_j rho_k(y_ij - theta_k(s_i, a_i)),    y_ij = R + discount theta_j(s', a'; theta-)
    rho_k(u) = |tau_k - 1{u < 0}| L(u),    L(u) = u^2 / 2 where |u| <= kappa, else kappa (|u| - kappa / 2)   (eq. 9, 10)

theta_1, ..., theta_N are N places of equal mass 1 / N; theta_k is drawn to the quantile of the target's law at the
midpoint tau_k = (2 k - 1) / (2 N). a' is the action of the greatest mean under theta-, a copy of the network that is
renewed now and then. Unlike C51 it needs no range of returns. The smaller kappa, the nearer to quantiles; beyond kappa
slopes no longer grow with errors, so that few rows with large errors are outvoted, as with DQN's Huber loss: on
CartPole values grew without bound where the target was copied more than twice as often as by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from rlbook.deep.algorithm import Algorithm, ReturnLaw, Spaces
from rlbook.deep.config import Config as BaseConfig
from rlbook.deep.exploration import epsilon_greedy, falling
from rlbook.deep.networks import Torso, copied_every
from rlbook.deep.replay import Batch, Learned, Replay

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Config(BaseConfig):
    """Defaults are those of DQN here, with a larger memory; both were tried on CartPole."""

    learning_rate: float = Field(2.5e-4, gt=0, le=1, description="step size of Adam")
    discount: float = Field(0.99, ge=0, le=1, description="of rewards, per step")
    exploration_start: float = Field(1.0, ge=0, le=1, description="chance of a random action at first")
    exploration_end: float = Field(0.05, ge=0, le=1, description="chance of a random action later")
    exploration_fraction: float = Field(0.5, gt=0, le=1, description="share of training in which it falls")
    kappa: float = Field(1.0, gt=0, description="error beyond which the loss is linear, in units of return")
    quantiles: int = Field(21, ge=1, le=10_000, description="places of equal mass")
    train_every: int = Field(10, ge=1, le=10_000, description="steps between two updates")
    batch_size: int = Field(128, ge=1, le=65_536, description="rows of an update")
    buffer_size: int = Field(50_000, ge=1, le=10_000_000, description="rows that are kept")
    learning_starts: int = Field(10_000, ge=1, le=10_000_000, description="rows before the first update")
    target_every: int = Field(50, ge=1, description="updates between two copies to the target network")
    first_width: int = Field(120, ge=1, le=4096, description="units of the first layer")
    second_width: int = Field(84, ge=1, le=4096, description="units of the second layer")


class QuantileNetwork(eqx.Module):
    """Quantiles of the return of each action, (n, quantiles)."""

    torso: Torso
    head: eqx.nn.Linear
    quantiles: int = eqx.field(static=True)

    def __init__(self, config: Config, spaces: Spaces, key: PRNGKeyArray) -> None:
        torso, head = jax.random.split(key)
        widths = (config.first_width, config.second_width)
        self.torso = Torso(spaces.observation_shape, widths, torso)
        self.head = eqx.nn.Linear(widths[-1], spaces.choices * config.quantiles, key=head)
        self.quantiles = config.quantiles

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "n quantiles"]:
        return self.head(self.torso(observation)).reshape(-1, self.quantiles)


class State(NamedTuple):
    network: QuantileNetwork
    target: QuantileNetwork
    optimiser: Any
    updates: Int[Array, ""]


def experience(config: Config) -> Replay:
    return Replay(
        discount=config.discount,
        every=config.train_every,
        batch=config.batch_size,
        capacity=config.buffer_size,
        warm_up=config.learning_starts,
    )


def init(config: Config, spaces: Spaces, key: PRNGKeyArray) -> State:
    network = QuantileNetwork(config, spaces, key)
    target = jax.tree.map(jnp.copy, network)
    return State(network, target, optimiser(config).init(network), jnp.int32(0))


def optimiser(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate, eps=0.01 / config.batch_size)


def act(config: Config, state: State, observation: Array, key: PRNGKeyArray, progress: Array) -> Array:
    """With chance epsilon, which falls along a line, any action; else one of the greatest mean return."""
    epsilon = falling(config.exploration_start, config.exploration_end, config.exploration_fraction, progress)
    return epsilon_greedy(action_values(config, state, observation), epsilon, key)


def greedy(config: Config, state: State, observation: Array) -> Array:
    return jnp.argmax(action_values(config, state, observation)).astype(jnp.int32)


def action_values(config: Config, state: State, observation: Array) -> Array:
    return state.network(observation).mean(axis=1)


def return_law(config: Config, state: State, observation: Array) -> ReturnLaw:
    atoms = state.network(observation)
    return ReturnLaw(atoms, jnp.full(atoms.shape, 1 / config.quantiles))


def quantile_huber_loss(
    theta: Float[Array, "batch quantiles"], y: Float[Array, "batch places"], kappa: Float[Array, ""] | float
) -> Float[Array, "batch"]:
    """Each row's sum over quantiles of the mean over places of rho."""
    quantiles = theta.shape[1]
    tau = (jnp.arange(quantiles) + 0.5) / quantiles
    error = y[:, None, :] - theta[:, :, None]
    weight = jnp.abs(tau[:, None] - (error < 0))
    return jnp.sum(jnp.mean(weight * optax.losses.huber_loss(error, delta=kappa), axis=2), axis=1)


def targets(target: QuantileNetwork, batch: Batch) -> Float[Array, "batch quantiles"]:
    """y of each row."""
    laws = jax.vmap(target)(batch.bootstrap_observation)
    best = jnp.argmax(laws.mean(axis=2), axis=1)
    law = jnp.take_along_axis(laws, best[:, None, None], axis=1)[:, 0]
    return batch.reward[:, None] + batch.discount[:, None] * law


def loss(
    network: QuantileNetwork, config: Config, batch: Batch, y: Float[Array, "batch quantiles"]
) -> tuple[Array, tuple[Array, Array]]:
    """The loss, and beside it each row's loss and mean return."""
    theta = jnp.take_along_axis(jax.vmap(network)(batch.observation), batch.action[:, None, None], axis=1)[:, 0]
    each = quantile_huber_loss(theta, y, config.kappa)
    return jnp.mean(batch.weight * each), (each, theta.mean(axis=1))


def update(config: Config, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Learned]:
    y = targets(state.target, batch)
    (value, (each, q)), gradient = jax.value_and_grad(loss, has_aux=True)(state.network, config, batch, y)
    change, optimiser_state = optimiser(config).update(gradient, state.optimiser)
    network = optax.apply_updates(state.network, change)
    updates = state.updates + 1
    target = copied_every(config.target_every, updates, network, state.target)
    return State(network, target, optimiser_state, updates), Learned(each, {"loss": value, "q": q.mean()})


ALGORITHM = Algorithm("qr_dqn", "QR-DQN", Config, experience, init, act, greedy, update, action_values, return_law)
train = ALGORITHM.train
