"""Lab: which metrics between laws of the return does a backup shrink, and by how much?

A modulus is for the evaluation operator; the others are held against the same one. On fixed atoms it stays for all l_p
distances (the projection averages distribution functions over gaps), on quantiles for W-infinity alone. The greedy
operator contracts in means alone; in the metrics it is not even continuous: where two actions nearly tie, laws that are
as near as one likes are sent to others that are far apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch08_distributional.contraction_ratios import bare_ratios, largest, ratios, worst_ratios
from rlbook.chapters.ch08_distributional.contraction_worlds import (
    ATOMS,
    DISTANCES,
    POWERS,
    Metric,
    RaceWorld,
    modulus,
    race_pair,
    race_world,
)
from rlbook.chapters.ch08_distributional.decade_axis import decade_axis
from rlbook.figures.lines import LEFT, RIGHT, line
from rlbook.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW, axis, judged_title, layout
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.distributional import (
    Categorical,
    DiscreteLaws,
    Quantiles,
    Representation,
    greedy_return_law_backup,
    policy_return_rows,
)
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from rlbook.mdp import FiniteMDP

Operator = Literal["evaluation", "categorical", "quantile", "optimality"]

# Written down before any result. A modulus is a bound for every pair and every backup, so the worst ratio of a distance
# to (modulus x the one before) may not exceed 1, but for what `contraction_ratios` allows to rounding.
_THRESHOLD = 1.0

_COLOURS = {
    "W1": BLUE,
    "W-infinity": SKY,
    "Cramer": GREEN,
    "energy MMD": ORANGE,
    "Gaussian MMD": VERMILION,
    "total variation": PURPLE,
    "KL": YELLOW,
}
_SUPPORT = (-20.0, 20.0, 41)


class RaceParameters(Parameters):
    operator: Operator = Field("evaluation", description="what is applied: T^pi, its projections, or greedy backups")
    metric: Metric = Field("W1", description="the metric that is judged; all are drawn")
    world: RaceWorld = Field("garnet", description="random, a ring without chance, or one of two counterexamples")
    discount: float = Field(0.9, ge=0.05, le=0.99, description="discount factor of the return")
    backups: int = Field(5, ge=1, le=6, description="number of backups")


class RaceView(View):
    pair: int = Field(0, ge=0, description="the pair of tables of laws whose distances are drawn")
    absolute: bool = Field(False, description="draw distances as they are, instead of shares of the first")


class ContractionRace(Lab[RaceParameters, RaceView]):
    """Applies one operator to two tables of laws, and measures their distance in twelve metrics after each backup."""

    name = "contraction-race"
    title = "Which distances shrink?"
    claim = (
        "Each backup brings the largest distance over states between two tables of laws down to at most the modulus "
        "times what it was, in the metric chosen."
    )
    chapter = 8
    source = Source(
        reference="Bellemare, Dabney & Rowland (2023), Distributional Reinforcement Learning",
        where="sections 4.4 (Wasserstein), 4.5 (l_p and Cramer), 5.9 (projected operators) and chapter 7 (control)",
    )
    Parameters = RaceParameters
    View = RaceView
    canonical = (
        RaceParameters(),
        RaceParameters(metric="W-infinity", world="ring", discount=0.5),
        RaceParameters(metric="l3", world="ring"),
        RaceParameters(metric="Cramer", discount=0.5),
        RaceParameters(metric="energy MMD", world="ring"),
        RaceParameters(metric="multiquadric MMD"),
        RaceParameters(operator="categorical", metric="Cramer"),
        RaceParameters(operator="quantile", metric="W-infinity"),
        RaceParameters(operator="quantile", metric="W-infinity", world="crossing"),
        RaceParameters(operator="optimality", metric="means", world="tie"),
    )
    controls = (
        RaceParameters(metric="Kolmogorov", world="ring"),
        RaceParameters(metric="total variation", world="ring"),
        RaceParameters(metric="KL", world="ring"),
        RaceParameters(metric="Gaussian MMD", world="ring"),
        RaceParameters(operator="categorical", metric="W-infinity", world="ring"),
        RaceParameters(operator="quantile", metric="W1", world="crossing"),
        RaceParameters(operator="quantile", metric="Cramer", world="crossing"),
        RaceParameters(operator="optimality", metric="W1", world="tie"),
        RaceParameters(operator="optimality", metric="Cramer", world="tie"),
    )
    preview_seeds = 1
    verdict_seeds = 20

    def run(self, parameters: RaceParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        distance = np.empty((len(seeds), len(DISTANCES), parameters.backups + 1))
        for row, seed in enumerate(seeds):
            mdp = race_world(parameters.world, parameters.discount, seed)
            apply, representation = operator_of(parameters, mdp)
            pair = race_pair(parameters.world, seed)
            if representation is not None:
                pair = _projected(representation, pair[0]), _projected(representation, pair[1])
            for k in range(parameters.backups + 1):
                if k > 0:
                    pair = apply(pair[0]), apply(pair[1])
                distance[row, :, k] = [between(*pair).max() for between in DISTANCES.values()]
            context.progress((row + 1) / len(seeds))
        return self.stamp(
            xr.Dataset(
                {"distance": (("seed", "metric", "backup"), distance)},
                coords={
                    "seed": list(seeds),
                    "metric": list(DISTANCES),
                    "backup": np.arange(parameters.backups + 1),
                },
            ),
            parameters,
        )

    def view_values(self, result: xr.Dataset) -> Mapping[str, Sequence[Any]]:
        return {"pair": range(result.sizes["seed"])}

    def figure(self, result: xr.Dataset, view: RaceView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        backup = result["backup"].values
        traces: list[dict[str, Any]] = []
        for metric, colour in {**_COLOURS, parameters.metric: _colour(parameters.metric)}.items():
            distance = result["distance"].sel(metric=metric).values[view.pair]
            if not (np.isfinite(distance[0]) and distance[0] > 0):
                continue
            unit = 1.0 if view.absolute else distance[0]
            judged = metric == parameters.metric
            shown = np.where(distance > 0, distance / unit, np.nan)
            traces.append(line(backup, shown, metric, colour, markers=judged, width=4 if judged else 1.5))
            if judged:
                bound = modulus(metric, parameters.discount) ** backup * distance[0] / unit
                traces.append(line(backup, bound, f"modulus of {metric}", colour, dash="dash"))
        worst = worst_ratios(result, parameters.discount)
        names = [name for name in DISTANCES if np.isfinite(worst[name])]
        traces += [
            line(np.ones(len(names)), np.array(names), "modulus", GREY, axes=RIGHT, dash="dash"),
            {
                "type": "scatter",
                "mode": "markers",
                "x": [worst[name] for name in names],
                "y": names,
                "marker": {
                    "size": [15 if name == parameters.metric else 9 for name in names],
                    "color": [_colour(name) for name in names],
                    "opacity": 1.0,
                },
                "name": "worst ratio",
                "xaxis": RIGHT[0],
                "yaxis": RIGHT[1],
            },
        ]
        said = f"discount^{POWERS[parameters.metric]:.3g}"
        return go.Figure(
            data=traces,
            layout=layout(
                **{
                    **judged_title(
                        f"{_operator(parameters)}, {parameters.world}, discount {parameters.discount:g}",
                        f"bold: {parameters.metric}, judged; dashed: its modulus, {said}",
                    ),
                    "margin": {"l": 60, "r": 20, "t": 76, "b": 58},
                },
                xaxis=axis("backups", dtick=1, range=[-0.08 * backup[-1], 1.04 * backup[-1]]),
                yaxis=decade_axis(
                    "largest distance" if view.absolute else "distance / first", traces, LEFT, domain=[0.6, 1.0]
                ),
                xaxis2=axis(
                    "worst ratio: after / (modulus x before)",
                    anchor="y2",
                    **(
                        {"type": "log", "tickvals": [0.1, 0.3, 1, 3, 10, 30, 100, 300]}
                        if max(worst[name] for name in names) > 3
                        else {}
                    ),
                ),
                yaxis2=axis("metric", anchor="x2", domain=[0.0, 0.44], autorange="reversed", dtick=1),
                showlegend=False,  # the lower part names the colours
                height=680,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: RaceView) -> str:
        parameters = self.parameters_of(result)
        distance = result["distance"].sel(metric=parameters.metric).values[view.pair]
        worst = worst_ratios(result, parameters.discount)
        over = [name for name, ratio in worst.items() if ratio > _THRESHOLD]
        return (
            f"Distances between two tables of laws against backups on a log scale, one line a metric: "
            f"{parameters.metric} goes from {distance[0]:.3g} to {distance[-1]:.3g} in {len(distance) - 1} backups; "
            f"below it the worst ratio of each metric to its modulus, which is above 1 for "
            f"{', '.join(over) if over else 'none'}."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        parameters = self.parameters_of(result)
        ratio = ratios(result, parameters.metric, parameters.discount)
        worst = largest(ratio)
        bare = bare_ratios(result, parameters.metric, parameters.discount)
        share = modulus(parameters.metric, parameters.discount)
        if worst <= _THRESHOLD:
            note = f"the modulus is {share:.4g}; the pair that came nearest reached {100 * largest(bare):.4g}% of it"
        else:
            row, step = np.unravel_index(np.nanargmax(ratio), ratio.shape)
            note = (
                f"held against {share:.4g}, pair {int(result['seed'][row])} keeps "
                f"{bare[row, step] * share:.4g} of its distance in backup {step + 1}"
            )
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic=f"largest {parameters.metric} distance after a backup / (modulus x before + rounding)",
            estimate=worst,
            interval=(worst, worst),
            interval_kind="computed for every pair and backup from exact laws; rounding is allowed for",
            relation="<=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=note,
        )


def operator_of(
    parameters: RaceParameters, mdp: FiniteMDP
) -> tuple[Callable[[DiscreteLaws], DiscreteLaws], Representation | None]:
    """What one backup does to a table of laws, and the representation that it projects to, if any."""
    if parameters.operator == "optimality":
        return lambda laws: greedy_return_law_backup(mdp, laws)[0], None
    rows = policy_return_rows(mdp, np.zeros(mdp.n_states, dtype=np.int32))
    if parameters.operator == "evaluation":
        return rows.backup, None
    chosen: Representation = Quantiles(2 if parameters.world == "crossing" else ATOMS)
    if parameters.operator == "categorical":
        chosen = Categorical.uniform(*_SUPPORT)
    return lambda laws: _projected(chosen, rows.backup(laws)), chosen


def _colour(metric: str) -> str:
    return _COLOURS.get(metric, GREY)


def _projected(representation: Representation, laws: DiscreteLaws) -> DiscreteLaws:
    return representation.laws(representation.project(laws))


def _operator(parameters: RaceParameters) -> str:
    return {
        "evaluation": "Evaluation",
        "categorical": "Evaluation on fixed atoms",
        "quantile": "Evaluation on quantiles",
        "optimality": "Greedy backups",
    }[parameters.operator]
