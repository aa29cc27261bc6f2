"""Deep Sea, where exploration must be deep."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rlbook.environments.registry import Discount, Seed, environment
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import from_rows

MOVE_COST = 0.01


@environment("deep-sea", "Deep Sea: sink through an N x N grid; only going right every time finds the treasure (+1)")
def deep_sea(
    *,
    size: Annotated[int, Field(ge=2, le=1000, description="rows and columns of the grid")] = 10,
    scrambled: Annotated[bool, Field(description="whether which action goes right is drawn for each cell")] = True,
    seed: Seed = 0,
    discount: Discount = 1.0,
) -> FiniteMDP:
    """Osband et al., *Behaviour Suite for Reinforcement Learning* (2019), the deterministic Deep Sea.

    Each step goes one row down, one column left or right (walls hold), and the episode ends below the last row. Right
    costs 0.01 / size; right in the last column pays 1. The best return is 0.99. Not scrambled, action 1 goes right.
    """
    row, column = np.divmod(np.arange(size * size), size)
    goes_right = np.arange(2) == right_actions(size, scrambled, seed)[:, None]
    there = np.clip(column[:, None] + np.where(goes_right, 1, -1), 0, size - 1)
    ends = np.broadcast_to((row == size - 1)[:, None], there.shape)
    below = np.where(ends, row[:, None], row[:, None] + 1)
    paid = np.where(goes_right, (column == size - 1)[:, None] - MOVE_COST / size, 0.0)
    pairs = 2 * size * size
    return from_rows(
        state_ptr=np.arange(size * size + 1) * 2,
        action=np.tile([0, 1], size * size),
        row_ptr=np.arange(pairs + 1),
        next_state=(below * size + there).ravel(),
        probability=np.ones(pairs),
        reward=paid.ravel(),
        terminated=ends.ravel(),
        discount=discount,
        start=np.eye(1, size * size)[0],
        name="deep-sea",
        action_names=None if scrambled else ("left", "right"),
        layout=GridLayout(
            size,
            size,
            cell=tuple(range(size * size)),
            action_arrows=() if scrambled else ((1, -1), (1, 1)),
        ),
    )


def right_actions(size: int, scrambled: bool, seed: int) -> NDArray[np.int64]:
    """Which of the actions 0 and 1 goes right in each cell, int64 (size * size,), row by row."""
    if not scrambled:
        return np.ones(size * size, dtype=np.int64)
    return np.random.Generator(np.random.Philox(seed)).integers(0, 2, size=size * size)
