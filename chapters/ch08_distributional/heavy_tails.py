"""Lab: values under heavy tails. Quantile TD against TD(0), from the same transitions, each at its best step size.

TD(0) adds alpha times an error that has no variance here, so that one reward may undo what hundreds have taught.
Quantile TD never moves a location by more than alpha, whatever was paid, and reads the mean off at the end.

Written down beforehand: the worlds, the tails, the grids of step sizes, the claim with its threshold, and that under
Gaussian rewards TD(0) is as good or better. The last is so on the ring; in the garnet quantile TD is a little better
even then, though far from a quarter. Its best step size is the longest there is, 1: longer ones might help it more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch08_distributional.decade_axis import decade_axis
from rlbook.chapters.ch08_distributional.heavy_tails_world import Noise, TailWorld, noisy_walk, tail_world
from rlbook.figures.lines import LEFT, RIGHT, band, line
from rlbook.figures.style import BLUE, GREY, VERMILION, axis, judged_title, layout
from rlbook.intervals import median_interval
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.distributional.quantile import Quantiles
from rlbook.tabular.distributional.quantile_td import QuantileTD
from rlbook.tabular.learning.experience import Batch
from rlbook.tabular.learning.learner import Learner
from rlbook.tabular.learning.prediction import policy_truth
from rlbook.tabular.learning.q_learning import QLearning
from rlbook.tabular.learning.replication import replicate
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

# A quarter less error in the median seed: with 40 seeds a median is known to about a sixth, so that less could not be
# told from nothing, and a quarter is what doubling the data would give where errors fall with its square root, nearly.
_THRESHOLD = 0.75
TD_STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # shares of the way
QTD_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # lengths, in units of return
_MARKS = 20
_COLOURS = {"TD(0)": VERMILION, "quantile TD": BLUE}


class HeavyTailsParameters(Parameters):
    noise: Noise = Field("student", description="law of what is added to each reward: Student's t, or normal")
    tail: float = Field(1.5, ge=1.1, le=3.0, description="tail index of Student's t: no variance up to 2, no mean to 1")
    world: TailWorld = Field("garnet", description="eight states with random successors, or a ring without chance")
    quantiles: int = Field(31, ge=1, le=101, description="locations per state of quantile TD")
    steps: int = Field(4000, ge=500, le=20_000, description="transitions that both learn from")


class HeavyTailsView(View):
    quantity: Literal["step sizes", "time"] = Field("step sizes", description="what the left part shows errors against")


class HeavyTails(Lab[HeavyTailsParameters, HeavyTailsView]):
    """Runs both learners over all step sizes on the same noisy walk, one walk for each seed."""

    name = "heavy-tails"
    title = "When rewards have no variance"
    claim = (
        "In the median seed, the mean that quantile TD learns is at least a quarter nearer to the true values than "
        "TD(0)'s value, each at its best step size, when rewards have infinite variance."
    )
    chapter = 8
    source = Source(
        reference="Rowland, Tang, Lyle, Munos, Bellemare & Dabney (2023), The Statistical Benefits of Quantile "
        "Temporal-Difference Learning for Value Estimation",
        where="abstract: quantile TD may be better even where only the mean is asked for; worlds, tails and the factor "
        "are ours",
    )
    mechanism_only = True
    Parameters = HeavyTailsParameters
    View = HeavyTailsView
    canonical = (
        HeavyTailsParameters(),
        HeavyTailsParameters(tail=1.2),
        HeavyTailsParameters(world="ring"),
    )
    controls = (
        HeavyTailsParameters(noise="normal"),
        HeavyTailsParameters(noise="normal", world="ring"),
    )
    preview_seeds = 2
    verdict_seeds = 40

    def run(self, parameters: HeavyTailsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        mdp = tail_world(parameters.world)
        walks = [Batch(noisy_walk(mdp, parameters.noise, parameters.tail, parameters.steps, s), True) for s in seeds]
        marks = np.unique(np.geomspace(100, parameters.steps, _MARKS).round().astype(int))
        learners: dict[str, tuple[Learner, tuple[float, ...]]] = {
            "TD(0)": (QLearning(), TD_STEPS),  # of a world without choice
            "quantile TD": (QuantileTD(Quantiles(parameters.quantiles)), QTD_STEPS),
        }
        variables: dict[str, Any] = {}
        coordinates: dict[str, Any] = {"seed": list(seeds), "checkpoint": marks}
        for place, (name, (learner, steps)) in enumerate(learners.items()):
            found = replicate(
                mdp,
                learner,
                [0],  # all that is random is the walk
                steps=parameters.steps,
                checkpoints=marks,
                grid={"experience": walks, "step_size": steps},
                truth=policy_truth(mdp),
                cancel=context.cancel_flag,
                progress=partial(_half_done, context, place),
            )
            dimension = f"step size of {name}"
            variables[name] = (("seed", dimension, "checkpoint"), found["rms_error"].values[:, :, 0])
            coordinates[dimension] = list(steps)
        return self.stamp(xr.Dataset(variables, coordinates), parameters)

    def figure(self, result: xr.Dataset, view: HeavyTailsView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        traces: list[dict[str, Any]] = []
        for name, colour in _COLOURS.items():
            errors = result[name].values
            if view.quantity == "step sizes":
                x, shown = result[f"step size of {name}"].values, errors[:, :, -1]
            else:
                x, shown = result["checkpoint"].values, errors[:, _best(errors)]
            low, middle, high = np.quantile(shown, [0.1, 0.5, 0.9], axis=0)
            traces.append(band(x, low, high, f"most of {name}", colour=colour, showlegend=False, legendgroup=name))
            traces.append({**line(x, middle, name, colour, markers=True), "legendgroup": name})
        ratio = np.sort(ratios(result))
        share = (np.arange(len(ratio)) + 1) / len(ratio)
        traces += [
            {**line(ratio, share, "error of quantile TD / TD(0)", BLUE, axes=RIGHT, markers=True), "showlegend": False},
            line(
                np.full(2, _THRESHOLD),
                np.array([0.0, 1.0]),
                "claimed at most",
                GREY,
                axes=RIGHT,
                dash="dash",
            ),
        ]
        said = "normal noise" if parameters.noise == "normal" else f"Student noise, tail {parameters.tail:g}"
        return go.Figure(
            data=traces,
            layout=layout(
                xaxis=axis(
                    "step size" if view.quantity == "step sizes" else "transitions",
                    domain=[0.0, 0.5],
                    type="log",
                    dtick=1,
                    exponentformat="power",
                ),
                yaxis=decade_axis("error of values", traces, LEFT),
                xaxis2=axis(
                    "error, QTD / TD(0)",
                    domain=[0.66, 1.0],
                    anchor="y2",
                    range=[0.0, 1.1 * max(1.0, float(ratio[-1]))],
                ),
                yaxis2=axis("share of seeds", anchor="x2", range=[0.0, 1.05]),
                **judged_title(
                    f"Errors of values: {said}, {parameters.world}",
                    f"judged: the median ratio, at most {_THRESHOLD:g}; bands: 8 of 10 seeds",
                ),
                height=470,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: HeavyTailsView) -> str:
        best = {name: np.median(result[name].values[:, _best(result[name].values), -1]) for name in _COLOURS}
        return (
            f"Median errors of TD(0) and of quantile TD against {view.quantity}, on log scales; at its best step size "
            f"TD(0) ends with {best['TD(0)']:.3g} and quantile TD with {best['quantile TD']:.3g}. Beside them the "
            f"ratios of both errors, seed by seed, with median {np.median(ratios(result)):.3g}."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        estimate, interval = median_interval(ratios(result))
        chosen = {name: result[f"step size of {name}"].values[_best(result[name].values)] for name in _COLOURS}
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="root mean square error of quantile TD's means / of TD(0)'s values, median seed",
            estimate=estimate,
            interval=interval,
            interval_kind="95% for a median, by order statistics over seeds",
            relation="<=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=f"best of {len(TD_STEPS)} step sizes each: {chosen['TD(0)']:g} for TD(0), "
            f"{chosen['quantile TD']:g} for quantile TD",
        )


def _half_done(context: Context, place: int, done: float) -> None:
    context.progress(0.5 * (place + done))


def _best(errors: np.ndarray) -> int:
    """The place of the step size with the least median error at the end; errors: (seeds, step sizes, checkpoints)."""
    return int(np.argmin(np.median(errors[:, :, -1], axis=0)))


def ratios(result: xr.Dataset) -> np.ndarray:
    """Final error of quantile TD / of TD(0), each at its best step size: (seeds,)."""
    quantile, plain = (result[name].values for name in ("quantile TD", "TD(0)"))
    return np.asarray(quantile[:, _best(quantile), -1] / plain[:, _best(plain), -1])
