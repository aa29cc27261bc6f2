"""Drawings of the classic control tasks: what moves, in metres, with the place that ends an episode."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbook.deep.environments import acrobot as bar
from rlbook.deep.environments import cartpole as cart
from rlbook.deep.environments import mountain_car as hill
from rlbook.deep.environments.acrobot import Acrobot, AcrobotState
from rlbook.deep.environments.cartpole import CartPole, CartPoleState
from rlbook.deep.environments.mountain_car import MountainCar, MountainCarState
from rlbook.deep.environments.pendulum import Pendulum, PendulumState
from rlbook.figures.lines import line
from rlbook.figures.style import BLUE, GREEN, GREY, VERMILION, axis, layout

_HEIGHT = 340  # px
_ROD = 8  # px, how thick poles, links and rods are drawn


def cartpole(environment: CartPole, state: CartPoleState) -> dict[str, Any]:
    """The cart as a box on its track, the pole as a rod, and the ends of the track."""
    x, _, angle, _ = (float(part) for part in state)
    half_wide, half_high = 0.25, 0.12
    body = [half_wide, half_wide, -half_wide, -half_wide, half_wide]
    tip = 2 * cart.HALF_LENGTH
    ends = [-cart.TRACK_END, cart.TRACK_END]
    data = [
        _path(ends, [-half_high, -half_high], "track", GREY, width=3),
        _points(ends, [-half_high, -half_high], "end of the track", GREY, symbol="line-ns", size=16),
        {
            **_path([x + dx for dx in body], [y * half_high for y in (1, -1, -1, 1, 1)], "cart", BLUE, width=2),
            "fill": "toself",
            "fillcolor": BLUE,
        },
        _path(
            [x, x + tip * np.sin(angle)], [half_high, half_high + tip * np.cos(angle)], "pole", VERMILION, width=_ROD
        ),
    ]
    return _figure(data, (-2.9, 2.9), (-0.4, 1.4), "position, m")


def cartpole_in_words(environment: CartPole, state: CartPoleState) -> str:
    """Place and lean."""
    x, _, angle, _ = (float(part) for part in state)
    return f"The cart is {_side(x, 'm', 2)} of the middle, and the pole leans {_lean(np.degrees(angle))}."


def mountain_car(environment: MountainCar, state: MountainCarState) -> dict[str, Any]:
    """The car on its hill, drawn as high as its task has it, and the goal."""
    position = float(state.position)
    places = np.linspace(hill.LEFT_END, hill.RIGHT_END, 73)
    data = [
        _path(places.tolist(), _slope(places).tolist(), "hill", GREY, width=3),
        _points([hill.GOAL], [_slope(hill.GOAL) + 0.06], "goal", GREEN, symbol="triangle-right", size=16),
        _points([position], [_slope(position) + 0.035], "car", BLUE, symbol="circle", size=18),
    ]
    return _figure(data, (hill.LEFT_END - 0.1, hill.RIGHT_END + 0.1), (0.0, 1.2), "position")


def mountain_car_in_words(environment: MountainCar, state: MountainCarState) -> str:
    """Place and speed."""
    position, velocity = (float(part) for part in state)
    moves = "stands still" if velocity == 0 else f"rolls {'right' if velocity > 0 else 'left'} by {abs(velocity):.3f}"
    return f"The car is at {position:.2f} and {moves} a step; the goal is at {hill.GOAL}."


def acrobot(environment: Acrobot, state: AcrobotState) -> dict[str, Any]:
    """The two links, and the height that the tip must reach."""
    x, y = _joints(state)
    data = [
        {**_path([-2.2, 2.2], [bar.HEIGHT] * 2, "height to reach", GREY, width=2, dash="dash"), "hoverinfo": "name"},
        _path(x[:2], y[:2], "upper link", BLUE, width=_ROD),
        _path(x[1:], y[1:], "lower link", VERMILION, width=_ROD),
        _points(x[:2], y[:2], "joints", GREY, symbol="circle", size=12),
    ]
    return _figure(data, (-2.3, 2.3), (-2.3, 2.3), "m", height=420)


def acrobot_in_words(environment: Acrobot, state: AcrobotState) -> str:
    """Where the tip is."""
    _, y = _joints(state)
    return f"The tip of the two links is {_above(y[2])} the bar; it must come {bar.HEIGHT:g} m above it."


def pendulum(environment: Pendulum, state: PendulumState) -> dict[str, Any]:
    """The rod, and where it should stand."""
    angle = float(state.angle)
    data = [
        _path([0.0, 0.0], [0.0, 1.0], "upright", GREY, width=2, dash="dot"),
        _path([0.0, -np.sin(angle)], [0.0, np.cos(angle)], "rod", VERMILION, width=_ROD + 4),
        _points([0.0], [0.0], "pivot", GREY, symbol="circle", size=12),
    ]
    return _figure(data, (-1.3, 1.3), (-1.3, 1.3), "m")


def pendulum_in_words(environment: Pendulum, state: PendulumState) -> str:
    """Angle and speed."""
    angle, speed = (float(part) for part in state)
    turned = float(np.degrees(np.mod(angle + np.pi, 2 * np.pi) - np.pi))
    return f"The rod is {abs(turned):.0f} degrees from upright and turns at {abs(speed):.1f} rad/s."


def _slope(position: Any) -> Any:
    """The hill of which the task's gravity, cos(3 x), is the slope, as Gymnasium draws it."""
    return 0.45 * np.sin(3 * position) + 0.55


def _joints(state: AcrobotState) -> tuple[list[float], list[float]]:
    """x and y of bar, joint and tip, m."""
    first = float(state.shoulder)
    second = first + float(state.elbow)
    x, y = np.sin(first), -np.cos(first)
    return [0.0, float(x), float(x + np.sin(second))], [0.0, float(y), float(y - np.cos(second))]


def _side(value: float, unit: str, digits: int) -> str:
    return f"{abs(value):.{digits}f} {unit} {'right' if value >= 0 else 'left'}"


def _lean(degrees: float) -> str:
    return f"{abs(degrees):.1f} degrees to the {'right' if degrees >= 0 else 'left'}"


def _above(height: float) -> str:
    return f"{abs(height):.2f} m {'above' if height >= 0 else 'below'}"


def _path(x: list[float], y: list[float], name: str, colour: str, **look: Any) -> dict[str, Any]:
    """A line; hovering names it."""
    plain = line(np.array(x), np.array(y), name, colour, **look)
    return {**plain, "x": [float(v) for v in x], "y": [float(v) for v in y], "hoverinfo": "name"}


def _points(x: list[float], y: list[float], name: str, colour: str, *, symbol: str, size: int) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": size, "color": colour, "line": {"color": colour, "width": 2}}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [float(v) for v in x],
        "y": [float(v) for v in y],
        "name": name,
        "marker": marker,
        "hoverinfo": "name",
    }


def _figure(
    data: list[dict[str, Any]], x: tuple[float, float], y: tuple[float, float], unit: str, height: int = _HEIGHT
) -> dict[str, Any]:
    """A figure in which a metre is as long across as upwards."""
    across = axis(unit, range=list(x), showgrid=False, constrain="domain")
    upwards = axis(
        "", range=list(y), showgrid=False, showticklabels=False, ticks="", scaleanchor="x", constrain="domain"
    )
    return {"data": data, "layout": layout(height=height, xaxis=across, yaxis=upwards)}
