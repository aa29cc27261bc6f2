"""A walk whose states are points of a line, and whose rewards are noisy: something for a network to smooth."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rlbook.environments.chains import slow_chain
from rlbook.mdp_building import from_rows
from rlbook.tabular import action_values, policy_iteration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

STATES = 30
_CRESTS = 1
_TOLERANCE = 1e-11  # of q*, in units of return


@lru_cache(maxsize=16)
def noisy_walk(noise: float, discount: float) -> tuple[FiniteMDP, NDArray[np.float64]]:
    """The slow chain with one crest, with rewards `noise` more or less by a fair coin; and its q*, (pairs,).

    The coin is part of the model, as two transitions to the same state. Pushing hardly pays here, if at all, so that
    values are what is hard to learn, and not the policy.
    """
    calm = slow_chain(states=STATES, waves=_CRESTS, discount=discount)
    lengths = np.diff(calm.row_ptr)
    reward = np.repeat(calm.expected_reward, lengths)
    mdp = from_rows(
        state_ptr=calm.state_ptr,
        action=calm.action,
        row_ptr=2 * calm.row_ptr,
        next_state=np.repeat(calm.next_state, 2),
        probability=np.repeat(calm.probability / 2, 2),
        reward=np.stack([reward - noise, reward + noise], axis=1).ravel(),
        discount=discount,
        name="noisy walk",
        action_names=calm.action_names,
    )
    best = action_values(mdp, policy_iteration(mdp, _TOLERANCE).values)
    best.setflags(write=False)
    return mdp, best


def places() -> NDArray[np.float64]:
    """Where each state lies, from -1 to 1, (states, 1): all that a network sees."""
    return np.linspace(-1.0, 1.0, STATES)[:, None]
