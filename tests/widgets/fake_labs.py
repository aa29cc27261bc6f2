"""Small labs with known answers, for tests of whatever shows labs. They learn nothing: the numbers are formulas."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from rlbook import parameters
from rlbook.errors import RlbookError
from rlbook.lab import Context, Lab
from rlbook.verdict import Source, Verdict


class Powers(parameters.Parameters):
    """Three parameters, one of each common kind."""

    discount: float = Field(
        0.5, ge=0, le=0.99, json_schema_extra={"step": 0.01}, description="how much the future counts"
    )
    noise: float = Field(0.01, ge=1e-4, le=1, description="standard deviation of the noise")
    start: Literal["zero", "one"] = Field("one", description="value at the start")


class Sweeps(parameters.View):
    """Two views: one that depends on the result, one that does not."""

    sweep: int = Field(0, ge=0, description="which sweep to show")
    logarithmic: bool = Field(False, description="logarithmic axis")


class PowersLab(Lab[Powers, Sweeps]):
    """Discount to the powers 0, 1, 2, ... until it is below 0.01; the bar at the chosen sweep is another colour.

    `runs` counts the runs that began, `stopped` those that a cancel ended; `seconds` is how long a run takes.
    """

    name = "powers"
    title = "Powers of the discount"
    claim = "The first power is at most 0.9."
    chapter = 0
    source = Source(reference="A. Author, A Book of Powers, 1900", where="Eq. (1)")
    Parameters = Powers
    View = Sweeps
    canonical = (Powers(),)
    controls = (Powers(discount=0.95),)
    preview_seeds = 2
    verdict_seeds = 5
    seconds: ClassVar[float] = 0.0
    heeds_cancel: ClassVar[bool] = True

    def __init__(self) -> None:
        self.runs: list[float] = []
        self.stopped: list[float] = []
        self.drawn: list[float] = []

    def run(self, parameters: Powers, seeds: Sequence[int], context: Context) -> xr.Dataset:
        self.runs.append(parameters.discount)
        if parameters.discount == 0.13:
            raise RlbookError("discount 0.13 is unlucky; choose another")
        if parameters.discount == 0.17:
            raise ZeroDivisionError("division by zero")
        self._work(parameters, context)
        sweeps = 3 if parameters.discount < 0.1 else 12
        values = parameters.discount ** np.arange(sweeps) if parameters.start == "one" else np.zeros(sweeps)
        noise = [np.random.default_rng(seed).normal(scale=parameters.noise) for seed in seeds]
        return xr.Dataset(
            {"power": ("sweep", values), "noise": ("seed", noise)}, coords={"seed": list(seeds), "sweep": range(sweeps)}
        )

    def _work(self, parameters: Powers, context: Context) -> None:
        end = time.monotonic() + self.seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(0.005, left))
            if not self.heeds_cancel:
                continue
            if context.cancelled:
                self.stopped.append(parameters.discount)
            context.progress(1 - left / self.seconds, "raising to powers")

    def figure(self, result: xr.Dataset, view: Sweeps) -> go.Figure:
        self.drawn.append(self.parameters_of(result).discount)
        colours = ["#0a6ebd"] * result.sizes["sweep"]
        colours[view.sweep] = "#d55e00"
        figure = go.Figure(go.Bar(x=result["sweep"].to_numpy(), y=result["power"].to_numpy(), marker_color=colours))
        figure.update_layout(xaxis_title="sweep", yaxis_title="power", margin={"t": 20, "r": 10}, height=340)
        return figure.update_yaxes(type="log" if view.logarithmic else "linear")

    def alt_text(self, result: xr.Dataset, view: Sweeps) -> str:
        return f"Bars fall from 1; at sweep {view.sweep} the bar is {float(result['power'][view.sweep]):.3g}."

    def view_values(self, result: xr.Dataset) -> Mapping[str, Sequence[Any]]:
        return {"sweep": range(result.sizes["sweep"])}

    def verdict(self, result: xr.Dataset) -> Verdict:
        power = float(result["power"][1])
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="first power",
            estimate=power,
            interval=(power, power),
            interval_kind="exact",
            relation="<=",
            threshold=0.9,
            n=result.sizes["seed"],
        )


class SlowLab(PowersLab):
    """Takes 0.4 s unless it is cancelled."""

    name = "slow-powers"
    seconds = 0.4


class DeafLab(PowersLab):
    """Takes 0.2 s and does not look at its cancel flag."""

    name = "deaf-powers"
    seconds = 0.2
    heeds_cancel = False


class HeldDrawing(PowersLab):
    """Draws at once until `hold` is called; the next figure then waits for `released`, having set `drawing`."""

    name = "held-drawing"

    def __init__(self) -> None:
        super().__init__()
        self.drawing, self.released = threading.Event(), threading.Event()
        self._held = False

    def hold(self) -> None:
        """Make the next drawing wait."""
        self._held = True

    def figure(self, result: xr.Dataset, view: Sweeps) -> go.Figure:
        if self._held:
            self._held = False
            self.drawing.set()
            self.released.wait(10)
        return super().figure(result, view)


class LiveLab(PowersLab):
    """Publishes half of its result before it goes on for 0.3 s."""

    name = "live-powers"

    def run(self, parameters: Powers, seeds: Sequence[int], context: Context) -> xr.Dataset:
        result = super().run(parameters, seeds, context)
        context.publish(result.isel(sweep=slice(0, 2)))
        for _ in range(30):
            time.sleep(0.01)
            context.check()
        return result
