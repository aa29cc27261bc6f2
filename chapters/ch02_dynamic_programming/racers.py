"""Who takes part in the solver race, how each is drawn, and the stopping rule of textbooks to compare with."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from rlbook.chapters.ch02_dynamic_programming.histories import kept_iterations
from rlbook.environments import make
from rlbook.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from rlbook.lab import Context
from rlbook.mdp import FiniteMDP
from rlbook.tabular.anderson import anderson_value_iteration
from rlbook.tabular.bellman import backup_kernel, kernel_arguments
from rlbook.tabular.gauss_seidel import gauss_seidel
from rlbook.tabular.inexact_policy_iteration import inexact_policy_iteration
from rlbook.tabular.modified_policy_iteration import modified_policy_iteration
from rlbook.tabular.policy_iteration import policy_iteration
from rlbook.tabular.prioritised_sweeping import prioritised_sweeping
from rlbook.tabular.solution import Solution
from rlbook.tabular.value_iteration import value_iteration

RACERS: dict[str, Callable[..., Solution]] = {
    "value_iteration": value_iteration,
    "gauss_seidel": gauss_seidel,
    "prioritised_sweeping": prioritised_sweeping,
    "anderson": anderson_value_iteration,
    "modified_policy_iteration": modified_policy_iteration,
    "policy_iteration": policy_iteration,
    "inexact_policy_iteration": inexact_policy_iteration,
}
NAMES = {
    "value_iteration": "value iteration",
    "gauss_seidel": "Gauss-Seidel",
    "prioritised_sweeping": "prioritised sweeping",
    "anderson": "Anderson acceleration",
    "modified_policy_iteration": "modified policy iteration",
    "policy_iteration": "policy iteration",
    "inexact_policy_iteration": "inexact policy iteration",
}
LOOKS = {  # colour, symbol and dash
    "value_iteration": (ORANGE, "circle", "solid"),
    "gauss_seidel": (GREEN, "square", "dash"),
    "prioritised_sweeping": (PURPLE, "diamond", "dot"),
    "anderson": (SKY, "triangle-up", "dashdot"),
    "modified_policy_iteration": (BLUE, "star", "solid"),
    "policy_iteration": (VERMILION, "x", "dash"),
    "inexact_policy_iteration": (GREY, "cross", "dot"),
}


@lru_cache(maxsize=1)
def load_all() -> None:
    """Load every kernel once, so that the clock of the first race does not count it."""
    for mdp in (make("gridworld-4x4", discount=0.9), make("garnet", states=20, discount=0.9)):
        for racer in RACERS.values():
            racer(mdp, 1e-3)


def textbook_run(
    mdp: FiniteMDP, truth: np.ndarray, start: np.ndarray, tolerance: float, points: int, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """Value iteration until no value changes by more than the tolerance; its last vector, and its curve.

    The curve is as that of `curves`, but since the rule proves no gap it has the true error of each vector instead.
    """
    backup = partial(backup_kernel(mdp), *kernel_arguments(mdp))
    v, tv = start.copy(), np.empty_like(start)
    greedy = np.empty(mdp.n_states, dtype=np.int64)
    seconds, errors = [], []
    started = time.perf_counter()
    while True:
        least, greatest = backup(v, tv, greedy)
        v, tv = tv, v
        seconds.append(time.perf_counter() - started)
        errors.append(float(np.abs(v - truth).max()))
        if max(-least, greatest) <= tolerance:
            break
        context.check()
    kept = kept_iterations(len(errors), points)
    curve = np.full((3, points), np.nan)
    curve[:, : len(kept)] = kept + 1.0, np.array(seconds)[kept], np.array(errors)[kept]
    return v, curve
