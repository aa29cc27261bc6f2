"""Stream Q(lambda): each step is learned from at once and never seen again (Elsayed, Vasan & Mahmood 2024).

    z <- discount lambda z + grad q(s, a; theta)                    (from 0 where a is not greedy, as Watkins cuts it)
    delta = r / sigma + discount max_b q(s', b; theta) - q(s, a; theta),       discount 0 where the world ended
    M = alpha kappa max(|delta|, 1) |z|_1,    theta <- theta + alpha / max(M, 1) delta z                 (their ObGD)

and z <- 0 where the episode ended. Three more things keep a stream of single steps stable: layer normalisation without
learned scales, first weights of which nine in ten are 0, and running normalisation. Observations are brought to mean 0
and deviation 1 over those seen so far; sigma is the running deviation of u <- discount u + r, the discounted sum of
rewards. So q is in units of sigma; `action_values` gives it back in units of return.

Where this differs from the authors' code (as others quote it; the paper's text was not at hand): they cut z after the
step that explored, not before it, and u is set to r there where an episode ends, and goes on from it in the next
episode, but to 0 here after the step. An action is taken before its observation counts in the normalisation. What never
varies is left as it is, and not divided by almost 0. `rlbook.tabular.approximation.StreamQ` is the linear part, with
the proof that no step overshoots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from pydantic import Field

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.config import Config as BaseConfig
from rlbook.deep.episodes import Row
from rlbook.deep.experience import Stream
from rlbook.deep.exploration import epsilon_greedy, falling
from rlbook.deep.networks import Torso, sparsely
from rlbook.deep.running import Running, deviation, seen, unseen

if TYPE_CHECKING:
    from jaxtyping import Array, Float, PRNGKeyArray

_SPARSITY = 0.9


class Config(BaseConfig):
    """Defaults are the authors' for classic control."""

    learning_rate: float = Field(1.0, gt=0, le=10, description="alpha: step size before it is bounded")
    discount: float = Field(0.99, ge=0, le=1, description="of rewards, per step")
    trace_decay: float = Field(0.8, ge=0, le=1, description="lambda: how long steps stay eligible")
    kappa: float = Field(2.0, gt=0, le=100, description="how much the step size is bounded")
    exploration_start: float = Field(1.0, ge=0, le=1, description="chance of a random action at first")
    exploration_end: float = Field(0.01, ge=0, le=1, description="chance of a random action later")
    exploration_fraction: float = Field(0.05, gt=0, le=1, description="share of training in which it falls")
    bounded: bool = Field(True, description="bound the step size")
    sparse: bool = Field(True, description="begin with nine in ten weights at 0")
    normalised: bool = Field(True, description="normalise observations and rewards")
    first_width: int = Field(32, ge=1, le=4096, description="units of the first layer")
    second_width: int = Field(32, ge=1, le=4096, description="units of the second layer")


class QNetwork(eqx.Module):
    """Action values of a normalised observation, in units of sigma, (n,)."""

    torso: Torso
    head: eqx.nn.Linear

    def __init__(self, config: Config, spaces: Spaces, key: PRNGKeyArray) -> None:
        torso, head = jax.random.split(key)
        widths = (config.first_width, config.second_width)
        self.torso = Torso(spaces.observation_shape, widths, torso, norm="plain", leak=0.01)
        self.head = eqx.nn.Linear(widths[-1], spaces.choices, key=head)

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "n"]:
        return self.head(self.torso(observation))


class State(NamedTuple):
    network: QNetwork
    trace: QNetwork
    observations: Running
    sums: Running
    discounted: Float[Array, ""]


def experience(config: Config) -> Stream:
    return Stream()


def init(config: Config, spaces: Spaces, key: PRNGKeyArray) -> State:
    drawing, thinning = jax.random.split(key)
    network = QNetwork(config, spaces, drawing)
    if config.sparse:
        network = sparsely(network, _SPARSITY, thinning)
    trace = jax.tree.map(jnp.zeros_like, network)
    return State(network, trace, unseen(spaces.observation_shape), unseen(), jnp.zeros(()))


def act(config: Config, state: State, observation: Array, key: PRNGKeyArray, progress: Array) -> Array:
    """With chance epsilon, which falls along a line, any action; else a greedy one."""
    epsilon = falling(config.exploration_start, config.exploration_end, config.exploration_fraction, progress)
    return epsilon_greedy(action_values(config, state, observation), epsilon, key)


def greedy(config: Config, state: State, observation: Array) -> Array:
    return jnp.argmax(action_values(config, state, observation)).astype(jnp.int32)


def action_values(config: Config, state: State, observation: Array) -> Array:
    return sigma(config, state.sums) * state.network(normalised(config, state.observations, observation))


def normalised(config: Config, observations: Running, observation: Array) -> Array:
    if not config.normalised:
        return observation
    return (observation - observations.mean) / deviation(observations)


def sigma(config: Config, sums: Running) -> Float[Array, ""]:
    return deviation(sums) if config.normalised else jnp.ones(())


def traced(
    config: Config, network: QNetwork, trace: QNetwork, observation: Array, action: Array
) -> tuple[QNetwork, Float[Array, ""]]:
    """z after the pair (observation, action), and the pair's value."""

    def value(network: QNetwork) -> tuple[Array, Array]:
        q = network(observation)
        return q[action], jnp.argmax(q) == action

    (q, is_greedy), gradient = jax.value_and_grad(value, has_aux=True)(network)
    fading = config.discount * config.trace_decay * is_greedy
    return jax.tree.map(lambda z, slope: fading * z + slope, trace, gradient), q


def step_size(config: Config, trace: QNetwork, delta: Float[Array, ""]) -> Float[Array, ""]:
    """alpha / max(M, 1)."""
    if not config.bounded:
        return jnp.asarray(config.learning_rate)
    reach = sum(jnp.sum(jnp.abs(z)) for z in jax.tree.leaves(trace))
    bound = config.learning_rate * config.kappa * jnp.maximum(jnp.abs(delta), 1.0) * reach
    return config.learning_rate / jnp.maximum(bound, 1.0)


def update(config: Config, state: State, row: Row, key: PRNGKeyArray) -> tuple[State, dict[str, Array]]:
    observations = seen(state.observations, row.observation)
    discounted = config.discount * state.discounted + row.reward
    sums = seen(state.sums, discounted)
    unit = sigma(config, sums)
    observation, following = (normalised(config, observations, o) for o in (row.observation, row.next_observation))

    trace, q = traced(config, state.network, state.trace, observation, row.action)
    value = jnp.where(row.terminated, 0.0, state.network(following).max())
    delta = row.reward / unit + config.discount * value - q
    moved = step_size(config, trace, delta) * delta
    network = jax.tree.map(lambda weight, z: weight + moved * z, state.network, trace)

    goes_on = ~(row.terminated | row.truncated)
    trace = jax.tree.map(lambda z: z * goes_on, trace)
    return State(network, trace, observations, sums, discounted * goes_on), {"loss": delta**2, "q": unit * q}


ALGORITHM = Algorithm("stream_q", "Stream Q(lambda)", Config, experience, init, act, greedy, update, action_values)
train = ALGORITHM.train
