"""Garnets: random MDPs of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, Seed, environment
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


@environment("garnet", "Garnet(states, actions, branching, seed): a random MDP with a given number of next states")
def garnet(
    *,
    states: Annotated[int, Field(ge=1, le=10_000_000, description="number of states")] = 100,
    actions: Annotated[int, Field(ge=1, le=10_000, description="number of actions in each state")] = 4,
    branching: Annotated[int, Field(ge=1, le=10_000, description="number of next states of each pair")] = 5,
    seed: Seed = 0,
    discount: Discount = 0.99,
) -> FiniteMDP:
    """Archibald, McKinnon & Thomas (1995); in this form Bhatnagar, Sutton, Ghavamzadeh & Lee (2009), section 6.

    Each pair has `branching` distinct next states, all sets equally likely; their probabilities are the pieces of the
    unit interval cut at branching - 1 uniform points. Rewards are standard normal, one per pair (Bhatnagar et al. draw
    one per transition; per pair is the custom since). Equal parameters give equal MDPs; the start is uniform.
    """
    if branching > states:
        raise ParameterError(
            f"parameter 'branching' is {branching}, but there are only {states} states; make it smaller"
        )
    pairs = states * actions
    chosen, cuts, reward = (
        np.random.Generator(np.random.Philox(part)) for part in np.random.SeedSequence(seed).spawn(3)
    )
    return from_rows(
        state_ptr=np.arange(states + 1) * actions,
        action=np.tile(np.arange(actions), states),
        row_ptr=np.arange(pairs + 1) * branching,
        next_state=_distinct(chosen, pairs, branching, states).ravel(),
        probability=_pieces(cuts, pairs, branching).ravel(),
        reward=reward.standard_normal(pairs),
        discount=discount,
        name=f"garnet({states}, {actions}, {branching}, seed={seed})",
    )


def _distinct(random: np.random.Generator, rows: int, count: int, below: int) -> NDArray[np.int64]:
    """`count` distinct integers below `below` in each row, increasing; every set is equally likely.

    R. Floyd's algorithm (Bentley & Floyd, *A Sample of Brilliance*, 1987), on all rows at once.
    """
    picked = np.empty((rows, count), dtype=np.int64)
    for place, largest in enumerate(range(below - count, below)):
        drawn = random.integers(0, largest + 1, size=rows)
        taken = np.zeros(rows, dtype=bool)
        for earlier in range(place):
            taken |= picked[:, earlier] == drawn
        picked[:, place] = np.where(taken, largest, drawn)
    picked.sort(axis=1)
    return picked


def _pieces(random: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
    """Lengths of the pieces of [0, 1] cut at count - 1 uniform points, (rows, count)."""
    cut = np.sort(random.random((rows, count - 1)), axis=1)
    return np.diff(cut, axis=1, prepend=0.0, append=1.0)
