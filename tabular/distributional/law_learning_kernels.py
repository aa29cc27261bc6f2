"""Kernels of learners that keep a law of the return for each state or pair: one walks, the other reads transitions.

How a law moves says law_rules.py. The number that stands for a law, its mean or a distorted one, is kept beside it:
actions are greedy in it, and it is what the record calls the estimate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbook.kernel import boolean, int64, kernel
from rlbook.keyed_random import bits, integer_below, stream_key
from rlbook.tabular.distributional.law_rules import LAWS, move_law, scratch_for, stands_for
from rlbook.tabular.learning.frame import (
    ENVIRONMENT,
    LEARNER,
    POLL,
    RECORD,
    WORLD,
    beginning,
    epsilon_greedy,
    greedy,
    transition,
    write_laws,
    write_record,
    write_step,
)
from rlbook.tabular.learning.one_step_kernels import PLACE, TRANSITIONS
from rlbook.tabular.learning.schedules import SCHEDULE, counted, rate
from rlbook.tabular.sampling_tables import ENDED


@kernel(int64, WORLD, LAWS, SCHEDULE, SCHEDULE, RECORD)
def law_walk(seed: Any, world: Any, laws: Any, step_size: Any, exploration: Any, record: Any) -> Any:
    """Follow one learner from episode to episode, epsilon-greedy in the numbers that stand for laws; returns steps.

    In a world with one action in each state it watches that policy, and meets the transitions that TD(0) meets.
    """
    state_ptr, row_ptr, following, reward, cut, alias, start_cut, start_alias, discount = world
    marks, by_episodes, most_steps, cancel, progress = record[:5]
    environment, learner = stream_key(seed, 0, ENVIRONMENT), stream_key(seed, 0, LEARNER)
    table = laws[10].copy()
    pairs, m = table.shape
    kept, q, scratch = table.reshape(-1), np.empty(pairs), scratch_for(laws)
    points, weights, distorted = laws[1], laws[4], laws[5]
    for pair in range(pairs):
        q[pair] = stands_for(points, weights, distorted, kept, pair * m, m)
    visits = np.zeros(counted(step_size, pairs), np.int64)
    state_visits = np.zeros(counted(exploration, len(state_ptr) - 1), np.int64)
    step, episode, at, total = np.int64(0), np.int64(0), 0, 0.0
    seen, tried = np.int64(0), np.int64(0)
    mark = marks[0]
    s = beginning(start_cut, start_alias, environment, step)
    while step < most_steps:
        if step % POLL == 0:
            progress[0] = step
            if cancel[0] != 0:
                break
        if len(state_visits) > 0:
            state_visits[s] += 1
            seen = state_visits[s]
        epsilon = rate(exploration, seen, step + 1, episode + 1)
        i, n = state_ptr[s], state_ptr[s + 1] - state_ptr[s]
        if n > 1:
            i = epsilon_greedy(q, i, n, epsilon, learner, step)
        k = transition(row_ptr, cut, alias, environment, step, i)
        paid, s = reward[k], np.int64(following[k])
        total += paid
        if len(visits) > 0:
            visits[i] += 1
            tried = visits[i]
        alpha = rate(step_size, tried, step + 1, episode + 1)
        step += 1
        ended = s == ENDED
        target, on = paid, i
        if not ended:
            on = greedy(q, state_ptr[s], state_ptr[s + 1] - state_ptr[s])[2]
            target += discount * q[on]
        td_error = target - q[i]
        move_law(laws, alpha, paid, discount, ended, kept, on * m, learner, step, scratch, kept, i * m)
        q[i] = stands_for(points, weights, distorted, kept, i * m, m)
        if ended:
            episode += 1
            s = beginning(start_cut, start_alias, environment, step)
        if (episode if by_episodes else step) == mark:
            write_record(record, at, q, total, step, episode)
            write_step(record, at, i, td_error)
            write_laws(record, at, table)
            at += 1
            if at == len(marks):
                break
            mark = marks[at]
    progress[0] = step
    return step


@kernel(int64, WORLD, LAWS, boolean, boolean, TRANSITIONS, SCHEDULE, RECORD)
def law_updates(
    seed: Any, world: Any, laws: Any, synchronous: Any, in_order: Any, batch: Any, step_size: Any, record: Any
) -> Any:
    """Learn from a batch, or from a generative model where it is empty, as `one_step_updates` does; returns steps."""
    state_ptr, row_ptr, following, reward, cut, alias, _, _, discount = world
    marks, _, most_steps, cancel, progress = record[:5]
    stored_pair, stored_reward, stored_next = batch
    environment, learner = stream_key(seed, 0, ENVIRONMENT), stream_key(seed, 0, LEARNER)
    table = laws[10].copy()
    pairs, m = table.shape
    kept, q, scratch = table.reshape(-1), np.empty(pairs), scratch_for(laws)
    points, weights, distorted = laws[1], laws[4], laws[5]
    for pair in range(pairs):
        q[pair] = stands_for(points, weights, distorted, kept, pair * m, m)
    before, ranked = (kept.copy(), q.copy()) if synchronous else (kept, q)
    visits = np.zeros(counted(step_size, pairs), np.int64)
    stored, updates = len(stored_pair), np.int64(pairs if synchronous else 1)
    step, update, at, total = np.int64(0), np.int64(0), 0, 0.0
    tried, to_poll, td_error = np.int64(0), np.int64(0), 0.0
    mark = marks[0]
    while step < most_steps:
        if to_poll <= 0:
            to_poll = np.int64(POLL)
            progress[0] = step
            if cancel[0] != 0:
                break
        to_poll -= updates
        if synchronous:
            before[:] = kept
            ranked[:] = q
        for turn in range(updates):
            i = np.int64(turn)
            if stored > 0:
                place = update % stored if in_order else integer_below(bits(environment, update, PLACE), stored)
                i = stored_pair[place]
                paid, s = stored_reward[place], np.int64(stored_next[place])
            else:
                if not synchronous:
                    i = integer_below(bits(environment, update, PLACE), pairs)
                k = transition(row_ptr, cut, alias, environment, update, i)
                paid, s = reward[k], np.int64(following[k])
            total += paid
            if len(visits) > 0:
                visits[i] += 1
                tried = visits[i]
            alpha = rate(step_size, tried, step + 1, 1)
            ended = s == ENDED
            target, on = paid, i
            if not ended:
                on = greedy(ranked, state_ptr[s], state_ptr[s + 1] - state_ptr[s])[2]
                target += discount * ranked[on]
            td_error = target - q[i]
            move_law(laws, alpha, paid, discount, ended, before, on * m, learner, update, scratch, kept, i * m)
            q[i] = stands_for(points, weights, distorted, kept, i * m, m)
            update += 1
        step += 1
        if step == mark:
            write_record(record, at, q, total, step, 0)
            write_step(record, at, i, td_error)
            write_laws(record, at, table)
            at += 1
            if at == len(marks):
                break
            mark = marks[at]
    progress[0] = step
    return step
