"""Lab: three policies for sepsis patients in intensive care, valued exactly on an MDP estimated from real records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from rlbook.environments import make
from rlbook.figures.style import BLUE, GREY, ORANGE, VERMILION, axis, layout
from rlbook.lab import Context, Lab
from rlbook.mdp import FiniteMDP
from rlbook.parameters import Parameters, View
from rlbook.tabular.policies import induced_chain
from rlbook.tabular.solution import Solution
from rlbook.tabular.solving import solve
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

POLICIES = ("random", "clinicians", "optimal")
PUBLISHED_RETURN = (0.78, 0.78, 0.88)
PUBLISHED_LENGTH = (9.45, 9.22, 10.99)
HALF_DIGIT = 0.005  # the published averages are rounded to two decimals
_COLOURS = (GREY, ORANGE, BLUE)
_TOLERANCE = 1e-5  # in units of return: a five-hundredth of what the claim is judged by


class SepsisParameters(Parameters):
    discount: float = Field(1.0, ge=0.9, le=1.0, description="discount factor; published averages are at 1")


class SepsisView(View):
    show: Literal["averages", "episode lengths", "state by state"] = Field(
        "averages", description="average return, average episode length, or the value of every state"
    )


class ICUSepsisOptimal(Lab[SepsisParameters, SepsisView]):
    """Solves ICU-Sepsis, and evaluates the clinicians' and the random policy on it; nothing is sampled."""

    name = "icu-sepsis-optimal"
    title = "Optimal treatment on ICU-Sepsis"
    claim = (
        "On ICU-Sepsis the average return is 0.78 for the random policy, 0.78 for the clinicians' and 0.88 for the "
        "optimal one, to the two decimals published."
    )
    chapter = 2
    source = Source(
        reference="Choudhary, Gupta & Thomas (2024), ICU-Sepsis: A Benchmark MDP Built from Real Medical Data",
        where="table of baselines on the page of its package, icu-sepsis 2.0.1 (random, expert and optimal policy)",
    )
    Parameters = SepsisParameters
    View = SepsisView
    canonical = (SepsisParameters(),)
    controls = (SepsisParameters(discount=0.95),)
    # The three values are computed, not sampled: every seed would give the same.
    preview_seeds = 1
    verdict_seeds = 1

    def run(self, parameters: SepsisParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        solutions, lengths = [], []
        best = solve(sepsis(parameters.discount), _TOLERANCE, cancel=context.cancel_flag)
        for done, policy in enumerate(POLICIES):
            context.progress(done / len(POLICIES), policy)
            chain = _optimal_chain(best) if policy == "optimal" else _chain(policy)
            solutions.append(
                best if policy == "optimal" else solve(chain.replace(discount=parameters.discount), _TOLERANCE)
            )
            lengths.append(_episode_length(chain) if policy == "optimal" else _fixed_length(policy))
        context.check()
        return self.stamp(
            xr.Dataset(
                {
                    "average_return": (("seed", "policy"), _per_seed([s.value_at_start for s in solutions], seeds)),
                    "lower": (("seed", "policy"), _per_seed([s.start_bounds[0] for s in solutions], seeds)),
                    "upper": (("seed", "policy"), _per_seed([s.start_bounds[1] for s in solutions], seeds)),
                    "episode_length": (("seed", "policy"), _per_seed(lengths, seeds)),
                    "values": (("policy", "state"), np.array([s.values for s in solutions])),
                },
                coords={"seed": list(seeds), "policy": list(POLICIES)},
            ),
            parameters,
        )

    def figure(self, result: xr.Dataset, view: SepsisView) -> go.Figure:
        import plotly.graph_objects as go

        discount = self.parameters_of(result).discount
        if view.show == "state by state":
            return go.Figure(data=_state_traces(result), layout=_state_layout(discount))
        if view.show == "averages":
            heights, published, unit = result["average_return"].values[0], PUBLISHED_RETURN, "average return (survival)"
            title = f"Average return from the first state, discount {discount:g}"
        else:
            heights, published, unit = result["episode_length"].values[0], PUBLISHED_LENGTH, "average length, steps"
            title = "Average length of an episode"
        bars = {
            "type": "bar",
            "x": list(POLICIES),
            "y": heights,
            "marker": {"color": list(_COLOURS)},
            "text": [f"{h:.3f}" for h in heights],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "name": "computed",
            "width": 0.55,
        }
        marks = {
            "type": "scatter",
            "mode": "markers",
            "x": list(POLICIES),
            "y": list(published),
            "marker": {"symbol": "line-ew", "size": 60, "line": {"width": 3, "color": VERMILION}},
            "name": "published (discount 1)",
        }
        return go.Figure(
            data=[bars, marks],
            layout=layout(
                title={"text": title},
                xaxis=axis("policy"),
                yaxis=axis(unit, range=[0, 1.15 * max(*heights, *published)]),
                margin={"l": 60, "r": 20, "t": 80, "b": 50},
            ),
        )

    def alt_text(self, result: xr.Dataset, view: SepsisView) -> str:
        returns = result["average_return"].values[0]
        listed = ", ".join(f"{p} {r:.3f}" for p, r in zip(POLICIES, returns, strict=True))
        if view.show == "state by state":
            values = result["values"].values[:, :-3]
            optimal, clinicians = values[POLICIES.index("optimal")], values[POLICIES.index("clinicians")]
            gain = optimal - clinicians
            return (
                f"Values of {values.shape[1]} patient states under the three policies, sorted by the optimal value; "
                f"optimal treatment gains between {gain.min():.3f} and {gain.max():.3f} over the clinicians' "
                f"(average returns: {listed})."
            )
        if view.show == "episode lengths":
            lengths = result["episode_length"].values[0]
            steps = ", ".join(f"{p} {n:.2f}" for p, n in zip(POLICIES, lengths, strict=True))
            return f"Bars of the average episode length in steps, with the published ones as marks: {steps}."
        return f"Bars of the average return of three policies, with the published averages as marks: {listed}."

    def verdict(self, result: xr.Dataset) -> Verdict:
        published = np.array(PUBLISHED_RETURN)
        middle, low, high = (result[name].values[0] for name in ("average_return", "lower", "upper"))
        deviation = np.abs(middle - published)
        # The deviation of anything between the bounds lies between these two.
        closest = np.where(
            (low <= published) & (published <= high), 0.0, np.minimum(abs(low - published), abs(high - published))
        )
        farthest = np.maximum(np.abs(low - published), np.abs(high - published))
        worst = int(np.argmax(deviation))
        discount = self.parameters_of(result).discount
        note = f"farthest: {POLICIES[worst]}, {middle[worst]:.4f} against {published[worst]:.2f}"
        if discount < 1:
            note += f"; the published averages are undiscounted, here the discount is {discount:g}"
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="largest |computed - published| over the three policies",
            estimate=float(deviation.max()),
            interval=(float(closest.max()), float(farthest.max())),
            interval_kind="certified bounds of the three values",
            relation="<=",
            threshold=HALF_DIGIT,
            n=result.sizes["seed"],
            note=note,
        )


