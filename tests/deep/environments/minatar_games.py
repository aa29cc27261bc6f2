"""Steps of MinAtar's Breakout as the package `minatar` plays them, to hold ours against.

    python -m tests.deep.environments.minatar_games

run from the repository's root writes `minatar_breakout.npz` anew. It needs `pip install --no-deps minatar==1.0.15`;
what that package depends on beside NumPy only draws.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECORD = Path(__file__).with_name("minatar_breakout.npz")
STEPS, IMAGES, SEED = 1_500, 300, 0
STICKY = {"plain": 0.0, "sticky": 0.1}
# Of BreakoutState, in the order in which `parts` writes them.
PARTS = (
    "ball_row",
    "ball_column",
    "down",
    "right",
    "last_row",
    "last_column",
    "paddle",
    "struck",
    "last_action",
)
_HEADINGS = ((-1, -1), (-1, 1), (1, 1), (1, -1))  # down and right, by MinAtar's `ball_dir`


def parts(game: Any) -> list[int]:
    """The state of a `minatar.Environment` as whole numbers, but for its bricks."""
    world = game.env
    heading = _HEADINGS[world.ball_dir]
    ball = [world.ball_y, world.ball_x, *heading, world.last_y, world.last_x]
    return [*ball, world.pos, int(world.strike), _minimal(game.last_action)]


def bricks(game: Any) -> NDArray[np.uint8]:
    """Which of the thirty bricks stand, packed into bytes."""
    return np.packbits(game.env.brick_map[1:4].astype(bool).ravel())


def _minimal(action: int) -> int:
    """Among MinAtar's six actions, none, left and right are 0, 1 and 3."""
    return {0: 0, 1: 1, 3: 2}[action]


def play(sticky: float, seed: int, steps: int = STEPS) -> dict[str, NDArray[Any]]:
    """Play games in which the paddle mostly follows the ball, with some bricks gone; each row is one step.

    before, after: (n, 9), PARTS. bricks_before, bricks_after: (n, 30) bits, packed into bytes. action: 0 to 2. stuck:
    whether the last action was repeated instead. reward, end: of the step. image: (IMAGES, 400) bits, the observation
    after it, packed into bytes.
    """
    # Without matplotlib and seaborn the package warns, on import, that it will not draw.
    logging.disable(logging.WARNING)
    try:
        from minatar import Environment
    finally:
        logging.disable(logging.NOTSET)
    game = Environment("breakout", sticky_action_prob=sticky)
    game.seed(seed)
    rng = np.random.default_rng(seed)
    _begin(game, rng)
    rows, images = [], []
    for _ in range(steps):
        before = parts(game), bricks(game)
        wish = 1 + (game.env.ball_x > game.env.pos) if game.env.ball_x != game.env.pos else 0
        action = int(wish if rng.random() < 0.8 else rng.integers(3))
        peek = np.random.RandomState()
        peek.set_state(game.random.get_state())
        stuck = peek.rand() < sticky
        reward, end = game.act(game.minimal_action_set()[action])
        rows.append((*before, parts(game), bricks(game), action, stuck, reward, end))
        images.append(np.packbits(game.state().ravel()))
        if end:
            _begin(game, rng)
    names = ("before", "bricks_before", "after", "bricks_after", "action", "stuck", "reward", "end")
    played = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    small = {name: array.astype(np.int8) if array.dtype != np.uint8 else array for name, array in played.items()}
    return {**small, "image": np.array(images[:IMAGES])}


def _begin(game: Any, rng: np.random.Generator) -> None:
    """A new game, with part of its bricks gone, so that walls are cleared and built anew within few steps."""
    game.reset()
    game.last_action = 0  # MinAtar carries it over to the next game; ours begins each alike
    game.env.brick_map *= rng.random((10, 10)) < rng.random()


def main() -> None:
    """Write the record."""
    games = {name: play(sticky, SEED) for name, sticky in STICKY.items()}
    arrays = {f"{kind}_{name}": array for kind, game in games.items() for name, array in game.items()}
    with RECORD.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
