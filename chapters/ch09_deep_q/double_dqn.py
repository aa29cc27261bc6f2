"""Lab: how far the values of DQN and of double DQN lie above the exact ones, on the same rows.

Both agents act at random, so that they learn from the same rows and differ in their targets alone. By theory, noise of
deviation s in the values of m actions lifts each maximum by about s times the mean of the greatest of m normal numbers,
and what is lifted is bootstrapped from, 1 / (1 - discount) times over. Double DQN judges the chosen action by an older
copy of its network, which helps as far as the noise of the two differs.

World, settings, claim and threshold were written down before any result was seen, first for a memory that forgets
nothing. There the claim was not shown: much of the noise is the luck of the rows in the memory, which both networks
share. So the set that now counts has a memory that is renewed between two copies of the network; it was written down
after that result, with claim and threshold as they were, and before its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch09_deep_q.noisy_ring import seen_ring
from rlbook.chapters.ch09_deep_q.trained_curves import trained_curves
from rlbook.figures.lines import FEWEST_FOR_BAND, line, mean_with_band
from rlbook.figures.style import BLUE, GREY, VERMILION, axis, judged_title, layout
from rlbook.intervals import jackknife_interval
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr
    from numpy.typing import NDArray

# A remedy must take away at least half, as in chapter 4's panel. What is left of DQN's bias after twice double DQN's
# must exceed a tenth of one reward's usual deviation: where nothing is overestimated, both biases are near 0.
_HALF = 2.0
_THRESHOLD = 0.1

_STEPS, _EVALUATIONS = 20_000, 20
_TRAIN_EVERY = 4
_WARM_UP = 4_000  # rows before the first update, if so many are kept
_LAST = 7  # evaluations that are averaged: the last third
_AGENTS = {"DQN": False, "double DQN": True}
_COLOURS = {"DQN": VERMILION, "double DQN": BLUE}
_SETTINGS: dict[str, Any] = {
    **{"batch_size": 16, "train_every": _TRAIN_EVERY},
    **{"first_width": 32, "second_width": 32, "exploration_start": 1.0, "exploration_end": 1.0},
}


class DoubleParameters(Parameters):
    noise: float = Field(1.0, ge=0.0, le=3.0, description="rewards are this much, or minus this much, by a fair coin")
    actions: int = Field(6, ge=1, le=10, description="in each state, all worth the same: nothing")
    observation: Literal["one-hot", "random features"] = Field(
        "one-hot", description="how states are shown: one number each, or a random vector"
    )
    discount: float = Field(0.9, ge=0.0, le=0.95, description="of rewards, per step")
    learning_rate: float = Field(3e-3, ge=1e-3, le=1e-2, description="step size of Adam")
    memory: int = Field(600, ge=100, le=_STEPS, description="rows that are kept; one more every step")
    target_every: int = Field(200, ge=1, le=1000, description="updates between two copies to the target network")


class DoubleView(View):
    quantity: Literal["bias", "greatest error"] = Field(
        "bias", description="of the greatest action value, or of any action value"
    )


_DRAWN = {"bias": "bias", "greatest error": "q_error"}


class DoubleDQN(Lab[DoubleParameters, DoubleView]):
    """Trains both agents on a ring whose exact values are 0, under the same seeds."""

    name = "double-dqn"
    title = "DQN believes its luck, double DQN asks again"
    claim = "DQN values noise: its greatest action values are too high, and double DQN leaves at most half of that."
    chapter = 9
    source = Source(
        reference="van Hasselt, Guez & Silver (2016), Deep Reinforcement Learning with Double Q-learning",
        where="theorem 1 and eq. 4; the ring and the share of one half are ours",
    )
    papers = ("double_dqn",)
    Parameters = DoubleParameters
    View = DoubleView
    canonical = (DoubleParameters(),)
    controls = (
        DoubleParameters(noise=0.0),
        # Nothing is bootstrapped from, so that there is no target to mend.
        DoubleParameters(discount=0.0),
    )
    refuted = (DoubleParameters(memory=_STEPS, target_every=100),)
    preview_seeds = 1
    verdict_seeds = 10

    def run(self, parameters: DoubleParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        context.check()
        from rlbook.deep import dqn

        world = seen_ring(parameters.actions, parameters.noise, parameters.observation == "one-hot")
        found = [
            trained_curves(
                dqn.ALGORITHM,
                world,
                seeds,
                ("bias", "q_error"),
                context,
                part=part,
                parts=len(_AGENTS),
                steps=_STEPS,
                evaluations=_EVALUATIONS,
                evaluation_episodes=1,
                double=double,
                discount=parameters.discount,
                learning_rate=parameters.learning_rate,
                buffer_size=parameters.memory,
                learning_starts=min(parameters.memory, _WARM_UP),
                target_every=parameters.target_every,
                **_SETTINGS,
            )
            for part, double in enumerate(_AGENTS.values())
        ]
        both = xr.concat(found, "agent").assign_coords(agent=list(_AGENTS)).transpose("seed", "agent", "step")
        return self.stamp(both, parameters)

    def figure(self, result: xr.Dataset, view: DoubleView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        steps = result["step"].values
        traces: list[dict[str, Any]] = []
        for agent, colour in _COLOURS.items():
            curves = result[_DRAWN[view.quantity]].sel(agent=agent).values
            traces += mean_with_band(steps, curves, agent, colour, fewest_for_band=FEWEST_FOR_BAND)
        traces.append(line(steps[[0, -1]], np.zeros(2), "exact", GREY, dash="dash"))
        count = f"{parameters.actions} action{'s' if parameters.actions > 1 else ''}"
        return go.Figure(
            data=traces,
            layout=layout(
                **judged_title(
                    f"{count} worth nothing, rewards of ±{parameters.noise:g}, {parameters.observation}",
                    "judged: the bias of DQN less twice that of double DQN, in the last third",
                ),
                xaxis=axis("steps"),
                yaxis=axis(
                    "max q - max q*, units of return" if view.quantity == "bias" else "max |q - q*|, units of return"
                ),
            ),
        )

    def alt_text(self, result: xr.Dataset, view: DoubleView) -> str:
        last = result[_DRAWN[view.quantity]].values[:, :, -_LAST:].mean(axis=(0, 2))
        ends = " and ".join(f"{value:.3g} for {agent}" for agent, value in zip(_AGENTS, last, strict=True))
        what = "bias of the greatest action value" if view.quantity == "bias" else "greatest error of an action value"
        return f"Curves of the {what} against steps, beside the exact 0; in the last third it is {ends} on average."

    def verdict(self, result: xr.Dataset) -> Verdict:
        parameters = self.parameters_of(result)
        bias = result["bias"].values[:, :, -_LAST:].mean(axis=2)
        estimate, interval = jackknife_interval(bias, _excess)
        plain, double = bias.mean(axis=0)
        chosen_later = parameters in self.canonical
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="bias of DQN less twice the size of double DQN's, in the last third",
            estimate=estimate,
            interval=interval,
            interval_kind="95% jackknife over seeds",
            relation=">=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=f"the bias is {plain:.3g} for DQN and {double:.3g} for double DQN, which learn from the same rows, of "
            f"which {min(1.0, parameters.target_every * _TRAIN_EVERY / parameters.memory):.0%} are new since the copy "
            "when the network is copied again"
            + ("; not shown, and claimed first, for a memory that forgets nothing" if chosen_later else ""),
        )


def _excess(bias: NDArray[np.float64]) -> float:
    """DQN's mean bias less twice the size of double DQN's; bias: (seeds, 2)."""
    plain, double = bias.mean(axis=0)
    return float(plain - _HALF * abs(double))