@lru_cache(maxsize=1)
def _undiscounted() -> FiniteMDP:
    return make("icu-sepsis", discount=1.0)


def sepsis(discount: float) -> FiniteMDP:
    """ICU-Sepsis at a discount; read once."""
    return _undiscounted().replace(discount=discount)


@lru_cache(maxsize=2)
def _chain(policy: str) -> FiniteMDP:
    """The undiscounted chain of a named policy."""
    return induced_chain(_undiscounted(), _undiscounted().policies[policy])


@lru_cache(maxsize=2)
def _fixed_length(policy: str) -> float:
    return _episode_length(_chain(policy))


def _optimal_chain(best: Solution) -> FiniteMDP:
    return induced_chain(_undiscounted(), best.policy)


def _episode_length(chain: FiniteMDP) -> float:
    """Expected number of steps from the start: the value of a chain that pays 1 a step."""
    counting = chain.replace(expected_reward=np.ones(chain.n_pairs), reward=None)
    return solve(counting, _TOLERANCE).value_at_start


def _per_seed(numbers: list[float], seeds: Sequence[int]) -> np.ndarray:
    return np.tile(np.array(numbers), (len(seeds), 1))


def _state_traces(result: xr.Dataset) -> list[dict[str, object]]:
    values = result["values"].values[:, :-3]  # the last three states are terminal
    order = np.argsort(values[POLICIES.index("optimal")])
    modes, symbols = ("markers", "markers", "lines"), ("circle", "cross-thin-open", "circle")
    looks = zip(POLICIES, values, _COLOURS, modes, symbols, strict=True)
    return [
        {
            "type": "scatter",
            "mode": mode,
            "x": np.arange(1, len(order) + 1),
            "y": row[order],
            "name": name,
            "marker": {"size": 5, "color": colour, "symbol": symbol},
            "line": {"color": colour, "width": 3},
            "customdata": order,
            "hovertemplate": f"{name}, state %{{customdata}}: %{{y:.3f}}<extra></extra>",
        }
        for name, row, colour, mode, symbol in looks
    ]


def _state_layout(discount: float) -> dict[str, object]:
    return layout(
        title={"text": f"Value of every patient state, discount {discount:g}"},
        xaxis=axis("states, from the worst to the best under the optimal policy"),
        yaxis=axis("value: probability of survival" if discount == 1 else "discounted value"),
        margin={"l": 60, "r": 20, "t": 80, "b": 50},
    )
