"""Semi-gradient Q-learning with linear features, with a target network if wanted: DQN's update without its network.

    w <- w + alpha (r + discount max_b phi(s', b)^T u - phi(s, a)^T w) phi(s, a),      max = 0 where the episode ended

u is w itself (Sutton & Barto 2018, section 11.1), or a copy of w that is taken every so many steps (Mnih et al., Nature
518, 2015). With one-hot features and u = w it is Q-learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlbook.kernel import float64, int64, kernel, reads
from rlbook.keyed_random import stream_key
from rlbook.tabular.approximation.linear_kernels import fill_values, moved, value
from rlbook.tabular.approximation.linear_learner import LinearQLearner
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
    write_record,
    write_step,
)
from rlbook.tabular.learning.learner import Follow
from rlbook.tabular.learning.schedules import SCHEDULE, counted, rate
from rlbook.tabular.sampling_tables import ENDED
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from rlbook.tabular.learning.learner import World


@kernel(int64, WORLD, reads(float64, 2), int64, SCHEDULE, SCHEDULE, reads(float64), RECORD)
def linear_q(
    seed: Any,
    world: Any,
    phi: Any,
    target_every: Any,
    step_size: Any,
    exploration: Any,
    initial: Any,
    record: Any,
) -> Any:
    """Follow one epsilon-greedy learner; returns the number of steps."""
    state_ptr, row_ptr, following, reward, cut, alias, start_cut, start_alias, discount = world
    marks, by_episodes, most_steps, cancel, progress = record[:5]
    environment, learner = stream_key(seed, 0, ENVIRONMENT), stream_key(seed, 0, LEARNER)
    pairs = len(phi)
    w, q, ahead = initial.copy(), np.empty(pairs), np.empty(pairs)
    u = w.copy() if target_every > 0 else w
    diverged = False
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
        first = state_ptr[s]
        n = state_ptr[s + 1] - first
        if len(state_visits) > 0:
            state_visits[s] += 1
            seen = state_visits[s]
        epsilon = rate(exploration, seen, step + 1, episode + 1)
        fill_values(q, phi, w, diverged, first, n)
        i = epsilon_greedy(q, first, n, epsilon, learner, step)
        k = transition(row_ptr, cut, alias, environment, step, i)
        paid, following_state = reward[k], np.int64(following[k])
        total += paid
        if len(visits) > 0:
            visits[i] += 1
            tried = visits[i]
        alpha = rate(step_size, tried, step + 1, episode + 1)
        step += 1
        td_error = np.inf
        if not diverged:
            target = paid
            if following_state != ENDED:
                begins = state_ptr[following_state]
                fill_values(ahead, phi, u, False, begins, state_ptr[following_state + 1] - begins)
                target += discount * greedy(ahead, begins, state_ptr[following_state + 1] - begins)[0]
            td_error = target - value(phi, i, w)
            diverged = moved(w, alpha * td_error, phi[i])
            if target_every > 0 and step % target_every == 0:
                u[:] = w
        s = following_state
        if following_state == ENDED:
            episode += 1
            s = beginning(start_cut, start_alias, environment, step)
        if (episode if by_episodes else step) == mark:
            fill_values(q, phi, w, diverged, 0, pairs)
            write_record(record, at, q, total, step, episode)
            write_step(record, at, i, td_error)
            at += 1
            if at == len(marks):
                break
            mark = marks[at]
    progress[0] = step
    return step


@dataclass(frozen=True, eq=False)
class LinearQ(LinearQLearner):
    """Semi-gradient Q-learning; the module's text has the update, `LinearQLearner` the other fields.

    target_every: steps between copies of the weights into the target network, a whole number; 0 for none, and 1
    is the same.
    """

    target_every: int = 0

    name: ClassVar[str] = "linear Q-learning"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("target_every", self.target_every, 0, 2**63 - 1)

    def prepare(self, world: World) -> Follow:
        own = (*self.arguments(world), int(self.target_every), *self.schedules, self.initial_weights)

        def follow(seed: int, record: tuple[Any, ...]) -> int:
            return int(linear_q(seed, *own, record))

        return follow
