"""Dyna-Q: Sutton, *Integrated Architectures for Learning, Planning, and Reacting* (1990); Sutton & Barto (2018), 8.2.

Each step makes the update of Q-learning, notes the transition in a model, and then makes n updates of
the same kind with transitions that the model imagines: of a state seen before, drawn uniformly, and an action taken
there before, drawn uniformly. What that leads to is drawn from all its outcomes so far (`learned_model`). With n = 0 it
is Q-learning, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.kernel import float64, inline, int64, kernel, reads
from rlbook.keyed_random import bits, integer_below, stream_key
from rlbook.tabular.learning.frame import (
    ENVIRONMENT,
    LEARNER,
    OWN,
    POLL,
    RECORD,
    WORLD,
    beginning,
    epsilon_greedy,
    transition,
    write_record,
    write_step,
    write_updates,
)
from rlbook.tabular.learning.learner import ControlLearner, Follow
from rlbook.tabular.learning.schedules import SCHEDULE, counted, rate
from rlbook.tabular.sampling_tables import ENDED
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from rlbook.tabular.learning.learner import World

MOST_PLANNING_STEPS = 1_000_000  # far below the draws that fit into a step


@inline
def _unused(word: Any, n: Any) -> Any:
    """The random bits that `integer_below(word, n)` leaves: the fraction behind its integer, good for another draw."""
    return word * np.uint64(n)


@kernel(int64, WORLD, int64, SCHEDULE, SCHEDULE, reads(float64), RECORD)
def dyna_q(
    seed: Any, world: Any, planning_steps: Any, step_size: Any, exploration: Any, initial: Any, record: Any
) -> Any:
    """Follow one epsilon-greedy Dyna-Q learner from episode to episode; returns the number of steps."""
    state_ptr, row_ptr, following, reward, cut, alias, start_cut, start_alias, discount = world
    marks, by_episodes, most_steps, cancel, progress = record[:5]
    environment, learner = stream_key(seed, 0, ENVIRONMENT), stream_key(seed, 0, LEARNER)
    q, states = initial.copy(), len(state_ptr) - 1
    visits = np.zeros(counted(step_size, len(q)), np.int64)
    state_visits = np.zeros(counted(exploration, states), np.int64)
    # The model: transitions seen, and in which states which pairs were taken.
    seen, times = np.zeros(len(following), np.int64), np.zeros(len(q), np.int64)
    known, taken, n_known, n_taken = (
        np.empty(states, np.int64),
        np.empty(len(q), np.int64),
        0,
        np.zeros(states, np.int64),
    )
    step, episode, at, total = np.int64(0), np.int64(0), 0, 0.0
    updates, look = np.int64(0), np.int64(0)
    tried, seen_state = np.int64(0), np.int64(0)
    mark = marks[0]
    s = beginning(start_cut, start_alias, environment, step)
    while step < most_steps:
        if updates >= look:
            look = updates + POLL
            progress[0] = step
            if cancel[0] != 0:
                break
        first = state_ptr[s]
        if len(state_visits) > 0:
            state_visits[s] += 1
            seen_state = state_visits[s]
        epsilon = rate(exploration, seen_state, step + 1, episode + 1)
        i = epsilon_greedy(q, first, state_ptr[s + 1] - first, epsilon, learner, step)
        k = transition(row_ptr, cut, alias, environment, step, i)
        total += reward[k]
        if times[i] == 0:
            if n_taken[s] == 0:
                known[n_known] = s
                n_known += 1
            taken[first + n_taken[s]] = i
            n_taken[s] += 1
        times[i] += 1
        seen[k] += 1
        td_error = 0.0
        # All of it stands here, since an inlined function costs some nanoseconds for each array that it is given, and
        # two of them made this loop four times as slow.
        for planned in range(planning_steps + 1):
            j, imagined = i, k
            if planned > 0:
                word = bits(learner, step, OWN + planned - 1)
                state = known[integer_below(word, n_known)]
                word = _unused(word, n_known)
                j = taken[state_ptr[state] + integer_below(word, n_taken[state])]
                imagined = row_ptr[j]
                if row_ptr[j + 1] - imagined > 1:
                    left = integer_below(_unused(word, n_taken[state]), times[j]) - seen[imagined]
                    while left >= 0:
                        imagined += 1
                        left -= seen[imagined]
            if len(visits) > 0:
                visits[j] += 1
                tried = visits[j]
            alpha = rate(step_size, tried, step + 1, episode + 1)
            target, there = reward[imagined], following[imagined]
            if there != ENDED:
                best = q[state_ptr[there]]
                for a in range(state_ptr[there] + 1, state_ptr[there + 1]):
                    best = max(best, q[a])
                target += discount * best
            if planned == 0:
                td_error = target - q[j]
            q[j] += alpha * (target - q[j])
        step += 1
        updates += planning_steps + 1
        s = np.int64(following[k])
        if s == ENDED:
            episode += 1
            s = beginning(start_cut, start_alias, environment, step)
        if (episode if by_episodes else step) == mark:
            write_record(record, at, q, total, step, episode)
            write_step(record, at, i, td_error)
            write_updates(record, at, updates)
            at += 1
            if at == len(marks):
                break
            mark = marks[at]
    progress[0] = step
    return step


@dataclass(frozen=True, eq=False)
class DynaQ(ControlLearner):
    """Epsilon-greedy Dyna-Q; the module's text has the update, `ControlLearner` the other fields.

    planning_steps: n, the imagined updates after each step, from 0 to a million. A step size by visits counts the
    updates of a pair, imagined ones as well. `updates` of the record counts both kinds. Memory of each replicate: 8
    bytes for each transition of the world, 24 for each pair and 16 for each state.
    """

    planning_steps: int = 5

    name = "Dyna-Q"
    counts_updates = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_planning_steps(self.planning_steps, 0)

    def prepare(self, world: World) -> Follow:
        schedules, initial, steps = self.schedules, self.initial_values(world), int(self.planning_steps)

        def follow(seed: int, record: tuple[Any, ...]) -> int:
            return int(dyna_q(seed, world.arguments, steps, *schedules, initial, record))

        return follow


def check_planning_steps(given: object, least: int) -> None:
    """Raise ParameterError unless it is a whole number from `least` to MOST_PLANNING_STEPS."""
    if not is_whole(given, least, MOST_PLANNING_STEPS):
        raise ParameterError(
            f"planning_steps is {given!r}, but it must be a whole number from {least} to {MOST_PLANNING_STEPS}"
        )
