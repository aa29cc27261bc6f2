"""Worlds without choice whose rewards carry noise that no finite MDP can hold: a walk is drawn, then noise is added."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.keyed_random import keyed_normals, keyed_uniforms
from rlbook.mdp import FiniteMDP
from rlbook.tabular.learning.experience import Transitions, draw_trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

Noise = Literal["student", "normal"]
TailWorld = Literal["garnet", "ring"]

_STATES, _SUCCESSORS = 8, 3
_NOISE = 86  # the purpose of its random numbers


@lru_cache(maxsize=4)
def tail_world(world: TailWorld, discount: float = 0.9) -> FiniteMDP:
    """Eight states with one action each, whose mean rewards were drawn once from a standard normal law.

    "garnet": three successors each, with chances drawn once. "ring": each state leads to the next.
    """
    random = np.random.default_rng(20_230_805)
    reward = random.normal(size=(_STATES, 1))
    moves = np.zeros((_STATES, 1, _STATES))
    for s in range(_STATES):
        if world == "ring":
            moves[s, 0, (s + 1) % _STATES] = 1.0
        else:
            following = random.choice(_STATES, _SUCCESSORS, replace=False)
            moves[s, 0, following] = random.dirichlet(np.ones(_SUCCESSORS))
    return FiniteMDP.from_dense(moves, reward, discount, name=f"{world} of {_STATES}")


def noisy_walk(mdp: FiniteMDP, noise: Noise, tail: float, steps: int, seed: int) -> Transitions:
    """What a walk meets, with independent noise of scale 1 added to each reward; symmetric, so values stay the same."""
    walk = draw_trajectory(mdp, None, steps, seed)
    drawn = student(tail, steps, seed) if noise == "student" else keyed_normals(seed, steps, purpose=_NOISE)
    return Transitions(walk.pair, walk.reward + drawn, walk.next_state)


def student(tail: float, n: int, seed: int) -> NDArray[np.float64]:
    """n draws of Student's t with `tail` degrees of freedom, (n,), functions of (seed, place): Bailey (1994).

    sqrt(tail (U^(-2 / tail) - 1)) cos(2 pi V), U and V uniform. P(|X| > x) falls as x^-tail.
    """
    u = 1.0 - keyed_uniforms(seed, n, purpose=_NOISE)
    v = keyed_uniforms(seed, n, purpose=_NOISE, step=1)
    return np.sqrt(tail * np.expm1(-2.0 / tail * np.log(u))) * np.cos(2 * np.pi * v)
