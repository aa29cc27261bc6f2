"""Lab: the law of the return, moved by projected backups, and how near its resting place is to the truth.

Two theorems are held against laws that are known almost exactly. Masses on fixed atoms come to rest within
sqrt(gap / (4 (1 - discount))) of the return law in Cramer distance, m quantiles within range / (2 m (1 - discount)) in
Wasserstein-1 distance, m particles, drawn one from each m-th of the levels, within twice that. Of expectiles nothing
is proven: they can be looked at, beside the bound of as many quantiles, and their verdict stays open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch08_distributional.decade_axis import decade_axis
from rlbook.chapters.ch08_distributional.moving_worlds import (
    Form,
    Movement,
    MovingWorld,
    Truth,
    bin_edges,
    bin_shares,
    distance_and_reach,
    moving_world,
    proven_bound,
    representation_of,
)
from rlbook.figures.lines import BELOW, LEFT, RIGHT, line
from rlbook.figures.style import BLUE, GREY, ORANGE, VERMILION, axis, judged_title, layout, translucent
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.distributional import DiscreteLaws
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

# Written down before any result. The bounds are theorems, so the farthest state of every world must lie within: a share
# of 1 of the bound. What is not known of the truth, and what sweeps left undone, widens the interval.
_THRESHOLD = 1.0

_AXES = {"Cramer": "Cramer", "Wasserstein-1": "W1", "Wasserstein-infinity": "W-infinity"}  # the axis has little room
_LEVELS = np.linspace(0.0025, 0.9975, 200)


class MovingParameters(Parameters):
    world: MovingWorld = Field("garnet", description="random transitions, coin flips for ever, or a rare prize")
    representation: Form = Field("quantiles", description="m quantiles, masses on m atoms, particles, or expectiles")
    m: int = Field(15, ge=2, le=101, description="numbers per law; of expectiles one more where m is even")
    discount: float = Field(0.8, ge=0.05, le=0.95, description="discount factor of the return")
    rewards: Literal["each", "expected"] = Field(
        "each", description="back up the reward of each transition, or put the pair's expected reward in its place"
    )
    metric: Literal["proven", "W-infinity"] = Field(
        "proven",
        description="hold the bound against the distance it is proven for, or against the largest quantile gap",
    )


class MovingView(View):
    sweep: int = Field(3, ge=0, description="how many sweeps have been made")
    state: int = Field(0, ge=0, description="the state whose law is drawn")
    world: int = Field(0, ge=0, description="which of the worlds, by seed, is drawn")


class MovingLaw(Lab[MovingParameters, MovingView]):
    """Projected backups from the point mass at 0 to their fixed point, against exact return laws."""

    name = "moving-law"
    title = "The law of the return, on the move"
    claim = (
        "Projected backups bring the law of the return to rest within the proven distance of the true one, in every "
        "state."
    )
    chapter = 8
    source = Source(
        reference="Bellemare, Dabney & Rowland (2023), Distributional Reinforcement Learning",
        where="section 5.10; the bounds as derived at Categorical.error_bound and Quantiles.wasserstein_bound",
    )
    Parameters = MovingParameters
    View = MovingView
    canonical = (
        MovingParameters(),
        MovingParameters(world="bits", m=7, discount=0.5),
        MovingParameters(world="jackpot", m=20, discount=0.5),
        MovingParameters(representation="categorical"),
        MovingParameters(representation="categorical", world="bits", m=31, discount=0.9),
        MovingParameters(representation="particles"),
    )
    controls = (
        MovingParameters(world="jackpot", m=20, discount=0.5, metric="W-infinity"),
        MovingParameters(world="bits", m=51, discount=0.5, rewards="expected"),
        MovingParameters(representation="categorical", world="bits", m=51, discount=0.5, rewards="expected"),
    )
    preview_seeds = 1
    verdict_seeds = 5

    def run(self, parameters: MovingParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        metric = metric_of(parameters)
        rows = []
        for row, seed in enumerate(seeds):
            context.check()
            mdp = moving_world(parameters.world, parameters.discount, seed)
            truth = Truth.of(mdp)
            representation = representation_of(parameters.representation, parameters.m, mdp, seed)
            moved = mdp if parameters.rewards == "each" else mdp.replace(reward=None)
            movement = Movement.of(moved, representation)
            laws = [representation.laws(table) for table in movement.parameters]
            distances, reaches = zip(*(distance_and_reach(each, truth, metric) for each in laws), strict=True)
            edges = bin_edges(representation, mdp)
            rows.append(
                {
                    "parameter": movement.parameters,
                    "distance": np.stack(distances),
                    "reach": reaches[-1] + movement.remaining,
                    "bound": proven_bound(representation, mdp),
                    "edge": edges,
                    "true_cdf": truth.laws.cdf(edges),
                    "true_quantile": truth.laws.quantiles(_LEVELS),
                }
            )
            context.progress((row + 1) / len(seeds))
        dims = {
            "parameter": ("seed", "sweep", "state", "number"),
            "distance": ("seed", "sweep", "state"),
            "reach": ("seed", "state"),
            "bound": ("seed",),
            "edge": ("seed", "bin_edge"),
            "true_cdf": ("seed", "state", "bin_edge"),
            "true_quantile": ("seed", "state", "level"),
        }
        return self.stamp(
            xr.Dataset(
                {name: (where, np.stack([row[name] for row in rows])) for name, where in dims.items()},
                coords={"seed": list(seeds), "level": _LEVELS},
            ),
            parameters,
        )

    def view_values(self, result: xr.Dataset) -> Mapping[str, Sequence[Any]]:
        return {
            "sweep": range(result.sizes["sweep"]),
            "state": range(result.sizes["state"]),
            "world": range(result.sizes["seed"]),
        }

    def figure(self, result: xr.Dataset, view: MovingView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        shown, one = _shown(parameters, result, view), result.isel(seed=view.world)
        edge, true_cdf = one["edge"].values, one["true_cdf"].values[view.state]
        middle, width = (edge[1:] + edge[:-1]) / 2, np.diff(edge)
        distance, bound = one["distance"].values[:, view.state], float(one["bound"])
        sweeps = np.arange(len(distance))
        metric = metric_of(parameters)
        traces: list[dict[str, Any]] = [
            {
                "type": "bar",
                "x": middle,
                "y": bin_shares(shown.cdf(edge)[0]),
                "width": width,
                "name": f"sweep {view.sweep}",
                "marker": {"color": translucent(BLUE, 0.75), "line": {"width": 0}},
                "xaxis": LEFT[0],
                "yaxis": LEFT[1],
                "legendgroup": "moving",
            },
            {**line(middle, bin_shares(true_cdf), "true law", ORANGE, shape="hvh"), "legendgroup": "true"},
            {
                **line(_LEVELS, shown.quantiles(_LEVELS)[0], "", BLUE, axes=RIGHT, shape="hvh"),
                "showlegend": False,
                "legendgroup": "moving",
            },
            {
                **line(_LEVELS, one["true_quantile"].values[view.state], "", ORANGE, axes=RIGHT, shape="hvh"),
                "showlegend": False,
                "legendgroup": "true",
            },
            line(
                sweeps,
                np.where(distance > 0, distance, np.nan),
                "distance from the true law",
                BLUE,
                axes=BELOW,
            ),
            line(sweeps, np.full(len(sweeps), bound), _bound_name(parameters), VERMILION, axes=BELOW, dash="dash"),
            {
                "type": "scatter",
                "mode": "markers",
                "x": [view.sweep],
                "y": [distance[view.sweep] if distance[view.sweep] > 0 else None],
                "marker": {"size": 11, "color": BLUE, "line": {"width": 2, "color": GREY}},
                "showlegend": False,
                "name": "this sweep",
                "xaxis": BELOW[0],
                "yaxis": BELOW[1],
            },
        ]
        return go.Figure(
            data=traces,
            layout=layout(
                **judged_title(
                    _title(parameters, view),
                    "nothing is proven of expectiles: the bound is that of quantiles"
                    if parameters.representation == "expectiles"
                    else "judged: the distance at rest, of the farthest state, over the bound",
                    rows=2,
                    columns=2,
                ),
                xaxis=axis("return", domain=[0.0, 0.42], anchor="y"),
                yaxis=axis("probability per bin", domain=[0.42, 1.0], anchor="x", rangemode="tozero"),
                xaxis2=axis("level", domain=[0.6, 1.0], anchor="y2", range=[0, 1]),
                yaxis2=axis("quantile of the return", domain=[0.42, 1.0], anchor="x2"),
                xaxis3=axis("sweeps", anchor="y3"),
                yaxis3=decade_axis(_AXES[metric], traces, BELOW, domain=[0.0, 0.24], anchor="x3"),
                bargap=0,
                height=640,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: MovingView) -> str:
        parameters = self.parameters_of(result)
        one = result.isel(seed=view.world)
        shown = _shown(parameters, result, view)
        distance = one["distance"].values[:, view.state]
        return (
            f"Histogram and quantile function of the return from state {view.state} at sweep {view.sweep}, beside "
            f"those of the true law: mean {shown.means()[0]:.3g}, standard deviation "
            f"{np.sqrt(shown.variances()[0]):.3g}; below, the {metric_of(parameters)} distance between the two goes "
            f"from {distance[0]:.3g} to {distance[-1]:.3g} in {len(distance) - 1} sweeps, beside a bound of "
            f"{float(one['bound']):.3g}."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        parameters = self.parameters_of(result)
        unproven = parameters.representation == "expectiles"
        bound = result["bound"].values[:, None]
        last, reach = result["distance"].values[:, -1], result["reach"].values
        share = last / bound
        least, most = np.maximum(last - reach, 0.0) / bound, (last + reach) / bound
        row, state = np.unravel_index(np.argmax(share), share.shape)
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic=f"largest {metric_of(parameters)} distance from the true law / proven bound",
            estimate=float(share[row, state]),
            interval=(float(least.max()), float(most.max())),
            interval_kind="what is not known of the true law, and what sweeps left undone",
            relation="<=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=(
                f"farthest in world {int(result['seed'][row])}, state {state}: {last[row, state]:.4g}, where the bound "
                f"says {bound[row, 0]:.4g}"
                + ("; it is that of as many quantiles, and nothing is proven for expectiles" if unproven else "")
            ),
        )


def metric_of(parameters: MovingParameters) -> Literal["Cramer", "Wasserstein-1", "Wasserstein-infinity"]:
    """The distance that is judged and drawn."""
    if parameters.metric == "W-infinity":
        return "Wasserstein-infinity"
    return "Cramer" if parameters.representation == "categorical" else "Wasserstein-1"


def _shown(parameters: MovingParameters, result: xr.Dataset, view: MovingView) -> DiscreteLaws:
    """The law that the view asks for."""
    seed = int(result["seed"][view.world])
    mdp = moving_world(parameters.world, parameters.discount, seed)
    representation = representation_of(parameters.representation, parameters.m, mdp, seed)
    return representation.laws(result["parameter"].values[view.world, view.sweep, view.state][None])


def _bound_name(parameters: MovingParameters) -> str:
    if parameters.representation == "expectiles":
        return "bound of as many quantiles"
    if parameters.metric == "W-infinity":
        return "bound for another distance"
    return "proven bound at rest"


def _title(parameters: MovingParameters, view: MovingView) -> str:
    form = {
        "quantiles": f"{parameters.m} quantiles",
        "categorical": f"Masses on {parameters.m} atoms",
        "particles": f"{parameters.m} particles",
        "expectiles": f"{parameters.m + 1 - parameters.m % 2} expectiles",
    }[parameters.representation]
    return f"{form}, {parameters.world}, discount {parameters.discount:g}, sweep {view.sweep}"
