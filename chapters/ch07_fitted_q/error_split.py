"""Lab: the error of fitted Q iteration, split into what more iterations cure and what more data cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch07_fitted_q.fitted_worlds import garnet_with_truth, grouped
from rlbook.figures.lines import FEWEST_FOR_BAND, band, between_powers, line, mean_with_band
from rlbook.figures.style import BLUE, GREY, PURPLE, VERMILION, axis, layout, legend_below, log_axis
from rlbook.intervals import factor_interval, log_slope_interval
from rlbook.keyed_random import keyed_uniforms
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.approximation import (
    LeastSquares,
    fitted_value_iteration,
    greedy_policy_losses,
    one_hot,
    sampled_fitted_q,
)
from rlbook.tabular.learning import draw_transitions
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from rlbook.tabular.learning import Transitions

_WORLD = 3  # the seed of the one MDP; seeds of the lab draw data
_MULTIPLES = np.array([1, 2, 4, 8, 16])
# A mean of n draws errs as n^-1/2. A tenth
# leaves room for the fewest data, 10 draws of a pair, where pairs that were missed by chance count twice.
_RATE = (-0.6, -0.4)
_EARLY = slice(2, 11)  # iterations whose decay is judged: q_0 is special, and later ones come near the floor
_ROOM = 0.03  # above the discount, which the floor may add to the decay of these
_ROUNDING = 1e-12  # of losses, units of return: a smaller one is none
_PURPOSE = 71  # of the keyed random numbers that choose pairs


class ErrorSplitParameters(Parameters):
    judged: Literal["data", "iterations"] = Field(
        "data", description="how the floor falls with data, or how the error falls with iterations"
    )
    draws: int = Field(400, ge=100, le=5000, description="fewest transitions of a batch; also 2 to 16 times as many")
    groups: int = Field(20, ge=1, le=20, title="Capacity", description="groups of the 20 states that share a value")
    iterations: int = Field(20, ge=11, le=60, description="iterations K")
    discount: float = Field(0.7, ge=0.5, le=0.95, description="weight of the next step's value")
    fresh: bool = Field(False, description="new transitions in each iteration, as the theorem has it, or one batch")


# What was claimed first of iterations. It does not hold: with at most 6,400 transitions the floor is reached within the
# iterations that are judged. So they are judged with up to 80,000, by the same threshold, and the first claim stays.
_FIRST_CLAIM = ErrorSplitParameters(judged="iterations", fresh=True)


class ErrorSplitView(View):
    against: Literal["iterations", "data"] = Field("iterations", description="what the horizontal axis shows")


class ErrorSplit(Lab[ErrorSplitParameters, ErrorSplitView]):
    """Runs fitted Q iteration on a random MDP, where both parts of its error can be computed exactly."""

    name = "error-split"
    title = "More data or more iterations?"
    claim = (
        "The error of fitted Q iteration falls geometrically with iterations, down to a floor that falls as one over "
        "the root of the data."
    )
    chapter = 7
    source = Source(
        reference="Fan, Wang, Xie & Yang (2020), A Theoretical Analysis of Deep Q-Learning",
        where="algorithm 1 (new draws in each iteration) and (4.10): a statistical part, the largest one-step error, "
        "and an algorithmic part that falls as gamma^K; by theorem 6.2 a table's one-step error falls as n^-1/2 but "
        "for a logarithm. The displayed constants could not be read; the split into measured parts is this book's",
    )
    papers = ("theory_deep_q_learning",)
    Parameters = ErrorSplitParameters
    View = ErrorSplitView
    canonical = (
        ErrorSplitParameters(),
        ErrorSplitParameters(fresh=True, iterations=16),
        ErrorSplitParameters(judged="iterations", draws=5000, iterations=11),
    )
    controls = (
        ErrorSplitParameters(groups=4),
        ErrorSplitParameters(judged="iterations", draws=5000, iterations=11, groups=2),
    )
    refuted = (_FIRST_CLAIM,)
    preview_seeds = 3
    verdict_seeds = 20

    def run(self, parameters: ErrorSplitParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        mdp, best = garnet_with_truth(20, parameters.discount, _WORLD)
        features = grouped(mdp, parameters.groups)
        exact = fitted_value_iteration(mdp, one_hot(mdp, "pairs"), LeastSquares(), parameters.iterations).iterates
        shape = (len(seeds), len(_MULTIPLES), parameters.iterations + 1)
        total, statistical, lost = np.empty(shape), np.empty(shape), np.empty(shape)
        for row, seed in enumerate(seeds):
            for place, multiple in enumerate(_MULTIPLES):
                context.progress((row + place / len(_MULTIPLES)) / len(seeds))
                count = int(parameters.draws * multiple)

                def draw(iteration: int, seed: int = seed, count: int = count, place: int = place) -> Transitions:
                    chance = keyed_uniforms(seed, count, replicate=place, purpose=_PURPOSE, step=iteration)
                    pairs = (chance * mdp.n_pairs).astype(np.int64)
                    return draw_transitions(mdp, pairs, (seed * 100 + place) * 1000 + iteration)

                found = sampled_fitted_q(
                    mdp, features, LeastSquares(), draw if parameters.fresh else draw(0), parameters.iterations
                ).iterates
                total[row, place] = np.abs(best - found).max(axis=1)
                statistical[row, place] = np.abs(exact - found).max(axis=1)
                lost[row, place] = greedy_policy_losses(mdp, found, best).max(axis=1)
        dimensions = ("seed", "draws", "iteration")
        return self.stamp(
            xr.Dataset(
                {
                    "total": (dimensions, total),
                    "statistical": (dimensions, statistical),
                    "lost": (dimensions, lost),
                    "algorithmic": (("iteration",), np.abs(best - exact).max(axis=1)),
                },
                coords={
                    "seed": list(seeds),
                    "draws": parameters.draws * _MULTIPLES,
                    "iteration": np.arange(parameters.iterations + 1),
                },
            ),
            parameters,
        )

    def figure(self, result: xr.Dataset, view: ErrorSplitView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        few = {"fewest_for_band": FEWEST_FOR_BAND}
        traces: list[dict[str, Any]]
        if view.against == "iterations":
            x, y = result["iteration"].values, result["total"].values
            early = x[_EARLY]
            slowest = y[:, -1].mean(axis=0)[early[0]] * (parameters.discount + _ROOM) ** (early - early[0])
            traces = [
                *mean_with_band(x, y[:, 0], f"error, {int(result['draws'][0]):,} draws", VERMILION, **few),
                *mean_with_band(x, y[:, -1], f"error, {int(result['draws'][-1]):,} draws", BLUE, **few),
                line(x, result["algorithmic"].values, "algorithmic part", GREY, dash="dash"),
                _lost(x, result["lost"].values[:, -1], int(result["draws"][-1])),
                line(early, slowest, "slowest fall claimed", GREY, width=4, dash="dot"),
            ]
            x_axis = axis("iterations K")
        else:
            x, last = result["draws"].values, result.isel(iteration=-1)
            part = last["statistical"].values
            low, high = between_powers(x, part.mean(axis=0), _RATE)
            traces = [
                band(x, low, high, f"claimed: exponent {_RATE[0]:g} to {_RATE[1]:g}"),
                *mean_with_band(x, last["total"].values, "error", BLUE, markers=True, **few),
                *mean_with_band(x, part, "statistical part", VERMILION, markers=True, dash="dot", **few),
                line(x, np.full(len(x), float(last["algorithmic"])), "algorithmic part", GREY, dash="dash"),
                _lost(x, last["lost"].values),
            ]
            marks = {"tickvals": x, "ticktext": [f"{n:,}" for n in x]}
            x_axis = axis("transitions of a batch", type="log", **marks)
        means, least = result["total"].values.mean(axis=0), float(result["algorithmic"][-1])
        most = means.max() if view.against == "iterations" else means[:, -1].max()
        return go.Figure(
            data=traces,
            layout=layout(
                title={"text": f"Capacity {parameters.groups} groups of 20 states, discount {parameters.discount:g}"},
                xaxis=x_axis,
                yaxis=log_axis("largest error, units of return", min(least, float(means.min())), float(most)),
                **legend_below(3),
                height=470,
                uirevision=view.against,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: ErrorSplitView) -> str:
        last = result.isel(iteration=-1)
        few, many = (float(last["total"].values[:, place].mean()) for place in (0, -1))
        axis_name = "iterations" if view.against == "iterations" else "transitions drawn"
        return (
            f"Largest error of the action values against {axis_name}, on a logarithmic scale; after "
            f"{result.sizes['iteration'] - 1} iterations it is {few:.3g} with {int(result['draws'][0]):,} draws and "
            f"{many:.3g} with {int(result['draws'][-1]):,}; its algorithmic part is {float(last['algorithmic']):.3g}, "
            f"and the greedy policy of the most draws loses {float(last['lost'].values[:, -1].mean()):.3g}."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        parameters = self.parameters_of(result)
        floor = float(result["statistical"].values[:, -1, -1].mean())
        lost = float(result["lost"].values[:, -1, -1].mean())
        chosen = (
            "; with so few data these iterations reach the floor"
            if parameters.draws * _MULTIPLES[-1] < 10_000
            else "; so many data were taken after the claim had failed with a batch of 400 to 6,400"
        )
        common: dict[str, Any] = {
            "claim": self.claim,
            "source": self.source,
            "interval_kind": "95% jackknife over seeds",
            "n": result.sizes["seed"],
            "note": f"with most data the floor is {floor:.3g}, the algorithmic part "
            f"{float(result['algorithmic'][-1]):.3g}; its greedy policy loses "
            f"{lost if lost > _ROUNDING else 0:.3g} where it loses most"
            f"{chosen if parameters.judged == 'iterations' else ''}",
        }
        if parameters.judged == "data":
            slope, interval = log_slope_interval(
                np.log(result["draws"].values.astype(np.float64)), result["statistical"].values[:, :, -1]
            )
            return Verdict(
                statistic="exponent of the number of draws in the statistical part of the error",
                estimate=slope,
                interval=interval,
                relation="within",
                threshold=_RATE,
                **common,
            )
        early = result["total"].values[:, -1, _EARLY]
        factor, interval = factor_interval(result["iteration"].values[_EARLY].astype(np.float64), early)
        return Verdict(
            statistic="factor by which the error changes from iteration to iteration at first, with most data",
            estimate=factor,
            interval=interval,
            relation="<=",
            threshold=parameters.discount + _ROOM,
            **common,
        )


def _lost(x: Any, lost: Any, draws: int | None = None) -> dict[str, Any]:
    """What the theorem bounds: the loss of the greedy policy, its mean over seeds; nothing where all are optimal."""
    mean = lost.mean(axis=0)
    name = "loss of the greedy policy" + (f", {draws:,} draws" if draws else "")
    return line(x, np.where(mean > _ROUNDING, mean, np.nan), name, PURPLE, dash="dashdot")
