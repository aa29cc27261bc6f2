"""Lab: how much nearer one backup brings two tables of joint laws, in distances of vectors.

The Gaussian kernel is the control. Laws that are wide against its width look thin everywhere; a backup gathers them,
and their difference stands out more, not less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from rlbook.figures.lines import line
from rlbook.figures.style import BLUE, GREEN, ORANGE, VERMILION, axis, judged_title, layout
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters, View
from rlbook.tabular.distributional.joint_laws import JointLaws, backed_up
from rlbook.tabular.distributional.joint_metrics import joint_mmd, joint_wasserstein
from rlbook.tabular.distributional.metrics import EnergyKernel, GaussianKernel
from rlbook.tabular.distributional.vector_rewards import Outcome, VectorRewardMDP
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

Metric = Literal["W1", "W2", "energy MMD", "Gaussian MMD"]

DISTANCES = {
    "W1": lambda a, b: joint_wasserstein(a, b, 1.0),
    "W2": lambda a, b: joint_wasserstein(a, b, 2.0),
    "energy MMD": lambda a, b: joint_mmd(a, b, EnergyKernel(1.0)),
    "Gaussian MMD": lambda a, b: joint_mmd(a, b, GaussianKernel(1.0)),
}
# The power of the discount that one backup is said to leave; for the Gaussian kernel there is no such theorem, and the
# power of the energy kernel is hoped for.
_POWERS = {"W1": 1.0, "W2": 1.0, "energy MMD": 0.5, "Gaussian MMD": 0.5}
_COLOURS = {"W1": BLUE, "W2": GREEN, "energy MMD": ORANGE, "Gaussian MMD": VERMILION}

# Written down before any result: the modulus bounds every pair of tables and every backup, so the worst ratio to it may
# not exceed 1. Linear programs are solved to about 1e-9 of their scale, and MMD takes roots of sums that cancel.
_THRESHOLD = 1.0
_ALLOWANCE = 1e-6
_ATOMS, _STATES = 3, 3


class JointContractionParameters(Parameters):
    metric: Metric = Field("W1", description="the distance that is judged; all are drawn")
    world: Literal["garnet", "ring"] = Field("garnet", description="random, or states in turn without chance")
    sources: int = Field(2, ge=1, le=4, description="sources of reward")
    discount: float = Field(0.9, ge=0.05, le=0.95, description="discount factor of the return")
    backups: int = Field(2, ge=1, le=3, description="number of backups")


class JointContractionView(View):
    seed: int = Field(0, ge=0, description="which pair of tables is drawn")


class JointContraction(Lab[JointContractionParameters, JointContractionView]):
    """Applies the exact joint operator to two tables of random laws of vectors, and measures their distances."""

    name = "joint-contraction"
    title = "Vectors shrink as numbers do"
    claim = (
        "Each backup brings the largest distance over states between two tables of joint laws down to at most the "
        "modulus times what it was, in the distance chosen."
    )
    chapter = 8
    source = Source(
        reference="Zhang, Chen, Zhao, Xiong, Qin & Liu (2021), Distributional Reinforcement Learning for "
        "Multi-Dimensional Reward Functions",
        where="abstract: convergence of the joint distributional Bellman operator; the moduli are derived in our text",
    )
    papers = ("md3qn_joint_return",)
    mechanism_only = True
    Parameters = JointContractionParameters
    View = JointContractionView
    canonical = (
        JointContractionParameters(),
        JointContractionParameters(metric="W2", sources=3),
        JointContractionParameters(metric="W1", world="ring"),
        JointContractionParameters(metric="energy MMD"),
    )
    controls = (JointContractionParameters(metric="Gaussian MMD", world="ring"),)
    preview_seeds = 1
    verdict_seeds = 12

    def run(self, parameters: JointContractionParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        import xarray as xr

        distance = np.empty((len(seeds), len(DISTANCES), parameters.backups + 1))
        for row, seed in enumerate(seeds):
            context.check()
            world, first, second = drawn_pair(parameters, seed)
            rows = world.policy_rows(np.zeros(_STATES, dtype=np.int32))
            for k in range(parameters.backups + 1):
                if k > 0:
                    first = backed_up(rows, first, parameters.discount)
                    second = backed_up(rows, second, parameters.discount)
                distance[row, :, k] = [between(first, second).max() for between in DISTANCES.values()]
            context.progress((row + 1) / len(seeds))
        return self.stamp(
            xr.Dataset(
                {"distance": (("seed", "metric", "backup"), distance)},
                coords={"seed": list(seeds), "metric": list(DISTANCES), "backup": np.arange(parameters.backups + 1)},
            ),
            parameters,
        )

    def view_values(self, result: xr.Dataset) -> Mapping[str, Sequence[Any]]:
        return {"seed": result["seed"].values.tolist()}

    def figure(self, result: xr.Dataset, view: JointContractionView) -> go.Figure:
        import plotly.graph_objects as go

        parameters = self.parameters_of(result)
        backup = result["backup"].values
        traces = []
        for metric, colour in _COLOURS.items():
            distance = result["distance"].sel(seed=view.seed, metric=metric).values
            judged = metric == parameters.metric
            traces.append(
                line(backup, distance / distance[0], metric, colour, markers=True, width=4 if judged else 1.5)
            )
            if judged:
                bound = modulus(metric, parameters.discount) ** backup
                traces.append(line(backup, bound, f"modulus of {metric}", colour, dash="dash"))
        return go.Figure(
            data=traces,
            layout=layout(
                xaxis=axis("backups", dtick=1),
                yaxis=axis("distance / first"),
                **judged_title(
                    f"{parameters.sources} {'source' if parameters.sources == 1 else 'sources'}, {parameters.world}, "
                    f"discount {parameters.discount:g}",
                    f"bold: {parameters.metric}, judged; dashed: its modulus; of the farthest state",
                    rows=2,
                    columns=3,
                ),
                height=450,
            ),
        )

    def alt_text(self, result: xr.Dataset, view: JointContractionView) -> str:
        left = result["distance"].sel(seed=view.seed).values
        ends = ", ".join(f"{name} {row[-1] / row[0]:.3g}" for name, row in zip(DISTANCES, left, strict=True))
        return f"Distances between two tables of joint laws against backups; of the first distance are left: {ends}."

    def verdict(self, result: xr.Dataset) -> Verdict:
        parameters = self.parameters_of(result)
        distance = result["distance"].sel(metric=parameters.metric).values
        share = modulus(parameters.metric, parameters.discount)
        worst = float(np.max(distance[:, 1:] / (share * distance[:, :-1] + _ALLOWANCE * distance[:, :1])))
        bare = float(np.max(distance[:, 1:] / distance[:, :-1]))
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
            note=f"the modulus is {share:.4g}; the largest share that a backup left is {bare:.4g}",
        )


def modulus(metric: str, discount: float) -> float:
    """The share of a distance that is claimed to be left after one backup."""
    return float(discount ** _POWERS[metric])


def drawn_pair(parameters: JointContractionParameters, seed: int) -> tuple[VectorRewardMDP, JointLaws, JointLaws]:
    """A world of three states and two tables of random laws of three atoms, some with atoms in common."""
    random = np.random.default_rng([seed, 87])
    d = parameters.sources
    outcomes: list[dict[int, list[Outcome]]] = []
    for s in range(_STATES):
        if parameters.world == "ring":
            outcomes.append({0: [(1.0, (s + 1) % _STATES, tuple(random.normal(size=d)))]})
            continue
        p = random.uniform(0.2, 0.8)
        following = [int(state) for state in random.choice(_STATES, size=2, replace=False)]
        second = None if random.random() < 1 / 4 else following[1]
        outcomes.append(
            {0: [(p, following[0], tuple(random.normal(size=d))), (1 - p, second, tuple(random.normal(size=d)))]}
        )
    atoms = 3 * random.normal(size=(2, _STATES, _ATOMS, d))
    if seed % 2:
        atoms[1, :, 0] = atoms[0, :, 0]
    masses = random.dirichlet(np.ones(_ATOMS), size=(2, _STATES))
    world = VectorRewardMDP.from_transitions(outcomes, parameters.discount, name=parameters.world)
    return world, JointLaws.from_arrays(atoms[0], masses[0]), JointLaws.from_arrays(atoms[1], masses[1])
