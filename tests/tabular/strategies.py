"""Small MDPs of every awkward kind, for hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from rlbook.mdp import FiniteMDP

DISCOUNTS = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]


@st.composite
def small_mdps(draw: st.DrawFn, discounts: list[float] | None = None, *, ending: bool = False) -> FiniteMDP:
    """A Garnet of 1 to 5 states and 1 to 4 actions, some not available everywhere.

    Structure: free, one cycle, absorbing states, or two halves that never meet. Probabilities include zeros, certainty
    and tiny ones; rewards spread over up to twelve orders of magnitude; actions may be copies, or tied but for
    rounding; transitions may terminate, and with `ending` most of them do.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    states, actions = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    branching = draw(st.integers(1, states))
    transition = np.zeros((states, actions, states))
    for s in range(states):
        for a in range(actions):
            weight = rng.exponential(size=branching) * 10.0 ** rng.integers(
                -draw(st.sampled_from([0, 9])), 1, branching
            )
            transition[s, a, rng.choice(states, branching, replace=False)] = weight
    structure = draw(st.sampled_from(["free", "cycle", "absorbing", "halves"]))
    if structure == "cycle":
        transition[:] = np.eye(states)[(np.arange(states) + 1) % states][:, None, :]
    elif structure == "absorbing":
        for s in rng.choice(states, draw(st.integers(1, states)), replace=False):
            transition[s] = np.eye(states)[s]
    elif structure == "halves":
        side = np.arange(states) < (states + 1) // 2
        transition *= (side[:, None] == side[None, :])[:, None, :]
        empty = transition.sum(axis=2) == 0
        transition[empty] = np.eye(states)[np.nonzero(empty)[0]]
    spread = draw(st.sampled_from([0, 3, 6]))
    reward = rng.normal(size=(states, actions)) * 10.0 ** rng.integers(-spread, spread + 1, (states, actions))
    if actions > 1 and draw(st.booleans()):
        transition[:, 1], reward[:, 1] = transition[:, 0], reward[:, 0] * draw(st.sampled_from([1.0, 1 + 2.0**-52]))
    if actions > 1 and draw(st.booleans()):
        missing = rng.random((states, actions)) < 0.3
        missing[:, 0] = False
        reward[missing] = -np.inf
    ended = rng.random(transition.shape) < draw(st.sampled_from([0.5, 0.8, 1.0] if ending else [0.0, 0.3]))
    discount = draw(st.sampled_from(discounts or DISCOUNTS))
    return FiniteMDP.from_dense(transition, reward, discount, terminated=ended, normalise=True)
