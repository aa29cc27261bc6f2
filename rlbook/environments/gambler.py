"""The gambler's problem."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, Probability, environment
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions


@environment("gambler", "Sutton & Barto's gambler: stake on coin flips until broke or at the goal (+1)")
def gambler(
    *,
    p_heads: Annotated[Probability, Field(description="probability that a flip wins the stake")] = 0.4,
    goal: Annotated[int, Field(ge=2, le=2000, description="capital at which the gambler stops")] = 100,
    discount: Discount = 1.0,
) -> FiniteMDP:
    """Sutton & Barto (2018), Example 4.3: the value of a state is the probability of reaching the goal.

    States are the capital, 0 to goal. Actions are stakes, 1 to min(capital, goal - capital); a stake of 0, which would
    let a game last forever, exists only in the two terminal states.
    """
    outcomes: list[dict[int, list[tuple[float, int, float, bool]]]] = []
    for capital in range(goal + 1):
        if capital in (0, goal):
            outcomes.append({0: [(1.0, capital, 0.0, True)]})
            continue
        choices = {}
        for stake in range(1, min(capital, goal - capital) + 1):
            won, lost = capital + stake, capital - stake
            choices[stake] = [
                (p_heads, won, float(won == goal), won == goal),
                (1.0 - p_heads, lost, 0.0, lost == 0),
            ]
        outcomes.append(choices)
    running = np.zeros(goal + 1)
    running[1:goal] = 1.0 / (goal - 1)
    return from_transitions(outcomes, discount, name="gambler", start=running)
