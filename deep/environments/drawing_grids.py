"""Drawings of the worlds that lie on cells: small games, and finite MDPs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.deep.environments.breakout import SIDE, TOP_BRICKS, Breakout, BreakoutState
from rlbook.deep.environments.catch import Catch, CatchState
from rlbook.deep.environments.deep_sea import DeepSea, DeepSeaState
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.figures.grid import grid_axes, grid_blocks, terminal_states
from rlbook.figures.grid_actions import walker_trace
from rlbook.figures.style import BLUE, GREEN, GREY, ORANGE, VERMILION, layout, translucent
from rlbook.mdp import GridLayout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

_SIDE = 300.0  # px that the longer side of a board takes
_MARGINS = 130  # px above and below a board
_EMPTY = translucent(GREY, 0.15)


def catch(environment: Catch, state: CatchState) -> dict[str, Any]:
    """The board with ball and paddle; where they meet, the ball is caught."""
    board = np.zeros((environment.rows, environment.columns), dtype=int)
    board[-1, int(state.paddle)] = 1
    row, column = int(state.ball_row), int(state.ball_column)
    met = row == environment.rows - 1 and column == int(state.paddle)
    board[min(row, environment.rows - 1), column] = 3 if met else 2
    return _board(board, {"paddle": BLUE, "ball": VERMILION, "ball, caught": GREEN})


def catch_in_words(environment: Catch, state: CatchState) -> str:
    """Where ball and paddle are."""
    rows_left = environment.rows - 1 - int(state.ball_row)
    ball, paddle = int(state.ball_column), int(state.paddle)
    return (
        f"The ball is in column {ball}, {_count(rows_left, 'row')} above the bottom; the paddle is in column {paddle}."
    )


def deep_sea(environment: DeepSea, state: DeepSeaState) -> dict[str, Any]:
    """The sea with a row below it for the sea floor, the treasure in its last column, and the diver."""
    board = np.zeros((environment.size + 1, environment.size), dtype=int)
    board[-1, :] = 1
    board[-1, -1] = 2
    board[int(state.row), int(state.column)] = 3
    return _board(board, {"sea floor": GREY, "treasure": ORANGE, "diver": VERMILION})


def deep_sea_in_words(environment: DeepSea, state: DeepSeaState) -> str:
    """How deep the diver is, and how far from the way to the treasure."""
    row, column = int(state.row), int(state.column)
    return (
        f"The diver is in row {row} of {environment.size} and column {column}; the treasure is below the last column."
    )


def breakout(environment: Breakout, state: BreakoutState) -> dict[str, Any]:
    """Bricks, ball with its trail, and paddle."""
    board = np.zeros((SIDE, SIDE), dtype=int)
    bricks = np.asarray(state.bricks)
    board[TOP_BRICKS : TOP_BRICKS + len(bricks)][bricks] = 1
    board[-1, int(state.paddle)] = 2
    board[int(state.last_row), int(state.last_column)] = 3
    board[int(state.ball_row), int(state.ball_column)] = 4
    trail = translucent(VERMILION, 0.4)
    return _board(board, {"brick": ORANGE, "paddle": BLUE, "trail": trail, "ball": VERMILION})


def breakout_in_words(environment: Breakout, state: BreakoutState) -> str:
    """Bricks left, ball and paddle."""
    heading = f"{'down' if int(state.down) > 0 else 'up'} and {'right' if int(state.right) > 0 else 'left'}"
    bricks = _count(int(np.asarray(state.bricks).sum()), "brick")
    ball = f"row {int(state.ball_row)}, column {int(state.ball_column)}"
    return f"{bricks} left; the ball is in {ball}, going {heading}; the paddle is in column {int(state.paddle)}."


def finite_mdp(environment: FiniteMDPEnvironment, state: Any) -> dict[str, Any]:
    """The walker on the MDP's grid; where it has none, states stand in rows in the order of their numbers."""
    mdp = environment.mdp if environment.mdp.layout is not None else _laid_out(environment.mdp)
    grid = mdp.layout
    assert grid is not None
    cells, terminal = np.array(grid.cell), terminal_states(mdp)
    width = _SIDE * min(1.0, grid.columns / grid.rows)
    room = width / grid.columns
    size = float(np.clip(room / 3.3, 8, 15))
    floor = np.full(grid.rows * grid.columns, np.nan)
    floor[cells[cells >= 0]] = 0.0
    names = np.full(len(floor), "", dtype=object)
    names[cells[cells >= 0]] = [mdp.state_name(int(s)) for s in np.flatnonzero(cells >= 0)]
    traces = [
        _heat(floor.reshape(grid.rows, grid.columns), [_EMPTY, _EMPTY], names.reshape(grid.rows, grid.columns)),
        *grid_blocks(mdp, grid, cells, terminal, size, min(2.6 * size, 0.8 * room), ("x", "y")),
        walker_trace(mdp, int(state), width=width),
    ]
    if grid.cell[int(state)] < 0:  # a state without a cell: the trace stays, so that its number is the same
        traces[-1] = {**traces[-1], "x": [None], "y": [None]}
    x, y = grid_axes(grid)
    numbered = {} if environment.mdp.layout is not None else {"showticklabels": False, "title": {"text": ""}}
    return {"data": traces, "layout": _page(grid.rows, grid.columns, {**x, **numbered}, {**y, **numbered})}


def finite_mdp_in_words(environment: FiniteMDPEnvironment, state: Any) -> str:
    """The state's name."""
    mdp = environment.mdp
    return f"{mdp.name} is in state {mdp.state_name(int(state))}, one of {mdp.n_states}."


def _laid_out(mdp: FiniteMDP) -> FiniteMDP:
    """The MDP with its states in rows that are about as many as they are long."""
    columns = int(np.ceil(np.sqrt(mdp.n_states)))
    rows = int(np.ceil(mdp.n_states / columns))
    return replace(mdp, layout=GridLayout(rows, columns, cell=tuple(range(mdp.n_states))))


def _board(board: NDArray[np.int64], kinds: dict[str, str]) -> dict[str, Any]:
    """Cells in the colours of their kinds, 0 being empty and k the k-th of `kinds`, and a legend."""
    rows, columns = board.shape
    words = np.array(["empty", *kinds], dtype=object)[board]
    keys = [_key(name, colour) for name, colour in kinds.items()]
    x, y = grid_axes(GridLayout(rows, columns, cell=()))
    return {
        "data": [_heat(board, [_EMPTY, *kinds.values()], words), *keys],
        "layout": _page(rows, columns, x, y),
    }


def _heat(z: NDArray[Any], colours: list[str], words: NDArray[Any]) -> dict[str, Any]:
    """A heatmap in which the number k has the k-th colour."""
    n = len(colours)
    steps = [[edge / n, colour] for k, colour in enumerate(colours) for edge in (k, k + 1)]
    return {
        "type": "heatmap",
        "z": [[None if np.isnan(value) else float(value) for value in row] for row in z],
        "zmin": -0.5,
        "zmax": n - 0.5,
        "colorscale": steps,
        "showscale": False,
        "xgap": 1.5,
        "ygap": 1.5,
        "customdata": words.tolist(),
        "hovertemplate": "%{customdata}<extra></extra>",
        "hoverongaps": False,
    }


def _key(name: str, colour: str) -> dict[str, Any]:
    """An entry of the legend, without a point."""
    marker = {"symbol": "square", "size": 12, "color": colour}
    return {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": name, "marker": marker}


def _page(rows: int, columns: int, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    return layout(height=int(_SIDE * min(1.0, rows / columns)) + _MARGINS, xaxis=x, yaxis=y, showlegend=True)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
