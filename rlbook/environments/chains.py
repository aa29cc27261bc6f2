"""States in a row."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, Probability, environment
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import from_rows, from_transitions

Length = Annotated[int, Field(ge=3, le=1_000_000, description="number of states")]

LEFT_RIGHT = ((0, -1), (0, 1))


@environment("random-walk", "Sutton & Barto's random walk: left or right by chance; the right end pays +1")
def random_walk(
    *,
    states: Annotated[int, Field(ge=1, le=1_000_000, description="number of states between the two ends")] = 5,
    discount: Discount = 1.0,
) -> FiniteMDP:
    """Sutton & Barto (2018), Example 6.2: start in the middle, one action, true values 1/6 to 5/6 for five states.

    The two ends are not states: stepping out ends the episode.
    """
    last = states - 1
    outcomes = [
        {
            0: [
                (0.5, max(state - 1, 0), 0.0, state == 0),
                (0.5, min(state + 1, last), float(state == last), state == last),
            ]
        }
        for state in range(states)
    ]
    return from_transitions(
        outcomes,
        discount,
        name="random-walk",
        start=np.eye(1, states, states // 2)[0],
        state_names=[chr(ord("A") + state) for state in range(states)] if states <= 26 else None,
        action_names=("step",),
        layout=_row(states, ((0, 0),)),
    )


@environment("chain", "The five-state chain: a long way forward to +10, or +2 at once for going back")
def chain(
    *,
    states: Length = 5,
    slip: Annotated[Probability, Field(description="probability that the other action happens")] = 0.2,
    discount: Discount = 0.99,
) -> FiniteMDP:
    """Dearden, Friedman & Russell, *Bayesian Q-Learning* (1998); Strens, *A Bayesian Framework for RL* (2000).

    Forward moves on and pays 0, in the last state it stays and pays 10; back returns to the first state and pays 2.
    Always going forward earns 3.677 a step in the long run, which is Strens's 3677 in 1000 steps.
    """
    last = states - 1
    outcomes = []
    for state in range(states):
        forward = (min(state + 1, last), 10.0 if state == last else 0.0, False)
        back = (0, 2.0, False)
        outcomes.append({0: [(1 - slip, *forward), (slip, *back)], 1: [(1 - slip, *back), (slip, *forward)]})
    return from_transitions(
        outcomes,
        discount,
        name="chain",
        start=np.eye(1, states)[0],
        action_names=("forward", "back"),
        layout=_row(states, ((0, 1), (0, -1))),
    )


@environment("riverswim", "RiverSwim: swim against the current to 10000, or take 5 by drifting to the left bank")
def riverswim(*, states: Length = 6, discount: Discount = 0.95) -> FiniteMDP:
    """Strehl & Littman, *An analysis of model-based interval estimation for MDPs* (2008), the RiverSwim figure.

    Left always succeeds and pays 5 in the first state. Right moves on with probability 0.3, stays with 0.6 and drifts
    back with 0.1; in the first state it moves on with 0.3, in the last it stays with 0.3 and then pays 10000. Episodes
    begin in the second or third state. (Later papers use other numbers under the same name: 0.35, 0.6 and 0.05.)
    """
    last = states - 1
    outcomes = []
    for state in range(states):
        left = [(1.0, max(state - 1, 0), 5.0 if state == 0 else 0.0, False)]
        if state == 0:
            right = [(0.7, 0, 0.0, False), (0.3, 1, 0.0, False)]
        elif state == last:
            right = [(0.7, last - 1, 0.0, False), (0.3, last, 10_000.0, False)]
        else:
            right = [(0.1, state - 1, 0.0, False), (0.6, state, 0.0, False), (0.3, state + 1, 0.0, False)]
        outcomes.append({0: left, 1: right})
    start = np.zeros(states)
    start[1:3] = 0.5
    return from_transitions(
        outcomes,
        discount,
        name="riverswim",
        start=start,
        action_names=("left", "right"),
        layout=_row(states, LEFT_RIGHT),
    )


@environment("slow-chain", "A long walk that mixes slowly: push up or down, at a cost, towards the crests of waves")
def slow_chain(
    *,
    states: Length = 200,
    waves: Annotated[int, Field(ge=1, le=1_000_000, description="crests of the landscape that pays")] = 4,
    pace: Annotated[float, Field(gt=0, le=0.5, description="probability of a step up, and of one down")] = 0.25,
    push: Annotated[
        float, Field(ge=0, le=0.5, description="how much pushing adds to one and takes from the other")
    ] = 0.1,
    effort: Annotated[float, Field(ge=0, description="cost of pushing for a step")] = 0.2,
    discount: Discount = 0.999,
) -> FiniteMDP:
    """A controlled random walk, after Serfozo, *Optimal control of random walks* (1981).

    A step leads up or down by one, or nowhere; at the ends it stays instead. Action 0 pushes down, 1 rests, 2 pushes
    up. State s pays 1 - cos(2 pi waves s / (states - 1)). Left to itself the walk forgets its start at the rate
    1 - 2 pace (1 - cos(pi / states)) per step (Levin, Peres & Wilmer, *Markov Chains and Mixing Times*, 2009, section
    12.3), about states**2 / (10 pace) steps, and news travels by one state per backup: what Krylov methods, direct
    solves or coarser grids are for.
    """
    if push > pace or pace + push > 1.0:
        raise ParameterError(f"parameter 'push' is {push}, more than pace={pace}; make it smaller")
    at = np.arange(states)
    up = np.array([pace - push, pace, pace + push])
    mass = np.zeros((states, 3, 3))
    mass[:, :, 0], mass[:, :, 2] = up[::-1], up
    mass[0, :, 0], mass[-1, :, 2] = 0.0, 0.0
    mass[:, :, 1] = 1.0 - mass[:, :, 0] - mass[:, :, 2]
    crests = 1.0 - np.cos(2 * np.pi * waves * at / (states - 1))
    return from_rows(
        state_ptr=np.arange(states + 1) * 3,
        action=np.tile(np.arange(3), states),
        row_ptr=np.arange(states * 3 + 1) * 3,
        next_state=(np.repeat(at, 9).reshape(-1, 3) + np.array([-1, 0, 1])).clip(0, states - 1).ravel(),
        probability=mass.ravel(),
        reward=np.repeat(crests, 3) - np.tile([effort, 0.0, effort], states),
        discount=discount,
        name="slow-chain",
        action_names=("push down", "rest", "push up"),
        layout=_row(states, ((0, -1), (0, 0), (0, 1))),
    )


def _row(states: int, arrows: tuple[tuple[int, int], ...]) -> GridLayout:
    return GridLayout(1, states, cell=tuple(range(states)), action_arrows=arrows)
