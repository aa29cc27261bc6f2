"""n-step TD: Sutton & Barto, *Reinforcement Learning: An Introduction* (2018), section 7.1.

V(S_t) <- V(S_t) + alpha (G - V(S_t)),   G = R_{t+1} + ... + discount^{n-1} R_{t+n} + discount^n V(S_{t+n})

An update waits for the n-th step after its visit, and uses the values of that moment. Where the episode ends earlier,
the return has no last term, and the updates that are left follow at once, in the order of their visits. n = 1 is TD(0);
an n that no episode exceeds is Monte Carlo with a constant step size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlbook.errors import ParameterError
from rlbook.kernel import float64, inline, int64, kernel, reads
from rlbook.keyed_random import stream_key
from rlbook.tabular.learning.frame import (
    ENVIRONMENT,
    POLL,
    RECORD,
    WORLD,
    beginning,
    transition,
    write_record,
    write_step,
)
from rlbook.tabular.learning.learner import Follow
from rlbook.tabular.learning.prediction import PredictionLearner
from rlbook.tabular.learning.schedules import SCHEDULE, counted, rate
from rlbook.tabular.sampling_tables import ENDED
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from rlbook.tabular.learning.learner import World

MOST_STEPS_BACK = 1_000_000  # 16 bytes each, for every thread
_NOBODY = -1


@inline
def _before(place: Any, n: Any) -> Any:
    """The place before one in a ring of n."""
    return place - 1 if place > 0 else n - 1


@inline
def _after(place: Any, n: Any) -> Any:
    """The place after one in a ring of n."""
    return place + 1 if place + 1 < n else np.int64(0)


@kernel(int64, WORLD, SCHEDULE, int64, reads(float64), RECORD)
def n_step_td(seed: Any, world: Any, step_size: Any, n: Any, initial: Any, record: Any) -> Any:
    """Follow one n-step TD learner in a world with one action in each state; returns the number of steps."""
    row_ptr, following, reward, cut, alias, start_cut, start_alias, discount = world[1:]
    marks, by_episodes, most_steps, cancel, progress = record[:5]
    environment = stream_key(seed, 0, ENVIRONMENT)
    v = initial.copy()
    visits = np.zeros(counted(step_size, len(v)), np.int64)
    # A ring of the visits that wait for their update, and of the reward that followed each.
    states, gains = np.empty(n, np.int64), np.empty(n)
    waiting, last = np.int64(0), n - 1
    step, episode, at, total = np.int64(0), np.int64(0), 0, 0.0
    mark, tried = marks[0], np.int64(0)
    moved, td_error = np.int64(_NOBODY), np.nan
    s = beginning(start_cut, start_alias, environment, step)
    while step < most_steps:
        if step % POLL == 0:
            progress[0] = step
            if cancel[0] != 0:
                break
        k = transition(row_ptr, cut, alias, environment, step, s)
        paid, following_state = reward[k], np.int64(following[k])
        total += paid
        last = _after(last, n)
        states[last], gains[last] = s, paid
        waiting += 1
        step += 1
        ended = following_state == ENDED
        ready = np.int64(0)
        place = last
        if ended:
            # No later value matters, so all returns are known before the first update.
            gain = 0.0
            for back in range(waiting):
                place = place if back == 0 else _before(place, n)
                gain = gains[place] + discount * gain
                gains[place] = gain
            ready = waiting
        elif waiting == n:
            gain = v[following_state]
            for back in range(n):
                place = place if back == 0 else _before(place, n)
                gain = gains[place] + discount * gain
            gains[place] = gain
            ready = np.int64(1)
        for _ in range(ready):
            moved = states[place]
            if len(visits) > 0:
                visits[moved] += 1
                tried = visits[moved]
            alpha = rate(step_size, tried, step, episode + 1)
            td_error = gains[place] - v[moved]
            v[moved] += alpha * td_error
            place = _after(place, n)
        waiting -= ready
        if ended:
            episode += 1
            s = beginning(start_cut, start_alias, environment, step)
        else:
            s = following_state
        if (episode if by_episodes else step) == mark:
            write_record(record, at, v, total, step, episode)
            write_step(record, at, moved, td_error)
            at += 1
            if at == len(marks):
                break
            mark = marks[at]
    progress[0] = step
    return step


@dataclass(frozen=True, eq=False)
class NStepTD(PredictionLearner):
    """n-step TD; the module's text has the update, `PredictionLearner` the other fields.

    n: steps of each return, 1 to a million. Records name the state that was updated last, or -1 before the first.
    """

    n: int = 4

    name: ClassVar[str] = "n-step TD"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_whole(self.n, 1, MOST_STEPS_BACK):
            raise ParameterError(f"n is {self.n!r}, but it must be a whole number from 1 to {MOST_STEPS_BACK}")

    def prepare(self, world: World) -> Follow:
        chain, schedule, initial, n = self.chain(world), self.schedule, self.initial_values(world), int(self.n)

        def follow(seed: int, record: tuple[Any, ...]) -> int:
            return int(n_step_td(seed, chain.arguments, schedule, n, initial, record))

        return follow
