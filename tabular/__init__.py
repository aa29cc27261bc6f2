"""Tabular reinforcement learning: compiled kernels and, on top of them, solvers that return certified bounds."""

from rlbook.tabular.bellman import action_values, bellman_backup, bellman_sweeps
from rlbook.tabular.certificate import certified_bounds
from rlbook.tabular.episodes import endless_states
from rlbook.tabular.modified_policy_iteration import modified_policy_iteration
from rlbook.tabular.policies import as_stochastic, induced_chain, uniform_policy
from rlbook.tabular.policy_evaluation import evaluate_policy
from rlbook.tabular.solution import Solution
from rlbook.tabular.solving import METHODS, solve
from rlbook.tabular.value_iteration import value_iteration

__all__ = [
    "METHODS",
    "Solution",
    "action_values",
    "as_stochastic",
    "bellman_backup",
    "bellman_sweeps",
    "certified_bounds",
    "endless_states",
    "evaluate_policy",
    "induced_chain",
    "modified_policy_iteration",
    "solve",
    "uniform_policy",
    "value_iteration",
]
