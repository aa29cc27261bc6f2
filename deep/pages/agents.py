"""Agents that have a page: every algorithm as it is by default, and known variants of it by their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlbook.deep.algorithm import Algorithm
from rlbook.deep.algorithms import algorithm
from rlbook.deep.config import Config
from rlbook.errors import UnknownNameError


@dataclass(frozen=True)
class Agent:
    """An algorithm under certain settings.

    settings: as the command line takes them, name: value. on_task: by the name of an environment, more settings that
    are needed there. because: by the same name, why. tuned: a sentence on what was chosen after results had been seen.
    """

    name: str
    title: str
    algorithm_name: str
    settings: dict[str, str] = field(default_factory=dict)
    on_task: dict[str, dict[str, str]] = field(default_factory=dict)
    because: dict[str, str] = field(default_factory=dict)
    tuned: str = "Nothing was chosen after a result had been seen."

    @property
    def algorithm(self) -> Algorithm:
        return algorithm(self.algorithm_name)

    def settings_on(self, environment: str) -> dict[str, str]:
        """All settings on this environment, as the command line takes them."""
        return {**self.settings, **self.on_task.get(environment, {})}

    def config(self, environment: str | None = None) -> Config:
        """The configuration, on one environment or in general."""
        given: dict[str, Any] = dict(self.settings if environment is None else self.settings_on(environment))
        return self.algorithm.Config.parse(given)


_SQUARED = (
    "The squared loss, which is CleanRL's, was kept after values had grown without bound on CartPole with the Huber "
    "loss."
)

AGENTS = (
    Agent("dqn", "DQN", "dqn", tuned=_SQUARED),
    Agent("double_dqn", "Double DQN", "dqn", {"double": "true"}, tuned=_SQUARED),
    Agent(
        "prioritised_dqn",
        "Prioritised n-step double dueling DQN",
        "dqn",
        {"double": "true", "dueling": "true", "prioritised": "true", "n_step": "3"},
        tuned=_SQUARED,
    ),
    Agent(
        "c51",
        "C51",
        "c51",
        on_task={"frozenlake-4x4": {"lowest": "0.0", "highest": "1.0"}},
        because={"frozenlake-4x4": "returns lie in [0, 1] there, and the default atoms are 2 apart"},
    ),
    Agent(
        "qr_dqn",
        "QR-DQN",
        "qr_dqn",
        on_task={"CartPole-v1": {"kappa": "10.0"}},
        because={"CartPole-v1": "errors reach tens there, and beyond kappa large ones are outvoted by small ones"},
        tuned="The size of its memory and the number of quantiles were chosen on CartPole, after a smaller memory and "
        "more quantiles had been tried; so was kappa there, on four seeds from 100 on, after the default of 1 had come "
        "to a mean evaluation return of 448 (191 to 500) under the ten seeds that are reported.",
    ),
    Agent("pqn", "PQN", "pqn"),
    Agent("stream_q", "Stream Q(lambda)", "stream_q"),
)


def agent(name: str) -> Agent:
    """The agent of this name; raises UnknownNameError with the nearest ones."""
    for each in AGENTS:
        if each.name == name:
            return each
    raise UnknownNameError("agent", name, names())


def names() -> tuple[str, ...]:
    """Names of all agents that have a page."""
    return tuple(each.name for each in AGENTS)
