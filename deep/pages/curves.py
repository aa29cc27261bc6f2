"""Learning curves of stored results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.deep.pages.results import Result, words
from rlbook.deep.pages.stored import Curve
from rlbook.figures.lines import band, line
from rlbook.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, axis, layout, legend_below

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray

_SHOWN = {"evaluation_return": BLUE, "training_return": ORANGE, "q_rms_error": GREEN, "regret": PURPLE}
_GAP = 0.08  # between two parts, of the width


def curves(title: str, results: Sequence[Result]) -> go.Figure:
    """A part for each task with a stored result: means over seeds with their 95% intervals, and goals."""
    import plotly.graph_objects as go

    stored = [result for result in results if result.run is not None]
    data: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    width = (1 - _GAP * (len(stored) - 1)) / max(1, len(stored))
    named: set[str] = set()
    for place, result in enumerate(stored):
        suffix = "" if place == 0 else str(place + 1)
        run, here = result.run, (f"x{suffix}", f"y{suffix}")
        assert run is not None
        steps = np.array(run.step)
        goals = {goal.metric: goal.bound for goal in result.task.goals}
        for metric in goals:
            name, curve = words(metric), run.curves[metric]
            low, mean, high = _numbers(curve)
            once = {"showlegend": name not in named, "legendgroup": name}
            data.append(band(steps, low, high, f"95% of {name}", here, colour=_SHOWN[metric], showlegend=False))
            data.append({**line(steps, mean, name, _SHOWN[metric], axes=here), **once})
            named.add(name)
        ends = steps[[0, -1]]
        for bound in set(goals.values()):
            goal = line(ends, np.full(2, bound), "goal", GREY, axes=here, dash="dash")
            data.append({**goal, "showlegend": "goal" not in named, "legendgroup": "goal"})
            named.add("goal")
        left = place * (width + _GAP)
        axes[f"xaxis{suffix}"] = axis(f"steps on {run.environment}", domain=[left, left + width], anchor=here[1])
        axes[f"yaxis{suffix}"] = axis("", anchor=here[0])
    return go.Figure(data=data, layout=layout(title={"text": title}, **axes, **legend_below()))


def _numbers(curve: Curve) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.array(values, dtype=np.float64) for values in (curve.low, curve.mean, curve.high))
