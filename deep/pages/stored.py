"""Results of agents that were measured once and are kept with the book, a small file for each agent and task."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rlbook.deep.pages.agents import Agent
from rlbook.deep.pages.tasks import Task
from rlbook.errors import RlbookError


class StoredRunError(RlbookError):
    """A stored result cannot be read; its text says why, and how to measure again."""


class Curve(BaseModel):
    """The mean over seeds and its 95% interval at some steps, (n,) each; None where a seed has no number yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


class StoredRun(BaseModel):
    """What was run, where, and what came of it.

    command: what to type to have it again. config: all settings. final: by the name of a variable of results, its last
    value of each seed, None where it is no number. diverged_at: of each seed, the step where the loss was no number, or
    -1. step: of the curves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str
    environment: str
    steps: int
    command: str
    config: dict[str, Any]
    date: str
    machine: str
    versions: dict[str, str]
    seconds: float
    seeds: tuple[int, ...]
    diverged_at: tuple[int, ...]
    final: dict[str, tuple[float | None, ...]]
    step: tuple[int, ...]
    curves: dict[str, Curve]

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        wrong = [name for name, values in self.final.items() if len(values) != len(self.seeds)]
        curves = self.curves.items()
        wrong += [f"curve {n}" for n, c in curves if {len(c.mean), len(c.low), len(c.high)} != {len(self.step)}]
        if wrong or not self.seeds or len(self.diverged_at) != len(self.seeds):
            raise ValueError(f"lengths differ ({', '.join(wrong) or 'seeds'})")
        return self

    def text(self) -> str:
        """As a file holds it, a line for each entry; the same numbers give the same text."""
        lines = (f' "{name}": {json.dumps(value)}' for name, value in self.model_dump(mode="json").items())
        return "{\n" + ",\n".join(lines) + "\n}\n"


def file_name(agent: str, environment: str) -> str:
    """The name of the file of an agent's result on an environment."""
    return f"{agent}-{environment}.json"


def folder() -> Traversable:
    """Where the files are."""
    return files("rlbook.deep.pages").joinpath("runs")


def stored_run(agent: Agent, task: Task) -> StoredRun | None:
    """The stored result of an agent on a task, or None; raises StoredRunError where there is one that makes no sense.

    A result of settings, steps or goals other than those of today counts as none that makes sense.
    """
    name = file_name(agent.name, task.environment)
    path = folder().joinpath(name)
    if not path.is_file():
        return None
    try:
        run = StoredRun.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise StoredRunError(_sentence(agent, task, f"{place}: {first['msg']}")) from None
    config = agent.config(task.environment)
    for what, stored, now in (
        ("agent", run.agent, agent.name),
        ("environment", run.environment, task.environment),
        ("steps", run.steps, task.steps),
        ("config", run.config, json.loads(config.canonical_json())),
        ("final values", set(run.final) & {goal.metric for goal in task.goals}, {goal.metric for goal in task.goals}),
    ):
        if stored != now:
            raise StoredRunError(_sentence(agent, task, f"its {what} is not that of today"))
    return run


def how_to_measure(agent: Agent, task: Task) -> str:
    """The command that measures and stores a result, in a clone of the book."""
    return f"python -m benchmarks quality --agent {agent.name} --task {task.environment} --write"


def _sentence(agent: Agent, task: Task, why: str) -> str:
    name = file_name(agent.name, task.environment)
    why = " ".join(why.split())
    return f"the stored result {name} cannot be used: {why}; measure again with: {how_to_measure(agent, task)}"
