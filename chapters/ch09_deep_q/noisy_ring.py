"""A ring of states in which nothing is to be gained: all that an agent values there is the noise of its rewards."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rlbook.mdp_rows import from_transitions

if TYPE_CHECKING:
    from rlbook.deep import FiniteMDPEnvironment
    from rlbook.mdp import FiniteMDP

_STATES = 3
_TIME_LIMIT = 100  # steps of an episode
_FEATURES = 8


@lru_cache(maxsize=16)
def noisy_ring(actions: int) -> FiniteMDP:
    """Each action moves to the next state and pays 1 or -1, by a fair coin; so v* is 0 everywhere.

    Nothing ends, so that each maximum adds to the one before it, for ever. The discount is 0.9 until an agent says its
    own.
    """
    outcomes = [
        {a: [(0.5, (state + 1) % _STATES, paid, False) for paid in (1.0, -1.0)] for a in range(actions)}
        for state in range(_STATES)
    ]
    return from_transitions(outcomes, 0.9, name="noisy-ring", start=np.full(_STATES, 1 / _STATES))


def seen_ring(actions: int, noise: float, one_hot: bool) -> FiniteMDPEnvironment:
    """The ring for deep agents, whose rewards are `noise` and its negative; states one-hot or as fixed random vectors.

    noise: at least 0. Its model has rewards of 1 and -1 whatever the noise: the exact values are the same, and the
    compiled program too.
    """
    import equinox as eqx

    from rlbook.deep import FiniteMDPEnvironment

    plain = FiniteMDPEnvironment(noisy_ring(actions), _TIME_LIMIT, features=None if one_hot else _FEATURES)
    return eqx.tree_at(lambda world: world.reward, plain, plain.reward * np.float32(noise))
