"""How well agents learn: `python -m benchmarks quality [--agent dqn] [--task CartPole-v1] [--write]`.

Every agent on every task of `rlbook.deep.pages`, or those named, under ten seeds, as `rlbook train` trains them. It
prints whether goals are reached; with --write, results go into deep/pages/runs, where the agents' pages read them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.report import machine, versions
from rlbook.intervals import student_reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.deep.pages.agents import Agent
    from rlbook.deep.pages.stored import StoredRun
    from rlbook.deep.pages.tasks import Task

FOLDER = Path(__file__).resolve().parents[1] / "deep" / "pages" / "runs"
MOST_POINTS = 50  # of a stored curve
_PACKAGES = ("jax", "equinox", "optax")
_KEPT = ("training_return", "evaluation_return", "q_error", "q_rms_error", "bias", "regret")
_DIGITS = 6


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print and, if asked to, store."""
    from rlbook.deep.pages import names
    from rlbook.deep.pages.agents import agent
    from rlbook.deep.pages.stored import file_name
    from rlbook.deep.pages.tasks import TASKS, task

    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    parser.add_argument("--agent", action="append", choices=names(), help="may be given several times; default: all")
    parser.add_argument("--task", action="append", choices=[each.environment for each in TASKS], help="likewise")
    parser.add_argument("--write", action="store_true", help="store results for the pages of the agents")
    parser.add_argument("--workers", type=int, default=1, help="seeds at a time; seconds are those of so many")
    given = parser.parse_args(arguments)
    for one in [task(name) for name in given.task or [each.environment for each in TASKS]]:
        for who in map(agent, given.agent or names()):
            run = measured(who, one, workers=given.workers)
            print(*told(who, one, run), sep="\n", flush=True)
            if given.write:
                (FOLDER / file_name(who.name, one.environment)).write_text(run.text())


def measured(agent: Agent, task: Task, *, seeds: int | None = None, workers: int = 1) -> StoredRun:
    """Train an agent on a task; by default under as many seeds as the tasks are meant for."""
    from rlbook.cli.training import Order, Outcome
    from rlbook.deep.pages.tasks import SEEDS
    from rlbook.deep.training import run

    count = SEEDS if seeds is None else seeds
    settings = tuple(f"{name}={value}" for name, value in agent.settings_on(task.environment).items())
    order = Order(agent.algorithm, task.environment, count, task.steps, settings, "compiled", task.evaluations, None)
    trained = run(
        agent.algorithm,
        task.environment,
        seeds=count,
        steps=task.steps,
        evaluations=task.evaluations,
        workers=workers,
        config=agent.config(task.environment),
    )
    return record(agent, task, Outcome(order, trained.result).to_json(), time.strftime("%Y-%m-%d"), machine())


def record(agent: Agent, task: Task, told: Mapping[str, Any], date: str, where: str) -> StoredRun:
    """What is stored of a training, from what `rlbook train --json` says of it."""
    from rlbook.deep.pages.stored import Curve, StoredRun

    kept = {name: np.array(told[name], dtype=np.float64) for name in _KEPT if name in told}
    step = np.array(told["step"])
    at = np.unique(np.linspace(0, len(step) - 1, min(len(step), MOST_POINTS)).round().astype(int))
    curves = {}
    for name, values in kept.items():
        mean, reach = values[:, at].mean(axis=0), student_reach(values[:, at])
        curves[name] = Curve(mean=rounded(mean), low=rounded(mean - reach), high=rounded(mean + reach))
    return StoredRun(
        agent=agent.name,
        environment=task.environment,
        steps=task.steps,
        command=told["command"],
        config=told["config"],
        date=date,
        machine=where,
        versions=versions(_PACKAGES),
        seconds=round(float(told["seconds"]), 1),
        seeds=tuple(told["seed"]),
        diverged_at=tuple(told["diverged_at"]),
        final={name: rounded(values[:, -1]) for name, values in kept.items()},
        step=tuple(step[at].tolist()),
        curves=curves,
    )


def rounded(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Six digits of each number; None for what is no number, since JSON has none for it."""
    return tuple(float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values.tolist())


def told(agent: Agent, task: Task, run: StoredRun) -> list[str]:
    """Lines on how a measurement went."""
    from rlbook.deep.pages.results import Result

    head = f"{agent.title} on {task.environment}: {len(run.seeds)} seeds of {run.steps:,} steps, {run.seconds:,.0f} s"
    finals = [f"  {name}: {json.dumps(values)}" for name, values in run.final.items()]
    return [head, *finals, *(f"  {sentence}" for sentence in Result(agent, task, run, "", ()).sentences())]
