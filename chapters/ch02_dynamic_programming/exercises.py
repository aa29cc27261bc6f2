"""Exercises of chapter 02."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlbook.environments import make
from rlbook.exercise import Exercise, Hint, expect_number
from rlbook.mdp import FiniteMDP
from rlbook.tabular import bellman_backup, evaluate_policy, solve, uniform_policy


def _backup(answer: Any) -> str:
    if not callable(answer):
        raise Hint("Give the function itself: exercise(my_backup), without calling it.")
    for mdp in (make("garnet", states=12, actions=3, branching=4, seed=5, discount=0.8), make("gridworld")):
        v = np.linspace(-1.0, 2.0, mdp.n_states)
        answered = answer(mdp, v.copy())
        if answered is ... or answered is None:
            raise Hint("Replace the dots in your function by the backup, and run the cell again.")
        got = np.asarray(answered, dtype=float)
        right = bellman_backup(mdp, v)[0]
        if got.shape != right.shape:
            raise Hint(f"Return one value per state: shape ({mdp.n_states},), not {got.shape}.")
        if np.allclose(got, right, atol=1e-10):
            continue
        for mistake, sentence in _MISTAKES:
            if np.allclose(got, mistake(mdp, v), atol=1e-10):
                raise Hint(sentence)
        wrong = int(np.argmax(np.abs(got - right)))
        raise Hint(f"On {mdp.name} your value of state {wrong} is off; write out the sum for its first action by hand.")
    return "This is the operator that every solver of this chapter applies."


def _q_table(mdp: FiniteMDP, v: np.ndarray, *, discount: float, ends: bool) -> list[list[float]]:
    return [
        [
            sum(p * (r + discount * v[t] * (not (over and ends))) for p, t, r, over in mdp.transitions(s, int(a)))
            for a in mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]
        ]
        for s in range(mdp.n_states)
    ]


_Mistake = Callable[[FiniteMDP, np.ndarray], np.ndarray]
_MISTAKES: tuple[tuple[_Mistake, str], ...] = (
    (
        lambda mdp, v: np.array([max(q) for q in _q_table(mdp, v, discount=1.0, ends=True)]),
        "One factor is missing: how much is a unit of return worth one step later?",
    ),
    (
        lambda mdp, v: np.array([max(q) for q in _q_table(mdp, v, discount=mdp.discount, ends=False)]),
        "What is earned after a transition that terminates? Look at the fourth entry of a transition.",
    ),
    (
        lambda mdp, v: np.array([float(np.mean(q)) for q in _q_table(mdp, v, discount=mdp.discount, ends=True)]),
        "You average over actions, which evaluates the random policy. What does the optimal agent do with them?",
    ),
)


_GAMMA, _FIRST_ERROR, _GOAL = 0.95, 10.0, 0.01


def _sweeps_needed(answer: Any) -> str:
    number = expect_number(answer)
    exact = math.log(_GOAL / _FIRST_ERROR) / math.log(_GAMMA)
    if abs(number - exact) < 0.01 and number != math.ceil(exact):
        raise Hint("You solved the equation; sweeps are whole, and the bound must be reached.")
    if number != math.ceil(exact):
        direction = "fewer" if number > exact else "more"
        raise Hint(f"The bound asks for {direction}: after k sweeps the error is at most discount^k times the first.")
    return "Note that the number does not depend on how many states there are."


def _worst_cell(answer: Any) -> str:
    mdp = make("gridworld")
    label = expect_number(answer)
    gain = solve(mdp, 1e-10).values - evaluate_policy(mdp, uniform_policy(mdp)).values
    best = int(np.argmax(gain))
    if label != int(label) or not 0 <= label < mdp.n_states:
        raise Hint(f"Answer with a state, a whole number from 0 to {mdp.n_states - 1}.")
    if int(label) != best:
        raise Hint(
            "Compare two vectors: the optimal values, and the values of the policy that picks actions uniformly "
            "(`evaluate_policy` and `uniform_policy`)."
        )
    return f"There, acting well is worth {gain[best]:.2f} more than acting at random."


EXERCISES = (
    Exercise(
        "write the backup",
        "Write `backup(mdp, v)` in plain Python: the Bellman optimality backup of the vector `v`. "
        "`mdp.transitions(s, a)` gives (probability, next state, reward, terminated); the actions of state s are "
        "`mdp.action[mdp.state_ptr[s]:mdp.state_ptr[s + 1]]`.",
        _backup,
    ),
    Exercise(
        "how many sweeps",
        f"The discount is {_GAMMA}, the first error is {_FIRST_ERROR:g}. After how many sweeps is the error certainly "
        f"at most {_GOAL}?",
        _sweeps_needed,
    ),
    Exercise(
        "where does planning pay",
        "In which state of `make('gridworld')` does the optimal policy gain most over the uniform random one?",
        _worst_cell,
    ),
)
