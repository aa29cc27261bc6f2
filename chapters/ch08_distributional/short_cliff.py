"""A short cliff walk with wind, and the actions that exact return laws call for under a measure of risk.

It is small enough to learn the quantile functions of all pairs many times over; `risk_worlds` has the long one.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from rlbook.gridworld import ACTION_NAMES, ARROWS
from rlbook.mdp import GridLayout
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.distributional.backup import pair_return_laws, return_law_backup
from rlbook.tabular.distributional.laws import DiscreteLaws
from rlbook.tabular.distributional.quantile import Quantiles
from rlbook.tabular.distributional.risk_measures import RiskMeasure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

_ROWS, _COLUMNS = 4, 5
_FALL = -10.0
_LOCATIONS, _SWEEPS = 200, 200  # of the exact laws: moves are as many as a path has, many times over
UP, RIGHT = 0, 1


@lru_cache(maxsize=64)
def short_cliff(wind: float, discount: float = 0.95) -> FiniteMDP:
    """A grid of 4 x 5: start and goal at the ends of the lowest row, a cliff between them; -1 a move, -10 for a fall.

    With chance `wind` a gust carries the walker one cell down after the move. Falls and the goal end the episode.
    Episodes start anywhere, so that all cells are learned.
    """
    goal = (_ROWS - 1, _COLUMNS - 1)
    cells = [(r, c) for r in range(_ROWS) for c in range(_COLUMNS) if (r < _ROWS - 1 or c == 0)]
    number = {cell: state for state, cell in enumerate(cells)}
    outcomes = []
    for row, column in cells:
        choices = {}
        for action, (down, right) in enumerate(ARROWS):
            there = (min(max(row + down, 0), _ROWS - 1), min(max(column + right, 0), _COLUMNS - 1))
            blown = (min(there[0] + 1, _ROWS - 1), there[1])
            ends = []
            for chance, cell in ((1.0 - wind, there), (wind, blown)):
                if chance == 0.0:
                    continue
                if cell == goal:
                    ends.append((chance, 0, -1.0, True))
                elif cell not in number:
                    ends.append((chance, 0, _FALL, True))
                else:
                    ends.append((chance, number[cell], -1.0, False))
            choices[action] = ends
        outcomes.append(choices)
    return from_transitions(
        outcomes,
        discount,
        name="short cliff with wind",
        start=np.full(len(cells), 1.0 / len(cells)),
        state_names=[f"({row}, {column})" for row, column in cells],
        action_names=ACTION_NAMES,
        layout=GridLayout(
            _ROWS,
            _COLUMNS,
            cell=tuple(r * _COLUMNS + c for r, c in cells),
            action_arrows=ARROWS,
            marks=(
                *(((_ROWS - 1) * _COLUMNS + c, "cliff") for c in range(1, _COLUMNS - 1)),
                (_ROWS * _COLUMNS - 1, "goal"),
            ),
        ),
    )


FORK = (_ROWS - 2) * _COLUMNS  # the state above the start: along the cliff, or farther up


def measured_laws(mdp: FiniteMDP, measure: RiskMeasure) -> tuple[DiscreteLaws, NDArray[np.float64], NDArray[np.int32]]:
    """Laws of all pairs, (pairs,), what the measure gives them, and the actions that are greedy in it, int32 (S,).

    Backups of 200 quantiles each, greedy in the measure in every sweep: as the learner's, and with its weakness, that a
    measure of what is to come from each state need not be one of the whole return.
    """
    kept = Quantiles(_LOCATIONS)
    laws = kept.laws(kept.initial(mdp.n_states))
    actions = np.full(mdp.n_states, -1, dtype=np.int32)
    for _ in range(_SWEEPS):
        pairs = pair_return_laws(mdp, laws)
        worth = measure.of(pairs)
        new = mdp.action[[int(first + np.argmax(worth[first:end])) for first, end in pairwise(mdp.state_ptr)]]
        following = kept.laws(kept.project(return_law_backup(mdp, laws, new)))
        done = np.array_equal(new, actions) and np.array_equal(following.atom, laws.atom)
        laws, actions = following, new
        if done:
            break
    return pairs, worth, actions
