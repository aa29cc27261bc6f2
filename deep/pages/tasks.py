"""On which tasks agents are measured, and what is asked of them. Written down before the stored runs were read.

Some agents had been tried on CartPole before that; `tuned` in `agents` says what was chosen then.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlbook.errors import UnknownNameError

SEEDS = 10


@dataclass(frozen=True)
class Goal:
    """What a result at the end of training should come to: the mean over seeds, with its 95% interval.

    metric: a variable of a training's result. bound: in its units. at_least: whether more is better. reason: why this
    bound.
    """

    metric: str
    bound: float
    at_least: bool
    reason: str


@dataclass(frozen=True)
class Task:
    """An environment by name, steps of training, how often the greedy policy is tried, and goals."""

    environment: str
    steps: int
    evaluations: int
    goals: tuple[Goal, ...]


def _both_returns(bound: float) -> tuple[Goal, ...]:
    reason = "the return from which Gymnasium calls it solved"
    return tuple(Goal(metric, bound, True, reason) for metric in ("evaluation_return", "training_return"))


_TWENTIETH = "a twentieth of the greatest return, 1"

TASKS = (
    Task("CartPole-v1", 500_000, 25, _both_returns(475.0)),
    Task("Acrobot-v1", 500_000, 25, _both_returns(-100.0)),
    Task(
        "frozenlake-4x4",
        200_000,
        20,
        (Goal("q_rms_error", 0.05, False, _TWENTIETH), Goal("regret", 0.05, False, _TWENTIETH)),
    ),
)


def task(environment: str) -> Task:
    """The task on this environment; raises UnknownNameError."""
    for each in TASKS:
        if each.environment == environment:
            return each
    raise UnknownNameError("task", environment, [each.environment for each in TASKS])
