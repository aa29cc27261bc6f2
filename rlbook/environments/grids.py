"""Gridworlds from the literature, and one to play with."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, Probability, environment
from rlbook.gridworld import ACTION_NAMES, ARROWS, Cell, from_map, from_text
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import from_transitions

Outcomes = list[dict[int, list[tuple[float, int, float, bool]]]]
Reward = Annotated[float, Field(description="what each move pays")]

KING_ARROWS = (*ARROWS, (-1, 1), (1, 1), (1, -1), (-1, -1))
KING_NAMES = (*ACTION_NAMES, "up-right", "down-right", "down-left", "up-left")
WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)

FOUR_ROOMS = """
#############
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#.....#.....#
##.####.....#
#.....###G###
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#############
"""


@environment("gridworld", "A grid with walls, a goal (+1) and a pit (-1); size, slip and the map itself can be chosen")
def gridworld(
    *,
    size: Annotated[int, Field(ge=3, le=300, description="rows and columns of the grid")] = 7,
    slip: Annotated[Probability, Field(description="probability of going to a perpendicular direction instead")] = 0.2,
    step_reward: Reward = -0.02,
    text: Annotated[str | None, Field(description="a map to use instead, as FiniteMDP.from_text reads it")] = None,
    discount: Discount = 0.95,
) -> FiniteMDP:
    """Start at the bottom left, goal at the top right with a pit below it, two walls in between.

    With `text` any other map. Source: in the manner of the 4x3 world of Russell & Norvig, *Artificial Intelligence: A
    Modern Approach*, section 17.1 (slip 0.2, goal +1, pit -1, a small cost for each step).
    """
    drawn = _walled_map(size) if text is None else text
    return from_text(drawn, discount, slip=slip, step_reward=step_reward, name="gridworld")


@environment("slippery-grid", "An open grid with a price on each step: find the way to the corner over slippery ground")
def slippery_grid(
    *,
    rows: Annotated[int, Field(ge=1, le=1000, description="rows of the grid")] = 20,
    columns: Annotated[int, Field(ge=2, le=1000, description="columns of the grid")] = 20,
    slip: Annotated[Probability, Field(description="probability of going to a perpendicular direction instead")] = 0.2,
    step_cost: Annotated[float, Field(description="cost of each step, the last one too")] = 1.0,
    discount: Discount = 0.999,
) -> FiniteMDP:
    """The bottom right corner ends the episode; every step costs the same until then. Episodes begin anywhere.

    Source: slips in the manner of Russell & Norvig's 4x3 world, as in `gridworld`, without its walls and pit; the
    undiscounted cost of a way is that of a stochastic shortest path (Bertsekas & Tsitsiklis 1991).
    """
    cells = np.full((rows, columns), ".")
    cells[-1, -1] = "G"
    text = "\n".join("".join(row) for row in cells)
    goal = {"G": Cell(reward=-step_cost, terminal=True)}
    return from_text(text, discount, slip=slip, step_reward=-step_cost, legend=goal, name="slippery-grid")


def _walled_map(size: int) -> str:
    cells = np.full((size, size), ".")
    middle = size // 2
    cells[1 : middle + 1, middle] = "#"
    cells[size - 2, 1 : middle - 1] = "#"
    cells[0, -1], cells[1, -1], cells[-1, 0] = "G", "H", "S"
    return "\n".join("".join(row) for row in cells)


@environment("gridworld-4x4", "Sutton & Barto's 4x4 gridworld: -1 per move until one of two corners")
def gridworld_4x4(*, discount: Discount = 0.99) -> FiniteMDP:
    """Sutton & Barto, *Reinforcement Learning: An Introduction* (2nd ed., 2018), Example 4.1; undiscounted there.

    A policy may walk into a wall for ever, so the default is a discount under which every solver certifies. The two
    shaded corners, one terminal state in the book, are two states here.
    """
    text = "G...\n....\n....\n...G"
    return from_text(text, discount, step_reward=-1.0, legend={"G": Cell(terminal=True)}, name="gridworld-4x4")


@environment("gridworld-5x5", "Sutton & Barto's 5x5 gridworld: two cells pay +10 and +5 and carry the agent away")
def gridworld_5x5(*, discount: Discount = 0.9) -> FiniteMDP:
    """Sutton & Barto (2018), Example 3.5 and Figure 3.2: leaving the grid costs 1 and fails, A pays 10, B pays 5."""
    size = 5
    carried = {(0, 1): ((4, 1), 10.0), (0, 3): ((2, 3), 5.0)}
    outcomes: Outcomes = []
    for row in range(size):
        for column in range(size):
            choices = {}
            for action, (down, right) in enumerate(ARROWS):
                there, paid = (row + down, column + right), 0.0
                if (row, column) in carried:
                    there, paid = carried[row, column]
                elif not (0 <= there[0] < size and 0 <= there[1] < size):
                    there, paid = (row, column), -1.0
                choices[action] = [(1.0, there[0] * size + there[1], paid, False)]
            outcomes.append(choices)
    names = [f"({row}, {column})" for row in range(size) for column in range(size)]
    names[1], names[3] = "A", "B"
    layout = GridLayout(size, size, cell=tuple(range(size * size)), action_arrows=ARROWS)
    return from_transitions(
        outcomes, discount, name="gridworld-5x5", state_names=names, action_names=ACTION_NAMES, layout=layout
    )


@environment("cliff", "Sutton & Barto's cliff walk: -1 per move, -100 and back to the start for a fall")
def cliff(*, discount: Discount = 0.99) -> FiniteMDP:
    """Sutton & Barto (2018), Example 6.6; undiscounted there. Cliff cells are no states: nobody ever stays in one.

    The default discount is one under which every solver certifies, since a policy may walk into a wall for ever.
    """
    rows, columns, start, goal = 4, 12, (3, 0), (3, 11)
    cells = [(r, c) for r in range(rows) for c in range(columns) if r < rows - 1 or c in (start[1], goal[1])]
    number = {cell: state for state, cell in enumerate(cells)}
    outcomes: Outcomes = []
    for cell in cells:
        choices = {}
        for action, (down, right) in enumerate(ARROWS):
            there = (min(max(cell[0] + down, 0), rows - 1), min(max(cell[1] + right, 0), columns - 1))
            if cell == goal:
                choices[action] = [(1.0, number[goal], 0.0, True)]
            elif there not in number:
                choices[action] = [(1.0, number[start], -100.0, False)]
            else:
                choices[action] = [(1.0, number[there], -1.0, there == goal)]
        outcomes.append(choices)
    return from_transitions(
        outcomes,
        discount,
        name="cliff",
        start=np.eye(len(cells))[number[start]],
        state_names=[f"({row}, {column})" for row, column in cells],
        action_names=ACTION_NAMES,
        layout=GridLayout(
            rows,
            columns,
            cell=tuple(r * columns + c for r, c in cells),
            action_arrows=ARROWS,
            marks=tuple(((rows - 1) * columns + c, "cliff") for c in range(start[1] + 1, goal[1])),
        ),
    )


@environment("windy", "Sutton & Barto's windy gridworld: -1 per move, pushed up by the wind of each column")
def windy(
    *,
    king_moves: Annotated[bool, Field(description="whether diagonal moves are allowed (Exercise 6.9)")] = False,
    discount: Discount = 0.99,
) -> FiniteMDP:
    """Sutton & Barto (2018), Example 6.5 and Exercise 6.9; undiscounted there. The wind is that of the column left.

    The default discount is one under which every solver certifies, since a policy may walk into a wall for ever.
    """
    rows, columns, start, goal = 7, len(WIND), (3, 0), (3, 7)
    arrows, names = (KING_ARROWS, KING_NAMES) if king_moves else (ARROWS, ACTION_NAMES)
    outcomes: Outcomes = []
    for row in range(rows):
        for column in range(columns):
            choices = {}
            for action, (down, right) in enumerate(arrows):
                there = (
                    min(max(row + down - WIND[column], 0), rows - 1),
                    min(max(column + right, 0), columns - 1),
                )
                if (row, column) == goal:
                    choices[action] = [(1.0, goal[0] * columns + goal[1], 0.0, True)]
                else:
                    choices[action] = [(1.0, there[0] * columns + there[1], -1.0, there == goal)]
            outcomes.append(choices)
    return from_transitions(
        outcomes,
        discount,
        name="windy",
        start=np.eye(rows * columns)[start[0] * columns + start[1]],
        state_names=[f"({row}, {column})" for row in range(rows) for column in range(columns)],
        action_names=names,
        layout=GridLayout(rows, columns, cell=tuple(range(rows * columns)), action_arrows=arrows),
    )


@environment("four-rooms", "Four rooms joined by hallways; the goal (+1) is the eastern hallway")
def four_rooms(
    *,
    slip: Annotated[Probability, Field(description="probability of going in one of the other three directions")] = 1
    / 3,
    discount: Discount = 0.9,
) -> FiniteMDP:
    """Sutton, Precup & Singh, *Between MDPs and semi-MDPs* (1999), Figure 2, with the goal G1; discount 0.9 there.

    A move goes in its own direction with probability 2/3 and in each of the other three with 1/9. Episodes begin in any
    other cell.
    """
    law = np.full((4, 4), slip / 3)
    np.fill_diagonal(law, 1.0 - slip)
    return from_map(FOUR_ROOMS, discount, law, name="four-rooms")
