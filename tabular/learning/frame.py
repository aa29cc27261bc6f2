"""What the kernels of all learners share: the world they sample, the choice of actions, and the record they keep.

A learner's kernel follows one replicate. Random numbers are keyed by (seed, purpose, step, draw): what the environment
does and what the learner does are two purposes, so that learners which act alike meet the same transitions, and a
replicate's numbers do not depend on the others, on their order, or on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from rlbook.kernel import boolean, float64, inline, int64, reads, uint8, writes
from rlbook.keyed_random import bits, integer_below, uniform
from rlbook.tabular.sampling_tables import TABLE_TYPES, alias_draw

ENVIRONMENT, LEARNER = 0, 1  # purposes of random numbers
NEXT, START = 0, 1  # the environment's draws
EXPLORE, ACTION, OWN = 0, 1, 2  # the learner's draws; from OWN on each learner has its own
POLL = 4096  # steps between looks at the cancel flag

WORLD = types.Tuple(
    (
        reads(int64),  # state_ptr
        *TABLE_TYPES,
        float64,  # discount
    )
)
RECORD = types.Tuple(
    (
        reads(int64),  # marks: when to write, in steps or finished episodes, increasing
        boolean,  # whether marks count episodes
        int64,  # steps at most
        writes(uint8),  # cancel
        writes(int64),  # progress: (1,), steps so far
        reads(float64),  # truth, (entries,) with NaN where nothing is judged; or empty
        writes(float64),  # error: greatest |estimate - truth| at each mark
        writes(float64),  # rms_error: its root mean square
        writes(float64),  # reward: sum so far
        writes(int64),  # step
        writes(int64),  # episode: finished so far
        writes(float64, 2),  # estimates at each mark, (marks, entries); or (0, entries)
        writes(float64, 2),  # traces at each mark, (marks, entries); or (0, entries)
        writes(int64),  # pair (or state) that acted last before each mark; or empty
        writes(float64),  # its temporal-difference error; or empty
        writes(int64),  # updates of single estimates so far, planned ones as well; or empty
        writes(float64, 3),  # parameters of return laws at each mark, (marks, entries, n_parameters); or (0, 0, 0)
    )
)


@inline
def greedy(q: Any, first: Any, n: Any) -> Any:
    """The greatest of q[first : first + n], how many share it, and where the first of them is."""
    best, ties, chosen = q[first], 1, first
    # Choices instead of branches: which action is best changes too often to be foreseen.
    for j in range(1, n):
        value = q[first + j]
        more, same = value > best, value == best
        ties = 1 if more else ties + same
        chosen = first + j if more else chosen
        best = value if more else best
    return best, ties, chosen


@inline
def tied(q: Any, first: Any, n: Any, best: Any, ties: Any, word: Any) -> Any:
    """One of the entries of q[first : first + n] that equal `best`, of which there are `ties`, by 64 random bits."""
    left = integer_below(word, ties)
    chosen = first
    for i in range(first, first + n):
        if q[i] == best:
            if left == 0:
                chosen = i
                break
            left -= 1
    return chosen


@inline
def epsilon_greedy(q: Any, first: Any, n: Any, epsilon: Any, learner: Any, step: Any) -> Any:
    """The pair that an epsilon-greedy learner takes at this step; ties are broken by chance."""
    if epsilon > 0.0 and uniform(bits(learner, step, EXPLORE)) < epsilon:
        return first + integer_below(bits(learner, step, ACTION), n)
    best, ties, chosen = greedy(q, first, n)
    if ties > 1:
        chosen = tied(q, first, n, best, ties, bits(learner, step, ACTION))
    return chosen


@inline
def transition(row_ptr: Any, cut: Any, alias: Any, environment: Any, step: Any, i: Any) -> Any:
    """The place of the transition that pair i makes at this step, in arrays of transitions."""
    first = row_ptr[i]
    n = row_ptr[i + 1] - first
    if n == 1:
        return first
    return alias_draw(first, n, cut, alias, uniform(bits(environment, step, NEXT)))


@inline
def beginning(start_cut: Any, start_alias: Any, environment: Any, step: Any) -> Any:
    """The state in which the episode that starts at this step begins."""
    return alias_draw(np.int64(0), len(start_cut), start_cut, start_alias, uniform(bits(environment, step, START)))


@inline
def write_record(record: Any, at: Any, estimates: Any, reward: Any, step: Any, episode: Any) -> None:
    """Write the record's row `at`, but for traces, pair and temporal-difference error."""
    truth, error, rms_error = record[5], record[6], record[7]
    worst, total, judged = 0.0, 0.0, 0
    for j in range(len(truth)):
        if truth[j] == truth[j]:  # not NaN
            off = abs(estimates[j] - truth[j])
            # A maximum would pass over NaN, and call the error of a learner that has diverged 0.
            worst = off if off > worst or off != off else worst
            total += off * off
            judged += 1
    if judged > 0:
        error[at] = worst
        rms_error[at] = np.sqrt(total / judged)
    record[8][at] = reward
    record[9][at] = step
    record[10][at] = episode
    if len(record[11]) > 0:
        record[11][at] = estimates


@inline
def write_step(record: Any, at: Any, pair: Any, td_error: Any) -> None:
    """Write which pair (or state) acted, and its temporal-difference error, where they are kept."""
    if len(record[13]) > 0:
        record[13][at] = pair
        record[14][at] = td_error


@inline
def write_updates(record: Any, at: Any, updates: Any) -> None:
    """Write how many updates of single estimates were made so far, by learners that make others than one per step."""
    if len(record[15]) > 0:
        record[15][at] = updates


@inline
def write_laws(record: Any, at: Any, parameters: Any) -> None:
    """Write the parameters of the laws that a learner keeps, (entries, n_parameters), where they are asked for."""
    if len(record[16]) > 0:
        record[16][at] = parameters
