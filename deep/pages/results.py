"""What an agent came to on a task: our numbers beside those of others, and whether goals are reached, computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rlbook.deep.pages.agents import Agent
from rlbook.deep.pages.peers import Peer, peers
from rlbook.deep.pages.stored import StoredRun, StoredRunError, stored_run
from rlbook.deep.pages.tasks import TASKS, Goal, Task
from rlbook.intervals import student_interval


@dataclass(frozen=True)
class Found:
    """The last values of one metric over seeds: mean, 95% interval by Student's t, standard deviation, count.

    Seeds whose training ended without a number are not among them; `missing` counts them. values: of the seeds.
    """

    metric: str
    mean: float
    low: float
    high: float
    deviation: float
    values: tuple[float, ...]
    missing: int

    @property
    def seeds(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, run: StoredRun, metric: str) -> Found:
        values = np.array([value for value in run.final[metric] if value is not None and math.isfinite(value)])
        missing = len(run.seeds) - len(values)
        if not len(values):
            return cls(metric, np.nan, np.nan, np.nan, np.nan, (), missing)
        mean, (low, high) = student_interval(values)
        deviation = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        return cls(metric, mean, low, high, deviation, tuple(values.tolist()), missing)


@dataclass(frozen=True)
class Result:
    """An agent on a task. run: None where nothing is stored; problem: why what is stored cannot be used, or empty."""

    agent: Agent
    task: Task
    run: StoredRun | None
    problem: str
    peers: tuple[Peer, ...]

    @property
    def found(self) -> tuple[Found, ...]:
        """All metrics that are stored."""
        return () if self.run is None else tuple(Found.of(self.run, metric) for metric in self.run.final)

    def sentences(self) -> tuple[str, ...]:
        """One on each goal."""
        if self.run is None:
            return ()
        return tuple(judged(goal, Found.of(self.run, goal.metric)) for goal in self.task.goals)


def results(agent: Agent) -> tuple[Result, ...]:
    """What is known of an agent on every task."""
    return tuple(result(agent, task) for task in TASKS)


def result(agent: Agent, task: Task) -> Result:
    """What is known of an agent on a task; a stored file that makes no sense becomes a sentence."""
    beside = peers(agent.name, task.environment)
    try:
        return Result(agent, task, stored_run(agent, task), "", beside)
    except StoredRunError as error:
        return Result(agent, task, None, str(error), beside)


def reached(goal: Goal, found: Found) -> bool | None:
    """Whether the whole interval is on the right side of the goal; None where the goal lies within it."""
    if found.missing or not found.seeds:
        return False
    low, high = (found.low, found.high) if goal.at_least else (-found.high, -found.low)
    bound = goal.bound if goal.at_least else -goal.bound
    if low >= bound:
        return True
    return None if high >= bound else False


def judged(goal: Goal, found: Found) -> str:
    """A sentence: the goal is reached, is not, or the seeds cannot tell."""
    head = f"{words(goal.metric)}, {number(goal.bound)} or {'more' if goal.at_least else 'less'} ({goal.reason}):"
    if found.missing:
        return (
            f"{head} not reached, since {found.missing} of {found.missing + found.seeds} seeds ended without a number."
        )
    there = sum(_beyond(goal, value) for value in found.values)
    told = f"Mean {number(found.mean)}, 95% interval {interval(found)}; {there} of {found.seeds} seeds are there."
    match reached(goal, found):
        case True:
            return f"{head} reached. {told}"
        case False:
            return f"{head} not reached. {told}"
        case None if _beyond(goal, found.mean):
            return f"{head} reached on average, though the interval does not settle it. {told}"
    return f"{head} not reached on average, though the interval does not settle it. {told}"


def _beyond(goal: Goal, value: float) -> bool:
    return value >= goal.bound if goal.at_least else value <= goal.bound


def words(metric: str) -> str:
    """A metric in words."""
    return metric.replace("_", " ").replace("q error", "Q-error").replace("q rms error", "root mean square Q-error")


def number(value: float) -> str:
    """Four digits."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def interval(found: Found) -> str:
    """Its interval in words."""
    return "-" if not found.seeds else f"{number(found.low)} to {number(found.high)}"
