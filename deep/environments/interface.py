"""What an environment is: a reset and a step as pure functions, a name, spaces, and a time limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, PRNGKeyArray


@dataclass(frozen=True)
class Discrete:
    """Actions 0 to n - 1."""

    n: int


@dataclass(frozen=True)
class Continuous:
    """Actions that are vectors between two corners, (d,) each."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class Step(NamedTuple):
    state: Any
    observation: Float[Array, "..."]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]


class Environment(eqx.Module):
    name: eqx.AbstractVar[str]
    observation_shape: eqx.AbstractVar[tuple[int, ...]]
    action_space: eqx.AbstractVar[Discrete | Continuous]
    time_limit: eqx.AbstractVar[int]


def episode_key(seed: Any) -> PRNGKeyArray:
    return jax.random.key(seed)


def step_key(key: PRNGKeyArray, n: Any) -> PRNGKeyArray:
    return jax.random.fold_in(key, n)
