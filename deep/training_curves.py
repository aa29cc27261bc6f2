"""Results of training as a figure and in words, whether training is over or under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.figures.lines import line
from rlbook.figures.style import BLUE, GREY, axis, layout

if TYPE_CHECKING:
    import xarray as xr

_HEIGHT = 270  # px


def training_curves(result: xr.Dataset) -> dict[str, Any]:
    """Returns of greedy episodes against steps: a thin line for each seed, and their mean where all have come.

    result: of `train`, or what it publishes on the way. Returns {"data": ..., "layout": ...}; the axis of steps has its
    full length from the start.
    """
    step = result["step"].values
    each = result["evaluation_return"].values
    data = [
        {
            **line(step, own, "each seed", GREY, width=1.2),
            "text": [f"seed {seed}"] * len(step),
            "hovertemplate": "%{text}: %{y:.4g} at step %{x:,}<extra></extra>",
            "legendgroup": "each seed",
            "showlegend": n == 0,
        }
        for n, (seed, own) in enumerate(zip(result["seed"].values.tolist(), each, strict=True))
    ]
    # A mean over the seeds that happen to be ahead would jump when the others come.
    mean = {
        **line(step, each.mean(axis=0), "mean", BLUE, width=3.5, markers=True),
        "hovertemplate": "mean %{y:.4g}<extra></extra>",
    }
    last = float(step[-1])
    across = axis("steps of training", range=[0.0, 1.02 * last], separatethousands=True)
    look = layout(height=_HEIGHT, xaxis=across, yaxis=axis("greedy return", rangemode="tozero"))
    if not np.isfinite(each).any():
        look["yaxis"] |= {"range": [0.0, 1.0], "showticklabels": False}
        look["annotations"] = [_note("no evaluation yet")]
    return {"data": [*data, mean], "layout": look}


def curves_in_words(result: xr.Dataset) -> str:
    """How far training is and what it has reached, in one or two sentences."""
    taken, total = result["steps_taken"].values, int(result["step"].values[-1])
    known = last_evaluations(result)
    of_each = "each seed" if len(taken) > 1 else "the only seed"
    far = f"{min(int(taken.min()), total):,} of {total:,} steps of {of_each}"
    reached = [value for value in known.values() if value is not None]
    if not reached:
        return f"{far}; not evaluated yet.{_broken(result)}"
    best = "" if len(reached) < 2 else f", from {min(reached):.4g} to {max(reached):.4g}"
    return f"{far}; last evaluations: {np.mean(reached):.4g} on average{best}.{_broken(result)}"


def last_evaluations(result: xr.Dataset) -> dict[int, float | None]:
    """For each seed the mean return of its last evaluation, None before the first."""
    last: dict[int, float | None] = {}
    for seed, own in zip(result["seed"].values.tolist(), result["evaluation_return"].values, strict=True):
        known = own[~np.isnan(own)]
        last[seed] = float(known[-1]) if len(known) else None
    return last


def _broken(result: xr.Dataset) -> str:
    broken = [
        f"of seed {seed} at step {at:,}"
        for seed, at in zip(result["seed"].values.tolist(), result["diverged_at"].values.tolist(), strict=True)
        if at >= 0
    ]
    return f" The loss became no number {', '.join(broken)}: lower the learning rate." if broken else ""


def _note(text: str) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    return {"text": text, "font": {"color": GREY, "size": 15}, **place}
