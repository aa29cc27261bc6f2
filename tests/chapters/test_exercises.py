"""Exercises accept right answers, and meet wrong ones with a hint that does not give the answer away."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

import rlbook.chapters
from rlbook.chapters.ch00_welcome.exercises import EXERCISES as WELCOME
from rlbook.chapters.ch02_dynamic_programming.exercises import EXERCISES as DYNAMIC_PROGRAMMING
from rlbook.environments import make
from rlbook.tabular import evaluate_policy, solve, uniform_policy


def q_values(mdp, v, *, discount=None, ends=True):
    gamma = mdp.discount if discount is None else discount
    return [
        [
            sum(p * (r + gamma * v[t] * (not (over and ends))) for p, t, r, over in mdp.transitions(s, int(a)))
            for a in mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]
        ]
        for s in range(mdp.n_states)
    ]


def right_backup(mdp, v):
    return np.array([max(q) for q in q_values(mdp, v)])


def best_state():
    mdp = make("gridworld")
    return int(np.argmax(solve(mdp, 1e-9).values - evaluate_policy(mdp, uniform_policy(mdp)).values))


RIGHT = [
    (WELCOME[0], 64),
    (WELCOME[1], {"pays": "heavy tail", "tail": 1.1}),
    (DYNAMIC_PROGRAMMING[0], right_backup),
    (DYNAMIC_PROGRAMMING[1], 135),
    (DYNAMIC_PROGRAMMING[2], best_state()),
]
WRONG = [
    (WELCOME[0], 8, "slope"),
    (WELCOME[0], 5, "halve"),
    (WELCOME[0], "many", "number"),
    (WELCOME[1], {}, "variance"),
    (WELCOME[1], 3, "dictionary"),
    (WELCOME[1], {"tale": 1.1}, "did you mean tail"),
    (DYNAMIC_PROGRAMMING[0], 3, "without calling"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: ..., "Replace the dots"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: [max(q) for q in q_values(mdp, v, discount=1.0)], "one step later"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: [max(q) for q in q_values(mdp, v, ends=False)], "terminates"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: [np.mean(q) for q in q_values(mdp, v)], "average"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: v[:-1], "shape"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: v, "by hand"),
    (DYNAMIC_PROGRAMMING[0], lambda mdp, v: 1 / 0, "ZeroDivisionError"),
    (DYNAMIC_PROGRAMMING[1], 134.67, "whole"),
    (DYNAMIC_PROGRAMMING[1], 100, "more"),
    (DYNAMIC_PROGRAMMING[1], 200, "fewer"),
    (DYNAMIC_PROGRAMMING[2], -1, "whole number"),
    (DYNAMIC_PROGRAMMING[2], (best_state() + 1) % 40, "Compare"),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT, ids=lambda item: getattr(item, "name", ""))
def test_right_answers_are_accepted(exercise, answer):
    feedback = exercise(answer)
    assert feedback, repr(feedback)
    assert "Right" in feedback._repr_markdown_()


@pytest.mark.parametrize(("exercise", "answer", "hint"), WRONG, ids=lambda item: getattr(item, "name", ""))
def test_wrong_answers_get_a_hint(exercise, answer, hint):
    feedback = exercise(answer)
    assert not feedback
    assert hint in feedback.message


@pytest.mark.parametrize("exercise", [*WELCOME, *DYNAMIC_PROGRAMMING], ids=lambda exercise: exercise.name)
def test_dots_are_not_an_answer(exercise):
    assert "Replace the dots" in exercise(...).message


def test_every_exercise_of_the_book_is_here():
    """Prevents an exercise whose check nobody ever tried."""
    tried = {exercise for exercise, _ in RIGHT}
    for folder in sorted(path.name for path in Path(next(iter(rlbook.chapters.__path__))).glob("ch[0-9][0-9]_*")):
        for exercise in importlib.import_module(f"rlbook.chapters.{folder}.exercises").EXERCISES:
            assert exercise in tried, exercise.name
