"""Short corridors in which two sources pay, bound to one another in different ways."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rlbook.tabular.distributional.vector_rewards import Outcome, VectorRewardMDP

JointWorld = Literal["correlated", "anti-correlated", "exclusive", "shared ending", "independent"]
SOURCES = ("apples", "pears")

_PURPOSE = 86
_EARLY_END = 0.35  # the chance of each step to be the last, in "shared ending"


def joint_world(world: JointWorld, length: int, discount: float, seed: int) -> VectorRewardMDP:
    """A corridor of `length` steps with one action; chances in [0.3, 0.7] and fruit in [0.5, 1.5] come from the seed.

    "correlated": each step pays both sources or none. "anti-correlated": one or the other. "exclusive": the first step
    leads to a corridor with apples only or to one with pears only, where each step pays or does not. "shared ending":
    the sources pay independently, but any step may be the last for both. "independent": they pay independently.
    """
    random = np.random.default_rng([seed, _PURPOSE])
    chance = random.uniform(0.3, 0.7, size=(length, 2))
    apples, pears = random.uniform(0.5, 1.5, size=(2, length))
    after = [*range(1, length), None]
    outcomes: list[list[Outcome]] = []
    if world == "exclusive":
        return _exclusive(chance, apples, pears, discount)
    for t in range(length):
        p, q = chance[t]
        both = (apples[t], pears[t])
        if world == "correlated":
            outcomes.append([(p, after[t], both), (1 - p, after[t], (0.0, 0.0))])
        elif world == "anti-correlated":
            outcomes.append([(p, after[t], (apples[t], 0.0)), (1 - p, after[t], (0.0, pears[t]))])
        else:
            ends = _EARLY_END if world == "shared ending" and after[t] is not None else 0.0
            outcomes.append(
                [
                    (share * a * b, following, (apples[t] * x, pears[t] * y))
                    for share, following in ((1 - ends, after[t]), (ends, None))
                    for a, x in ((p, 1.0), (1 - p, 0.0))
                    for b, y in ((q, 1.0), (1 - q, 0.0))
                ]
            )
    return VectorRewardMDP.from_transitions([{0: row} for row in outcomes], discount, SOURCES, name=world)


def _exclusive(chance: np.ndarray, apples: np.ndarray, pears: np.ndarray, discount: float) -> VectorRewardMDP:
    """State 0 forks to two corridors, states 1 to L and L + 1 to 2 L; nothing is paid at the fork."""
    length = len(chance)
    fork: list[Outcome] = [(chance[0, 0], 1, (0.0, 0.0)), (1 - chance[0, 0], length + 1, (0.0, 0.0))]
    rows = [fork]
    for first, fruit in ((1, np.outer(apples, [1.0, 0.0])), (length + 1, np.outer(pears, [0.0, 1.0]))):
        for t in range(length):
            following = first + t + 1 if t < length - 1 else None
            p = chance[t, 1]
            rows.append([(p, following, tuple(fruit[t])), (1 - p, following, (0.0, 0.0))])
    return VectorRewardMDP.from_transitions([{0: row} for row in rows], discount, SOURCES, name="exclusive")
