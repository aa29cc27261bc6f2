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

_FEW = 24  # numbers up to which looking through a row is quicker than a table of what it holds
_TABLE = 20_000_000  # entries of such a table


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
    if count == below:
        return np.tile(np.arange(below), (rows, 1))
    picked = np.empty((rows, count), dtype=np.int64)
    for place, largest in enumerate(range(below - count, below)):
        picked[:, place] = random.integers(0, largest + 1, size=rows)
    by_table = count > _FEW and below <= count**2
    (_replace_taken_by_table if by_table else _replace_taken)(picked, below)
    picked.sort(axis=1)
    return picked


def _replace_taken(picked: NDArray[np.int64], below: int) -> None:
    """In each row, from the left, replace a number that stands further left by the largest that its place could draw.

    The numbers further left are looked through, which takes time in the square of the row's length.
    """
    rows, count = picked.shape
    for place, largest in enumerate(range(below - count, below)):
        taken = np.zeros(rows, dtype=bool)
        for earlier in range(place):
            taken |= picked[:, earlier] == picked[:, place]
        picked[taken, place] = largest


def _replace_taken_by_table(picked: NDArray[np.int64], below: int) -> None:
    """The same, by a table of what each row holds: linear in the row's length, for some rows at a time."""
    count = picked.shape[1]
    block = max(1, _TABLE // below)
    for first in range(0, len(picked), block):
        part = picked[first : first + block]
        row = np.arange(len(part))
        held = np.zeros((len(part), below), dtype=bool)
        for place, largest in enumerate(range(below - count, below)):
            drawn = part[:, place]
            part[:, place] = np.where(held[row, drawn], largest, drawn)
            held[row, part[:, place]] = True


def _pieces(random: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
    """Lengths of the pieces of [0, 1] cut at count - 1 uniform points, (rows, count)."""
    cut = np.sort(random.random((rows, count - 1)), axis=1)
    return np.diff(cut, axis=1, prepend=0.0, append=1.0)
