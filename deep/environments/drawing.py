"""What a state looks like: plotly figures as plain dictionaries, and a sentence for those who do not see them.

All scenes of one environment have the same axes and the same number of traces in the same order, so that they can be
played one after another. Colours of text, grid and background are left to the page, as in all figures of the book.
"""

from __future__ import annotations

from typing import Any

from rlbook.deep.environments import drawing_control as control
from rlbook.deep.environments import drawing_grids as grids
from rlbook.deep.environments.acrobot import Acrobot
from rlbook.deep.environments.breakout import Breakout
from rlbook.deep.environments.cartpole import CartPole
from rlbook.deep.environments.catch import Catch
from rlbook.deep.environments.deep_sea import DeepSea
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.deep.environments.interface import Environment
from rlbook.deep.environments.mountain_car import MountainCar
from rlbook.deep.environments.pendulum import Pendulum
from rlbook.errors import ParameterError

_DRAWN: dict[type[Environment], tuple[Any, Any]] = {
    CartPole: (control.cartpole, control.cartpole_in_words),
    MountainCar: (control.mountain_car, control.mountain_car_in_words),
    Acrobot: (control.acrobot, control.acrobot_in_words),
    Pendulum: (control.pendulum, control.pendulum_in_words),
    Catch: (grids.catch, grids.catch_in_words),
    DeepSea: (grids.deep_sea, grids.deep_sea_in_words),
    Breakout: (grids.breakout, grids.breakout_in_words),
    FiniteMDPEnvironment: (grids.finite_mdp, grids.finite_mdp_in_words),
}


def scene(environment: Environment, state: Any) -> dict[str, Any]:
    """A figure of one state: {"data": traces, "layout": layout}.

    state: the environment's own, in arrays of JAX or NumPy. Raises ParameterError for an environment without a drawing.
    """
    draw, _ = _drawing(environment)
    figure: dict[str, Any] = draw(environment, state)
    return figure


def scene_in_words(environment: Environment, state: Any) -> str:
    """One sentence about the same state, as the figure's text alternative."""
    _, say = _drawing(environment)
    return str(say(environment, state))


def _drawing(environment: Environment) -> tuple[Any, Any]:
    for kind, drawing in _DRAWN.items():
        if isinstance(environment, kind):
            return drawing
    raise ParameterError(
        f"environment is {environment.name}, of which there is no drawing; draw its observation instead"
    )
