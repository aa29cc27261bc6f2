"""Lines and bands of figures, as plain dictionaries that plotly takes as traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.figures.style import GREY, translucent
from rlbook.intervals import student_reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEFT, RIGHT, BELOW = ("x", "y"), ("x2", "y2"), ("x3", "y3")  # the axes of a figure's first, second and third part

# What previews may pass as `fewest_for_band`: the interval of two or three seeds is wider than most figures.
FEWEST_FOR_BAND = 8


def line(
    x: NDArray[Any],
    y: NDArray[Any],
    name: str,
    colour: str,
    *,
    axes: tuple[str, str] = LEFT,
    markers: bool = False,
    **look: Any,
) -> dict[str, Any]:
    """A trace that joins the points (x, y).

    markers: whether to mark the points as well. look: width, 2 by default, and dash.
    """
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": 2, **look},
        "xaxis": axes[0],
        "yaxis": axes[1],
    }
    if markers:
        trace["marker"] = {"size": 6}
    return trace


def band(
    x: NDArray[Any],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    name: str,
    axes: tuple[str, str] = LEFT,
    *,
    colour: str = GREY,
    **own: Any,
) -> dict[str, Any]:
    """What lies between two curves over x, (n,) each, as one closed shape; `own` entries win."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "fill": "toself",
        "fillcolor": translucent(colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "name": name,
        "xaxis": axes[0],
        "yaxis": axes[1],
        **own,
    }


def between_powers(
    x: NDArray[Any], y: NDArray[np.float64], exponents: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lower and upper edge, (n,) each, of the power laws with exponents between two, through the middle of points.

    x, y: positive, (n,). The line of least squares through their logarithms goes through the same middle.
    """
    laws = np.log(y).mean() + np.multiply.outer(exponents, np.log(x) - np.log(x).mean())
    return np.exp(laws.min(axis=0)), np.exp(laws.max(axis=0))


def mean_with_band(
    x: NDArray[Any],
    sample: NDArray[np.float64],
    name: str,
    colour: str,
    *,
    fewest_for_band: int = 2,
    **look: Any,
) -> list[dict[str, Any]]:
    """The mean over seeds, (seeds, n), and the 95% interval of that mean, which few seeds do not get.

    look: as in `line`.
    """
    mean = sample.mean(axis=0)
    traces = []
    if len(sample) >= fewest_for_band:
        reach = student_reach(sample)
        named: dict[str, Any] = {"showlegend": False, "legendgroup": name}
        traces.append(band(x, mean - reach, mean + reach, f"95% of {name}", colour=colour, **named))
    return [*traces, {**line(x, mean, name, colour, **look), "legendgroup": name}]
