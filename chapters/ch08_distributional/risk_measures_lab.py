"""Lab: the same world for an agent that minds its worst days.

The threshold, and that ICU-Sepsis and a cliff without wind are controls, were written down before any result. The cliff
was not: how strong its wind is, what a fall costs and which shares are minded were chosen after seeing where the two
policies part. So the claim says that there are such worlds, and what happens in them, not how common they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch08_distributional.risk_plans import TAIL_WEIGHT, Place, augmented, plan
from rlbook.chapters.ch08_distributional.risk_worlds import RiskWorld, risk_world
from rlbook.figures.grid import grid_of
from rlbook.figures.lines import RIGHT, line
from rlbook.figures.style import BLUE, GREY, ORANGE, VALUES_SCALE, VERMILION, axis, judged_title, layout, log_axis
from rlbook.intervals import student_interval
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.distributional import DiscreteLaws, ExpectedShortfall
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr
    from numpy.typing import NDArray

# Written down before any result: a quarter of the price of one move. That is well above what 20 times 4,000 episodes
# leave open about a mean (their returns spread over about 10, so some hundredths), and below what a detour costs.
_THRESHOLD = 0.25
_EPISODES = 4_000
_RAREST = 1e-4  # what is rarer is not drawn
_CURVE = (1.0, 0.3, 0.1, 0.03, 0.01)


class RiskMeasuresParameters(Parameters):
    world: RiskWorld = Field("gusty cliff", description="MDP, undiscounted, with a time limit")
    level: float = Field(0.1, ge=0.01, le=1.0, description="the share of worst returns whose mean is maximised")
    wind: float = Field(0.01, ge=0.0, le=0.2, description="chance of a gust towards the cliff at each move")
    fall: float = Field(10.0, ge=1.0, le=100.0, description="what a fall costs, in moves")


class RiskMeasuresView(View):
    show: Literal["laws", "price of caution", "visits"] = Field(
        "laws", description="returns of both policies, what caution costs at several levels, or where they go"
    )


class RiskMeasures(Lab[RiskMeasuresParameters, RiskMeasuresView]):
    """Solves a world for the mean and for an expected shortfall, and plays both policies with the same luck."""

    name = "risk-measures"
    title = "Who minds the worst days"
    claim = (
        "The policy of best expected shortfall beats that of best mean in the worst returns, and pays for it in the "
        "mean."
    )
    chapter = 8
    source = Source(
        reference="Baeuerle & Ott (2011), Markov Decision Processes with Average-Value-at-Risk Criteria",
        where="abstract: the criterion, and the extended state space that reduces it to an ordinary MDP",
    )
    mechanism_only = True
    Parameters = RiskMeasuresParameters
    View = RiskMeasuresView
    canonical = (
        RiskMeasuresParameters(),
        RiskMeasuresParameters(level=0.05),
        RiskMeasuresParameters(level=0.2),
        RiskMeasuresParameters(fall=5.0),
    )
    controls = (
        RiskMeasuresParameters(level=1.0),
        RiskMeasuresParameters(wind=0.0),
        RiskMeasuresParameters(world="icu-sepsis"),
    )
    preview_seeds = 1
    verdict_seeds = 20

    def run(self, parameters: RiskMeasuresParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        place = Place.of(parameters.world, parameters.wind, parameters.fall, context.cancel_flag)
        levels = sorted({*(_CURVE if parameters.world == "gusty cliff" else (1.0,)), parameters.level}, reverse=True)
        planned = {}
        for level in levels:
            context.progress(0.0, "planning")
            planned[level] = plan(place, level)
        returns, solved = augmented(place), [planned[1.0], planned[parameters.level]]
        measure = ExpectedShortfall(parameters.level)
        sampled = np.empty((len(seeds), 2, 2))
        for row, seed in enumerate(seeds):
            context.progress((row + 1) / (len(seeds) + 1), "playing")
            for who, each in enumerate(solved):
                drawn = DiscreteLaws.from_arrays(returns.sample(each.policy, _EPISODES, seed))
                sampled[row, who] = drawn.means()[0], measure.of(drawn)[0]
        points = np.unique(np.concatenate([each.law.atom for each in solved]))
        return self.stamp(
            xr.Dataset(
                {
                    "sampled": (("seed", "policy", "statistic"), sampled),
                    "exact": (("policy", "statistic"), [_pair(each.law, measure) for each in solved]),
                    "gap": ((), solved[1].gap),
                    "cdf": (("policy", "return"), np.concatenate([each.law.cdf(points) for each in solved])),
                    "curve": (
                        ("curve_level", "statistic"),
                        np.array([_pair(planned[level].law, measure) for level in levels]),
                    ),
                    "visits": (("policy", "state"), np.array([each.visits for each in solved])),
                },
                coords={
                    "seed": list(seeds),
                    "policy": ["mean", "shortfall"],
                    "statistic": ["mean", "shortfall"],
                    "return": points,
                    "curve_level": levels,
                },
            ),
            parameters,
        )

    def figure(self, result: xr.Dataset, view: RiskMeasuresView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        share = f"worst {parameters.level:.0%}"
        names = ("best mean", f"best in the {share}")
        if view.show == "visits":
            seen, (traces, axes) = "Where the two policies go", _visit_traces(result, parameters, names)
        elif view.show == "laws":
            seen, (traces, axes) = "Returns of the two policies", _law_traces(result, parameters, names)
        else:
            seen = "What caution costs"
            (mean, shortfall), labels = _curve(result)
            traces = [
                {
                    **line(mean, shortfall, "plans, and the worst share that each minds", BLUE, markers=True),
                    "mode": "lines+markers+text",
                    "text": labels,
                    "textposition": ["top center" if k % 2 else "bottom center" for k in range(len(labels))],
                    "cliponaxis": False,
                    "showlegend": True,
                }
            ]
            room = 0.12 * float(np.ptp(mean)) + 1e-3
            axes = {
                "xaxis": axis("mean return", range=[mean.min() - room, mean.max() + room]),
                "yaxis": axis(f"mean of the {share} of returns"),
            }
        return go.Figure(
            data=traces,
            layout=layout(
                **judged_title(
                    f"{seen}, {parameters.world}",
                    f"judged: in played episodes, means of the {share} and means of all",
                ),
                **{"height": 450, "uirevision": view.show, **axes},
            ),
        )

    def alt_text(self, result: xr.Dataset, view: RiskMeasuresView) -> str:
        (mean, tail), (cautious_mean, cautious_tail) = result["exact"].values
        level = f"{self.parameters_of(result).level:.0%}"
        if view.show == "laws":
            return (
                f"Distribution functions of the return of two policies: that of best mean has mean {mean:.4g} and "
                f"{tail:.4g} over the worst {level}, the cautious one {cautious_mean:.4g} and {cautious_tail:.4g}."
            )
        if view.show == "price of caution":
            low, high = result["curve"].values.min(axis=0), result["curve"].values.max(axis=0)
            return (
                f"Mean of the worst {level} against the mean return for policies of more and more caution: means go "
                f"from {high[0]:.4g} down to {low[0]:.4g}, the worst share from {low[1]:.4g} up to {high[1]:.4g}."
            )
        apart = np.abs(np.diff(result["visits"].values, axis=0)).sum()
        return (
            f"Expected visits of each state under both policies, side by side; summed over states they differ by "
            f"{apart:.3g} visits an episode."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        sampled = result["sampled"].values
        gain, price = sampled[:, 1, 1] - sampled[:, 0, 1], sampled[:, 0, 0] - sampled[:, 1, 0]
        of_gain, of_price = student_interval(gain), student_interval(price)
        estimate, interval = min(of_gain, of_price, key=lambda each: each[1][0])
        exact = result["exact"].values
        slack = max(float(result["gap"]), 0.0) + (1 - TAIL_WEIGHT) * max(float(exact[1, 0] - exact[1, 1]), 0.0)
        chosen = "; wind, fall and shares were chosen after seeing where the two policies part"
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="the smaller of what the worst returns gain and what the mean pays, in sampled episodes",
            estimate=estimate,
            interval=interval,
            interval_kind="95% Student t over seeds",
            relation=">=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=(
                f"the worst gain {of_gain[0]:.3g} (exactly {exact[1, 1] - exact[0, 1]:.4g}), the mean pays "
                f"{of_price[0]:.3g} (exactly {exact[0, 0] - exact[1, 0]:.4g}); no policy has a shortfall better by "
                f"more than {slack:.2g}{chosen if self.parameters_of(result).world == 'gusty cliff' else ''}"
            ),
        )


def _pair(law: DiscreteLaws, measure: ExpectedShortfall) -> tuple[float, float]:
    return float(law.means()[0]), float(measure.of(law)[0])


def _curve(result: xr.Dataset) -> tuple[NDArray[np.float64], list[str]]:
    """Means and shortfalls, (2, points), and the levels whose policies have both in common, joined."""
    labels: dict[tuple[float, float], list[str]] = {}
    for level, point in zip(result["curve_level"].values, result["curve"].values, strict=True):
        labels.setdefault((round(float(point[0]), 6), round(float(point[1]), 6)), []).append(f"{level:.0%}")
    return np.array(list(labels)).T, [", ".join(each) for each in labels.values()]


def _law_traces(
    result: xr.Dataset, parameters: RiskMeasuresParameters, names: tuple[str, str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    points, cdf = result["return"].values, result["cdf"].values
    ends = points[[0, -1]]
    seen = points[np.flatnonzero(cdf.max(axis=0) >= _RAREST)[0]]
    room = 0.03 * (ends[1] - seen) + 1e-9
    traces = [line(points, cdf[who], names[who], colour, shape="hv") for who, colour in enumerate((ORANGE, BLUE))]
    traces.append(
        line(ends, np.full(2, parameters.level), f"below: the worst {parameters.level:.0%}", GREY, dash="dot")
    )
    return traces, {
        "xaxis": axis("return", range=[seen - room, ends[1] + room]),
        "yaxis": log_axis("share of returns up to it", _RAREST, 1.0),
    }


def _visit_traces(
    result: xr.Dataset, parameters: RiskMeasuresParameters, names: tuple[str, str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    visits = result["visits"].values
    if parameters.world == "icu-sepsis":
        order = np.argsort(-visits[0], kind="stable")[:60]
        rank = np.arange(len(order))
        traces = [
            line(rank, visits[who][order], name, colour, markers=who == 1, dash=dash)
            for who, (name, colour, dash) in enumerate(zip(names, (ORANGE, BLUE), ("solid", "dot"), strict=True))
        ]
        return traces, {
            "xaxis": axis("states, most visited first"),
            "yaxis": axis("expected visits", type="log"),
        }
    grid = grid_of(risk_world(parameters.world, parameters.wind, parameters.fall))
    traces = []
    for who, (name, axes) in enumerate(zip(names, (("x", "y"), RIGHT), strict=True)):
        shade = np.full(grid.rows * grid.columns, np.nan)
        shade[list(grid.cell)] = visits[who]
        traces += [
            {
                "type": "heatmap",
                "z": shade.reshape(grid.rows, grid.columns),
                "zmin": 0.0,
                "zmax": float(visits.max()),
                "colorscale": VALUES_SCALE,
                "showscale": who == 1,
                "colorbar": {"title": {"text": "visits"}, "thickness": 12},
                "name": name,
                "xaxis": axes[0],
                "yaxis": axes[1],
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": [cell % grid.columns for cell, _ in grid.marks],
                "y": [cell // grid.columns for cell, _ in grid.marks],
                "marker": {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": VERMILION}},
                "name": "cliff",
                "showlegend": False,
                "xaxis": axes[0],
                "yaxis": axes[1],
            },
        ]
    rows = {"autorange": "reversed", "showgrid": False, "dtick": 1}
    return traces, {
        "xaxis": axis(f"column: {names[0]}", domain=[0.0, 0.46], showgrid=False),
        "yaxis": axis("row", **rows),
        "xaxis2": axis(f"column: {names[1]}", domain=[0.54, 1.0], anchor="y2", showgrid=False),
        "yaxis2": axis("", anchor="x2", showticklabels=False, **rows),
    }
