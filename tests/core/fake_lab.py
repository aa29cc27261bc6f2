"""Small labs for the tests of everything that runs, stores, lists and shows labs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.verdict import Source, Verdict


class DrawsParameters(Parameters):
    draws: int = Field(default=50, ge=1, le=1000, description="how many numbers are drawn")
    centre: float = Field(default=0.5, ge=0.0, le=1.0, description="what the mean should be near")


class DrawsView(View):
    draw: int = Field(default=0, ge=0, description="up to which draw")
    marks: Literal["lines", "dots"] = Field(default="lines", description="how draws are marked")
    centred: bool = Field(default=False, description="whether the centre is taken off")


class UniformMean(Lab[DrawsParameters, DrawsView]):
    """The mean of uniform draws, keyed by the seed."""

    name = "uniform-mean"
    title = "The mean of uniform draws"
    claim = "Uniform draws have mean one half."
    chapter = 90
    source = Source(reference="Any textbook", where="page 1")
    papers = ("activevln",)
    Parameters = DrawsParameters
    View = DrawsView
    canonical = (DrawsParameters(),)
    controls = (DrawsParameters(centre=0.9),)
    verdict_seeds = 12
    asked: ClassVar[list[list[int]]] = []

    def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        self.asked.append(list(seeds))
        context.progress(0.5, "drawing")
        draws = np.array([np.random.default_rng([seed, 7]).random(parameters.draws) for seed in seeds])
        return xr.Dataset(
            {
                "draws": (("seed", "draw"), draws),
                "mean": ("seed", draws.mean(axis=1)),
                "high": ("seed", draws.mean(axis=1) > parameters.centre),
                "centre": ((), parameters.centre),
            },
            coords={"seed": list(seeds)},
        )

    def figure(self, result: xr.Dataset, view: DrawsView) -> go.Figure:
        shown = result["draws"].values[0, : view.draw + 1] - (float(result["centre"]) if view.centred else 0.0)
        mode = "lines" if view.marks == "lines" else "markers"
        return go.Figure(go.Scatter(y=shown, mode=mode), layout={"title": {"text": f"{view.draw + 1} draws"}})

    def alt_text(self, result: xr.Dataset, view: DrawsView) -> str:
        return f"The first {view.draw + 1} draws as {view.marks}."

    def view_values(self, result: xr.Dataset) -> Mapping[str, Sequence[Any]]:
        return {"draw": range(result.sizes["draw"])}

    def verdict(self, result: xr.Dataset) -> Verdict:
        means, centre = result["mean"].values, float(result["centre"])
        half = 3.0 * means.std(ddof=1) / np.sqrt(means.size) if means.size > 1 else 1.0
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="mean of the means",
            estimate=float(means.mean()),
            interval=(float(means.mean() - half), float(means.mean() + half)),
            interval_kind="three standard errors",
            relation="within",
            threshold=(centre - 0.2, centre + 0.2),
            n=int(means.size),
        )


class Raising(UniformMean):
    """A lab whose run raises."""

    name = "raising"

    def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        raise ZeroDivisionError("nobody divides by zero")


class Deadly(UniformMean):
    """A lab that takes its process down."""

    name = "deadly"

    def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        os._exit(3)
