"""Worlds in which risk measures of the return disagree, or cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlbook.environments import make
from rlbook.figures.grid import grid_of, terminal_states
from rlbook.mdp_rows import from_transitions

if TYPE_CHECKING:
    from rlbook.mdp import FiniteMDP

RiskWorld = Literal["gusty cliff", "icu-sepsis"]
HORIZON = {"gusty cliff": 40, "icu-sepsis": 20}

_FALL = -100.0  # in the catalogue's cliff, by which a fall is known


def risk_world(world: RiskWorld, wind: float, fall: float) -> FiniteMDP:
    """The MDP of this name, undiscounted; wind and fall: for the cliff alone."""
    return make("icu-sepsis") if world == "icu-sepsis" else gusty_cliff(wind, fall)


def gusty_cliff(wind: float, fall: float) -> FiniteMDP:
    """Sutton & Barto's cliff walk (2018, Example 6.6), where after each move the wind may push one cell further down.

    wind: the chance of that, in [0, 1]. fall: what going over the edge costs, 100 in the book; then one starts again.
    The wind neither pushes through the ground nor away from the goal. It is our own.
    """
    calm = make("cliff", discount=1.0)
    grid = grid_of(calm)
    number = {cell: state for state, cell in enumerate(grid.cell)}
    edge = {cell for cell, _ in grid.marks}
    start, goal = int(calm.start.argmax()), int(terminal_states(calm)[0])
    outcomes: list[dict[int, list[tuple[float, int, float, bool]]]] = []
    for state in range(calm.n_states):
        choices = {}
        for action in range(calm.n_actions):
            ((_, following, paid, ended),) = calm.transitions(state, action)
            below = grid.cell[following] + grid.columns
            fallen = paid == _FALL
            paid = -fall if fallen else paid
            pushed = not ended and not fallen and (below in edge or below in number)
            if not pushed or wind == 0:
                choices[action] = [(1.0, following, paid, ended)]
                continue
            over = below in edge
            blown = start if over else number[below]
            # Who is blown onto the goal is there.
            there = (wind, blown, -fall if over else paid, not over and blown == goal)
            choices[action] = [(1 - wind, following, paid, False), there]
        outcomes.append(choices)
    return from_transitions(
        outcomes,
        1.0,
        name=f"cliff with gusts {wind:g}",
        start=calm.start,
        state_names=calm.state_names,
        action_names=calm.action_names,
        layout=grid,
    )
