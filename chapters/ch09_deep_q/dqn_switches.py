"""Lab: DQN's two additions to Q-learning, replay and a target network, as switches.

Off, replay is a memory of the rows since the last update alone, so that updates are as many and as large, but of what
has just been seen; off, the target network is copied at every update, so that it is the network itself. Claim,
threshold, worlds and controls were written down before a result of any of them was seen, but for one: that DQN with
both switches on is a fair player with these settings was tried first, on seeds of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.chapters.ch09_deep_q.trained_curves import trained_curves
from rlbook.figures.lines import RIGHT, line, mean_with_band
from rlbook.figures.style import BLUE, GREY, ORANGE, VERMILION, axis, judged_title, layout
from rlbook.intervals import student_interval
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from rlbook.mdp import FiniteMDP

# Mnih et al. call play human-level from 75% of what a professional scores on; here the best there is takes the place of
# the professional. As in their table, the best of all evaluations counts, which flatters all sets alike.
_THRESHOLD = 0.75

_BEST_RETURN = 500.0  # on CartPole, of its 500 steps
_DISCOUNT = 0.99  # on CartPole
_TIME_LIMIT = 100  # steps of an episode on the grid
_TRAIN_EVERY = 4
_ROWS, _WARM_UP = 10_000, 1_000  # kept with replay, and before the first update
_COPIES = 50  # updates between two copies to the target network
_EVALUATIONS = 20
_FEWEST_FOR_BAND = 4
_SETTINGS: dict[str, Any] = {
    **{"first_width": 64, "second_width": 64, "batch_size": 64, "train_every": _TRAIN_EVERY},
    **{"exploration_fraction": 0.3},
}


class SwitchParameters(Parameters):
    world: Literal["CartPole", "gridworld"] = Field("CartPole", description="a pole, or a grid whose values are known")
    replay: bool = Field(True, description="learn from all that is kept, or from the rows since the last update alone")
    target_network: bool = Field(True, description="bootstrap from a copy that is renewed now and then, or from itself")
    learning_rate: float = Field(1e-3, ge=1e-5, le=1e-2, description="step size of Adam")
    steps: int = Field(20_000, ge=5_000, le=60_000, description="of training")


class DQNSwitches(Lab[SwitchParameters, View]):
    """Trains DQN with each switch on or off, and holds its best evaluation against the best there is."""

    name = "dqn-switches"
    title = "Two switches: replay and target network"
    claim = "With replay and a target network DQN reaches at least three quarters of the best score there is."
    chapter = 9
    source = Source(
        reference="Mnih et al. (2015), Human-level control through deep reinforcement learning",
        where="Extended Data Table 3, where scores fall without replay and fall most without both; worlds are ours",
    )
    papers = ("dqn",)
    Parameters = SwitchParameters
    canonical = (
        SwitchParameters(),
        SwitchParameters(world="gridworld"),
    )
    controls = (
        SwitchParameters(replay=False),
        SwitchParameters(world="gridworld", replay=False, target_network=False),
    )
    preview_seeds = 1
    verdict_seeds = 8

    def run(self, parameters: SwitchParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        context.check()
        from rlbook.deep import FiniteMDPEnvironment, dqn

        pole = parameters.world == "CartPole"
        kept = _ROWS if parameters.replay else _TRAIN_EVERY
        return self._scored(
            trained_curves(
                dqn.ALGORITHM,
                "CartPole-v1" if pole else FiniteMDPEnvironment(_grid(), _TIME_LIMIT),
                seeds,
                ("evaluation_return", "q", "regret", "q_rms_error"),
                context,
                shown=lambda curves: self._scored(curves, parameters),
                steps=parameters.steps,
                evaluations=_EVALUATIONS,
                evaluation_episodes=10 if pole else 1,
                discount=_DISCOUNT if pole else _grid().discount,
                learning_rate=parameters.learning_rate,
                buffer_size=kept,
                learning_starts=min(kept, _WARM_UP),
                target_every=_COPIES if parameters.target_network else 1,
                **_SETTINGS,
            ),
            parameters,
        )

    def _scored(self, curves: xr.Dataset, parameters: SwitchParameters) -> xr.Dataset:
        """The result of such curves: `score` is 1 for the best there is, and 0 for a random walk on the grid."""
        if parameters.world == "CartPole":
            score = curves["evaluation_return"] / _BEST_RETURN
        else:
            best, random = _worths()
            score = 1 - curves["regret"] / (best - random)
        kept = curves[["q", "q_rms_error"]].assign(score=score)
        return self.stamp(kept, parameters)

    def figure(self, result: xr.Dataset, view: View) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        steps, ends = result["step"].values, result["step"].values[[0, -1]]
        pole = parameters.world == "CartPole"
        traces = mean_with_band(steps, result["score"].values, "score", BLUE, fewest_for_band=_FEWEST_FOR_BAND)
        traces.append(line(ends, np.full(2, _THRESHOLD), "three quarters of the best", GREY, dash="dash"))
        right = mean_with_band(
            steps,
            result["q" if pole else "q_rms_error"].values,
            "mean value learned from" if pole else "error of action values",
            ORANGE,
            fewest_for_band=_FEWEST_FOR_BAND,
        )
        if pole:
            right.append(line(ends, np.full(2, 1 / (1 - _DISCOUNT)), "highest return there is", VERMILION, dash="dash"))
        traces += [{**each, "xaxis": RIGHT[0], "yaxis": RIGHT[1]} for each in right]
        return go.Figure(
            data=traces,
            layout=layout(
                **judged_title(
                    f"DQN on {_place(parameters)}, {_switched(parameters)}",
                    "judged: the best score of each seed",
                    rows=2,
                ),
                xaxis=axis("steps", domain=[0.0, 0.42]),
                yaxis=axis("score", range=[-0.05, 1.05]),
                xaxis2=axis("steps", domain=[0.58, 1.0], anchor="y2"),
                yaxis2=axis("value" if pole else "root mean square error", anchor="x2", rangemode="tozero"),
                height=460,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: View) -> str:
        parameters = self.parameters_of(result)
        score = result["score"].values
        other = (
            f"the mean value of what is learned from ends at {result['q'].values[:, -1].mean():.3g}"
            if parameters.world == "CartPole"
            else f"the error of action values ends at {result['q_rms_error'].values[:, -1].mean():.3g}"
        )
        return (
            f"Curves of the score of greedy play against steps, on {_place(parameters)}, {_switched(parameters)}: the "
            f"best of a seed is {score.max(axis=1).mean():.3g} on average, the last {score[:, -1].mean():.3g}; beside "
            f"them, {other}."
        )

    def verdict(self, result: xr.Dataset) -> Verdict:
        score = result["score"].values
        estimate, interval = student_interval(score.max(axis=1))
        return Verdict(
            claim=self.claim,
            source=self.source,
            statistic="best score of all evaluations, where 1 is the best there is",
            estimate=estimate,
            interval=interval,
            interval_kind="95% Student t over seeds",
            relation=">=",
            threshold=_THRESHOLD,
            n=result.sizes["seed"],
            note=f"at the end of training it is {score[:, -1].mean():.3g}; {_switched(self.parameters_of(result))}",
        )


@lru_cache(maxsize=1)
def _grid() -> FiniteMDP:
    from rlbook.environments import make

    return make("gridworld")


@lru_cache(maxsize=1)
def _worths() -> tuple[float, float]:
    """The values at the start of the best policy on the grid, and of a random walk."""
    from rlbook.tabular import evaluate_policy, solve

    mdp = _grid()
    uniform = np.full((mdp.n_states, mdp.n_actions), 1 / mdp.n_actions)
    return float(solve(mdp).value_at_start), float(evaluate_policy(mdp, uniform).value_at_start)


def _place(parameters: SwitchParameters) -> str:
    return "CartPole" if parameters.world == "CartPole" else "the gridworld"


def _switched(parameters: SwitchParameters) -> str:
    said = {True: "with", False: "without"}
    return f"{said[parameters.replay]} replay, {said[parameters.target_network]} target network"
