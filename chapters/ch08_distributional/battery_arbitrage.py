"""Lab: a battery trades at prices that settle afterwards, and minds its worst days more or less.

The claim and its threshold were written down before any result. The market's numbers and the canonical weights were
not: they were chosen after seeing results. So the claim says what happens in this market, not in most.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.environments import make
from rlbook.environments.battery import BASES, REGIMES
from rlbook.figures.lines import RIGHT, line
from rlbook.figures.style import BLUE, GREY, ORANGE, axis, judged_title, layout
from rlbook.intervals import student_interval
from rlbook.keyed_random import keyed_uniforms
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.distributional import (
    AugmentedReturns,
    ExpectedShortfall,
    ShortfallScore,
    StaticRiskSolution,
    augment,
    minimal_static_risk,
)
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

# Written down before any result: one part in twenty of the trades, which no rounding of a tie could make, and at which
# a reader of the right-hand bars would still see a difference.
_THRESHOLD = 0.05
_TOLERANCE = 0.5  # of the search, in money; prices are tens and hundreds
_WAIT = 1  # the action's place in the catalogue's names
_PURPOSE = 85
_LEVELS = 61


class BatteryParameters(Parameters):
    risk_weight: float = Field(0.5, ge=0.0, le=1.0, description="weight of the worst days against the mean")
    level: float = Field(0.25, ge=0.05, le=1.0, description="the share of worst days that is minded")
    periods: int = Field(16, ge=4, le=20, description="trading periods of a day")
    spikes: float = Field(0.25, ge=0.15, le=0.5, description="chance of a price spike in a nervous market, about")


class BatteryView(View):
    show: Literal["trades", "profit"] = Field("trades", description="when trades are made, or what a day brings")


class BatteryArbitrage(Lab[BatteryParameters, BatteryView]):
    """Solves drawn markets for the mean and for a weighted sum of mean and expected shortfall, exactly."""

    name = "battery-arbitrage"
    title = "Trade when the price is sure"
    claim = (
        "With weight on its worst days, the battery trades less, and a smaller part of its trades settle at unsure "
        "prices."
    )
    chapter = 8
    source = Source(
        reference="Karimi Madahi, Claessens & Develder (2023), Distributional Reinforcement Learning-based Energy "
        "Arbitrage Strategies in Imbalance Settlement Mechanism",
        where="abstract: (dis)charging only when the agent is more certain about the price",
    )
    papers = ("distributional_battery_arbitrage",)
    mechanism_only = True
    Parameters = BatteryParameters
    View = BatteryView
    canonical = (BatteryParameters(), BatteryParameters(risk_weight=0.3))
    controls = (BatteryParameters(risk_weight=0.0), BatteryParameters(level=1.0))
    preview_seeds = 1
    verdict_seeds = 10  # markets, each solved twice; they differ little

    def run(self, parameters: BatteryParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        measure = ExpectedShortfall(parameters.level)
        levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
        trades = np.empty((len(seeds), 2, len(BASES), len(REGIMES)))
        profit, quantile = np.empty((len(seeds), 2, 2)), np.empty((len(seeds), 2, _LEVELS))
        for row, seed in enumerate(seeds):
            returns = augment(_market(parameters.spikes, seed), parameters.periods)
            for who, weight in enumerate((0.0, parameters.risk_weight)):
                context.progress((row + who / 2) / len(seeds))
                minds_all = weight == 0 or parameters.level == 1
                score = ShortfallScore(1.0) if minds_all else ShortfallScore(parameters.level, weight)
                solved = minimal_static_risk(returns, score, tolerance=_TOLERANCE, cancel=context.cancel_flag)
                trades[row, who] = _trades(returns, solved)
                profit[row, who] = solved.law.means()[0], measure.of(solved.law)[0]
                quantile[row, who] = solved.law.quantiles(levels)[0]
        return self.stamp(
            xr.Dataset(
                {
                    "trades": (("seed", "agent", "base", "mood"), trades),
                    "profit": (("seed", "agent", "statistic"), profit),
                    "quantile": (("seed", "agent", "share"), quantile),
                },
                coords={
                    "seed": list(seeds),
                    "agent": ["neutral", "averse"],
                    "base": list(BASES),
                    "mood": list(REGIMES),
                    "statistic": ["mean", "shortfall"],
                    "share": levels,
                },
            ),
            parameters,
        )

    def figure(self, result: xr.Dataset, view: BatteryView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        names = ("neutral", f"weight {parameters.risk_weight:g} on the worst {parameters.level:.0%}")
        markets = result.sizes["seed"]
        which = "mean" if view.show == "trades" else "left: the first"
        said = "one market" if markets == 1 else f"{markets} markets ({which})"
        traces = _trade_traces(result, names) if view.show == "trades" else _profit_traces(result, names)
        axes: dict[str, Any] = {
            "xaxis": axis("base price, calm", domain=[0.0, 0.46], type="category"),
            "yaxis": axis("trades a day"),
            "xaxis2": axis("base price, nervous", domain=[0.54, 1.0], anchor="y2", type="category"),
            "yaxis2": axis("", anchor="x2", matches="y", showticklabels=False),
            "barmode": "group",
        }
        if view.show == "profit":
            axes = {
                "xaxis": axis("profit of a day", domain=[0.0, 0.44]),
                "yaxis": axis("share of days up to it"),
                "xaxis2": axis("mean profit", domain=[0.62, 1.0], anchor="y2"),
                "yaxis2": axis(f"mean of the worst {parameters.level:.0%}", anchor="x2"),
            }
        return go.Figure(
            data=traces,
            layout=layout(
                **judged_title(
                    f"{'Trades' if view.show == 'trades' else 'Profits'} in {said}",
                    "judged: fewer trades, and a smaller part of them in nervous markets",
                ),
                **{"height": 450, "uirevision": view.show, **axes},
            ),
        )

    def alt_text(self, result: xr.Dataset, view: BatteryView) -> str:
        calm, nervous = result["trades"].mean("seed").sum("base").transpose("mood", "agent").values
        if view.show == "trades":
            return (
                f"Trades a day by base price, for the neutral and the averse battery: in calm markets {calm[0]:.2f} "
                f"and {calm[1]:.2f} in all, in nervous ones {nervous[0]:.2f} and {nervous[1]:.2f}."
            )
        (mean, worst), (averse_mean, averse_worst) = result["profit"].mean("seed").values
        return (
            f"Distribution functions of a day's profit, and mean profit against the mean of the worst days: "
            f"{mean:.3g} and {worst:.3g} for the neutral battery, {averse_mean:.3g} and {averse_worst:.3g} for the "
            f"averse one."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        trades = result["trades"].sum("base").values  # (seed, agent, mood)
        made = trades.sum(axis=2)
        # Who never trades makes no trade at an unsure price either.
        unsure = np.divide(trades[:, :, 1], made, out=np.zeros_like(made), where=made > 0)
        fewer = student_interval(1 - made[:, 1] / made[:, 0])
        surer = student_interval(unsure[:, 0] - unsure[:, 1])
        estimate, interval = min(fewer, surer, key=lambda each: each[1][0])
        profit = result["profit"].mean("seed").values
        idle = int(np.sum(made[:, 1] == 0))
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="the smaller of the part of trades not made, and the fall in the part made in nervous markets",
            estimate=estimate,
            interval=interval,
            interval_kind="95% Student t over drawn markets",
            relation=">=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=(
                f"{made[:, 0].mean():.2f} trades a day become {made[:, 1].mean():.2f}, and their part in nervous "
                f"markets {unsure[:, 0].mean():.0%} becomes {unsure[:, 1].mean():.0%}; mean profit falls from "
                f"{profit[0, 0]:.3g} to {profit[1, 0]:.3g}, worst days rise from {profit[0, 1]:.3g} to "
                f"{profit[1, 1]:.3g}; {idle} averse batteries never trade; "
                "market and weights were chosen after seeing results"
            ),
        )


@lru_cache(maxsize=64)
def _market(spikes: float, seed: int) -> FiniteMDP:
    """A market whose spikes and moods are drawn: their chances lie within 0.1 and 0.05 of the middle."""
    drawn = 2 * keyed_uniforms(seed, 2, purpose=_PURPOSE) - 1
    chances = {"nervous_spikes": spikes + 0.1 * float(drawn[0]), "turning": 0.15 + 0.05 * float(drawn[1])}
    return make("battery", discount=1.0, **chances)


def _trades(returns: AugmentedReturns, solved: StaticRiskSolution) -> NDArray[np.float64]:
    """Expected trades of a day by base price and mood, (bases, moods)."""
    mdp = returns.mdp
    made = np.zeros(mdp.n_states)
    for mass, places in zip(returns.occupancies(solved.policy), solved.policy, strict=False):
        label = mdp.action[mdp.state_ptr[:-1, None] + places]
        made += np.where(label != _WAIT, mass, 0.0).sum(axis=1)
    return made.reshape(len(BASES), len(REGIMES), -1).sum(axis=2)


def _trade_traces(result: xr.Dataset, names: tuple[str, str]) -> list[dict[str, Any]]:
    trades = result["trades"].mean("seed").values
    return [
        {
            "type": "bar",
            "x": [f"{base:g}" for base in BASES],
            "y": trades[who, :, mood],
            "name": names[who],
            "marker": {"color": colour},
            "legendgroup": names[who],
            "showlegend": mood == 0,
            "xaxis": axes[0],
            "yaxis": axes[1],
        }
        for mood, axes in enumerate((("x", "y"), RIGHT))
        for who, colour in enumerate((ORANGE, BLUE))
    ]


def _profit_traces(result: xr.Dataset, names: tuple[str, str]) -> list[dict[str, Any]]:
    quantile, share = result["quantile"].values[0], result["share"].values
    profit = result["profit"].values
    traces = [line(quantile[who], share, names[who], colour, shape="hv") for who, colour in enumerate((ORANGE, BLUE))]
    traces += [
        {**line(market[:, 0], market[:, 1], "same market", GREY, axes=RIGHT), "showlegend": False} for market in profit
    ]
    for who, colour in enumerate((ORANGE, BLUE)):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": profit[:, who, 0],
                "y": profit[:, who, 1],
                "marker": {"size": 9, "color": colour},
                "name": names[who],
                "showlegend": False,
                "xaxis": RIGHT[0],
                "yaxis": RIGHT[1],
            }
        )
    return traces
