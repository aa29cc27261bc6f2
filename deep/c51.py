"""C51: learn the law of the return on fixed atoms (Bellemare, Dabney & Munos 2017).

    loss = -mean_i sum_k m_ik log p_k(s_i, a_i; theta),    m_i = projection of the law of R + discount Z(s', a'; theta-)

Z(s, a) puts mass p_k, a softmax over k, on the atom z_k; the atoms lie evenly between `lowest` and `highest`. What
falls between two of them is shared by both, and what falls beyond the ends goes to the nearest end (eq. 7). a' is
the action of the greatest mean under theta-, a copy of theta that is renewed now and then. So the gradient is that of
the Kullback-Leibler divergence from the target to the prediction.

Returns beyond the ends cannot be told from the ends: give the atoms the range that returns can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from rlbook.deep.algorithm import Algorithm, ReturnLaw, Spaces
from rlbook.deep.config import Config as BaseConfig
from rlbook.deep.exploration import epsilon_greedy, falling
from rlbook.deep.networks import Torso, copied_every
from rlbook.deep.replay import Batch, Learned, Replay
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Config(BaseConfig):
    """Defaults are CleanRL's for classic control (`c51_jax.py`)."""

    learning_rate: float = Field(2.5e-4, gt=0, le=1, description="step size of Adam")
    discount: float = Field(0.99, ge=0, le=1, description="of rewards, per step")
    exploration_start: float = Field(1.0, ge=0, le=1, description="chance of a random action at first")
    exploration_end: float = Field(0.05, ge=0, le=1, description="chance of a random action later")
    exploration_fraction: float = Field(0.5, gt=0, le=1, description="share of training in which it falls")
    lowest: float = Field(-100.0, description="first atom, in units of return")
    highest: float = Field(100.0, description="last atom, in units of return")
    atoms: int = Field(101, ge=2, le=10_000, description="places that a law has its mass on")
    train_every: int = Field(10, ge=1, le=10_000, description="steps between two updates")
    batch_size: int = Field(128, ge=1, le=65_536, description="rows of an update")
    buffer_size: int = Field(10_000, ge=1, le=10_000_000, description="rows that are kept")
    learning_starts: int = Field(10_000, ge=1, le=10_000_000, description="rows before the first update")
    target_every: int = Field(50, ge=1, description="updates between two copies to the target network")
    first_width: int = Field(120, ge=1, le=4096, description="units of the first layer")
    second_width: int = Field(84, ge=1, le=4096, description="units of the second layer")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lowest >= self.highest:
            raise ParameterError(f"lowest is {self.lowest} and highest {self.highest}; the first must be less")
        return self


class LawNetwork(eqx.Module):
    """Logits of the atoms of each action, (n, atoms)."""

    torso: Torso
    head: eqx.nn.Linear
    atoms: int = eqx.field(static=True)

    def __init__(self, config: Config, spaces: Spaces, key: PRNGKeyArray) -> None:
        torso, head = jax.random.split(key)
        widths = (config.first_width, config.second_width)
        self.torso = Torso(spaces.observation_shape, widths, torso)
        self.head = eqx.nn.Linear(widths[-1], spaces.choices * config.atoms, key=head)
        self.atoms = config.atoms

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "n atoms"]:
        return self.head(self.torso(observation)).reshape(-1, self.atoms)


class State(NamedTuple):
    network: LawNetwork
    target: LawNetwork
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
    network = LawNetwork(config, spaces, key)
    target = jax.tree.map(jnp.copy, network)
    return State(network, target, optimiser(config).init(network), jnp.int32(0))


def optimiser(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate, eps=0.01 / config.batch_size)


def support(config: Config) -> Float[Array, "atoms"]:
    """Where the atoms lie."""
    return jnp.linspace(config.lowest, config.highest, config.atoms)


def act(config: Config, state: State, observation: Array, key: PRNGKeyArray, progress: Array) -> Array:
    """With chance epsilon, which falls along a line, any action; else one of the greatest mean return."""
    epsilon = falling(config.exploration_start, config.exploration_end, config.exploration_fraction, progress)
    return epsilon_greedy(action_values(config, state, observation), epsilon, key)


def greedy(config: Config, state: State, observation: Array) -> Array:
    return jnp.argmax(action_values(config, state, observation)).astype(jnp.int32)


def action_values(config: Config, state: State, observation: Array) -> Array:
    return jax.nn.softmax(state.network(observation)) @ support(config)


def return_law(config: Config, state: State, observation: Array) -> ReturnLaw:
    mass = jax.nn.softmax(state.network(observation))
    return ReturnLaw(jnp.broadcast_to(support(config), mass.shape), mass)


def projection(
    places: Float[Array, "batch k"], mass: Float[Array, "batch k"], atoms: Float[Array, "atoms"]
) -> Float[Array, "batch atoms"]:
    """Laws on any places as laws on evenly spaced atoms, nearest in Cramer distance (Rowland et al. 2018, prop. 1)."""
    step = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    above = jnp.clip((places - atoms[0]) / step, 0, len(atoms) - 1)
    below = jnp.minimum(jnp.floor(above), len(atoms) - 2).astype(jnp.int32)
    share = above - below
    row = jnp.arange(len(places))[:, None]
    empty = jnp.zeros((len(places), len(atoms)), mass.dtype)
    return empty.at[row, below].add(mass * (1 - share)).at[row, below + 1].add(mass * share)


def targets(config: Config, target: LawNetwork, batch: Batch) -> Float[Array, "batch atoms"]:
    """m of each row."""
    mass, atoms = jax.nn.softmax(jax.vmap(target)(batch.bootstrap_observation)), support(config)
    best = jnp.argmax(mass @ atoms, axis=1)
    law = jnp.take_along_axis(mass, best[:, None, None], axis=1)[:, 0]
    return projection(batch.reward[:, None] + batch.discount[:, None] * atoms, law, atoms)


def loss(network: LawNetwork, batch: Batch, m: Float[Array, "batch atoms"]) -> tuple[Array, tuple[Array, Array]]:
    """The loss, and beside it each row's cross-entropy and predicted masses."""
    logits = jnp.take_along_axis(jax.vmap(network)(batch.observation), batch.action[:, None, None], axis=1)[:, 0]
    log_mass = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(m * log_mass, axis=1)
    return jnp.mean(batch.weight * entropy), (entropy, jnp.exp(log_mass))


def update(config: Config, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Learned]:
    m = targets(config, state.target, batch)
    (value, (entropy, mass)), gradient = jax.value_and_grad(loss, has_aux=True)(state.network, batch, m)
    change, optimiser_state = optimiser(config).update(gradient, state.optimiser)
    network = optax.apply_updates(state.network, change)
    updates = state.updates + 1
    target = copied_every(config.target_every, updates, network, state.target)
    q = jnp.mean(mass @ support(config))
    return State(network, target, optimiser_state, updates), Learned(entropy, {"loss": value, "q": q})


ALGORITHM = Algorithm("c51", "C51", Config, experience, init, act, greedy, update, action_values, return_law)
train = ALGORITHM.train
