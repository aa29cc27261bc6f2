"""What the labs of streaming share: two learners under the same seeds, and the areas under their curves."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch09_deep_q.streaming_learners import (
    Learner,
    StreamWorld,
    ends,
    kept_bytes,
    learn,
    scores,
)
from rlbook.figures.lines import FEWEST_FOR_BAND, mean_with_band
from rlbook.figures.style import BLUE, GREY, VERMILION, axis, judged_title, layout
from rlbook.intervals import jackknife_interval
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.verdict import Relation, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr
    from numpy.typing import NDArray


class StreamingParameters(Parameters):
    learner: Learner = Field("stream", description="who is held against replay")
    world: StreamWorld = Field("CartPole-v1", description="what is learned")
    steps: int = Field(30_000, ge=2_000, le=200_000, json_schema_extra={"step": 1_000}, description="of each learner")


class StreamingView(View):
    show: Literal["return", "value"] = Field(
        "return", description="returns of the greedy policy, or action values of what is learned from"
    )


class StreamingLab(Lab[StreamingParameters, StreamingView], ABC):
    """Trains a learner and its rival for equally many steps, and judges the ratio of their areas.

    rival: whom all learners are held against. relation, threshold: what is claimed of the ratio.
    """

    rival: ClassVar[str]
    relation: ClassVar[Relation]
    threshold: ClassVar[float]
    chapter = 9
    papers = ("stream_x",)
    mechanism_only = True
    Parameters = StreamingParameters
    View = StreamingView
    preview_seeds = 1
    verdict_seeds = 8

    def run(self, parameters: StreamingParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        context.check()
        learners = (parameters.learner, self.rival)
        lessons = [
            learn(each, parameters.world, seeds, parameters.steps, context.part(at / 2, (at + 1) / 2))
            for at, each in enumerate(dict.fromkeys(learners))
        ]
        lessons = [lessons[0], lessons[-1]]
        where = ("learner", "seed", "evaluation")
        return self.stamp(
            xr.Dataset(
                {
                    "return": (where, np.stack([each.returns for each in lessons])),
                    "value": (where, np.stack([each.value for each in lessons])),
                    "step": (("learner", "evaluation"), np.stack([each.step for each in lessons])),
                    "bytes": ("learner", [kept_bytes(each, parameters.world) for each in learners]),
                },
                coords={"learner": list(learners), "seed": list(seeds)},
            ),
            parameters,
        )

    def figure(self, result: xr.Dataset, view: StreamingView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        traces: list[dict[str, Any]] = []
        for at, colour in ((1, GREY), (0, BLUE if parameters.learner == "stream" else VERMILION)):
            name, shown = str(result["learner"].values[at]), result[view.show].values[at]
            gone = int(np.isnan(shown[:, -1]).sum())
            if gone and view.show == "return":
                shown = np.nan_to_num(shown, nan=ends(parameters.world)[0])  # as they are judged
            traces += mean_with_band(
                result["step"].values[at],
                shown,
                f"{name}: {gone} of {len(shown)} broken down" if gone else name,
                colour,
                fewest_for_band=FEWEST_FOR_BAND,
                width=3 - at,
            )
        return go.Figure(
            data=traces,
            layout=layout(
                **judged_title(
                    f"{parameters.world[0].upper() + parameters.world[1:]}: {parameters.learner}, beside {self.rival}",
                    f"judged: the area under the curve of returns, over that of {self.rival}",
                ),
                xaxis=axis("steps"),
                yaxis=axis(_drawn(view, parameters.world)),
                height=480,
                uirevision=view.show,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: StreamingView) -> str:
        # Means over all seeds: one that has broken down leaves none.
        ends = result[view.show].values[:, :, [0, -1]].mean(axis=1)
        (own, own_last), (other, other_last) = [
            ["no number" if np.isnan(x) else f"{x:.3g}" for x in row] for row in ends
        ]
        judged, rival = result["learner"].values
        what = "greedy returns" if view.show == "return" else "mean action values"
        return (
            f"Curves of {what} against steps: {judged} goes from {own} to {own_last}, {rival} from {other} to "
            f"{other_last}."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        area = areas(result, self.parameters_of(result).world)
        estimate, interval = jackknife_interval(area.T, lambda kept: float(kept[:, 0].mean() / kept[:, 1].mean()))
        own, other = result["bytes"].values / 1000
        story = self.story(self.parameters_of(result))
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic=f"area under the curve of returns / that of {self.rival}",
            estimate=estimate,
            interval=interval,
            interval_kind="95% jackknife over seeds",
            relation=self.relation,
            threshold=self.threshold,
            n=result.sizes["seed"],
            note=(
                f"{story}it keeps {own:,.3g} kB from step to step, {self.rival} {other:,.3g} kB; areas are "
                f"{area[0].mean():.3g} and {area[1].mean():.3g} of what is possible{_broken(result)}"
            ),
        )

    def story(self, parameters: StreamingParameters) -> str:
        """What the note says first of a parameter set; nothing of most."""
        return ""


def _drawn(view: StreamingView, world: StreamWorld) -> str:
    if view.show == "value":
        return "mean action value"
    return "greedy policy's exact value" if world == "icy grid" else "greedy return"


def _broken(result: xr.Dataset) -> str:
    """How many seeds of the judged learner ended with a loss that was no number."""
    gone = int(np.isnan(result["return"].values[0, :, -1]).sum())
    return f"; {gone} of {result.sizes['seed']} seeds broke down, their loss no number" if gone else ""


def areas(result: xr.Dataset, world: StreamWorld) -> NDArray[np.float64]:
    """Mean score over all evaluations of each learner and seed, (2, seeds), in [0, 1]."""
    return scores(result["return"].values, world).mean(axis=2)
