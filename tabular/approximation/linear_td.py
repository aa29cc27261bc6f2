"""Semi-gradient TD(lambda) with linear features, on policy or off: Sutton & Barto (2018), sections 9.4, 11.1 and 12.9.

    e <- rho (discount lambda e + phi(s)),     w <- w + alpha (r + discount phi(s')^T w - phi(s)^T w) e

with phi(s') = 0 where the episode ended, rho the importance ratio of the action that moved (1 on policy; off-policy
traces are equation 12.25), and e = 0 when an episode begins. With lambda = 0 it is semi-gradient TD(0), equation 11.2.

A target network makes TD(0)'s targets of weights u that are copied from w every so many steps, as in `LinearQ`:

    w <- w + alpha rho (r + discount phi(s')^T u - phi(s)^T w) phi(s)

On policy it goes to the weights with Phi^T D (I - discount P) Phi w = Phi^T D r, D the states' visits (Tsitsiklis & Van
Roy 1997), with a target network or without; off policy it may diverge. With small steps its means change from copy to
copy by `ProjectedBellman.update_matrix`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlbook.errors import ParameterError
from rlbook.kernel import float64, int64, kernel, reads
from rlbook.keyed_random import bits, stream_key
from rlbook.tabular.approximation.argument_checks import number_within
from rlbook.tabular.approximation.linear_kernels import drawn, fill_values, moved, value
from rlbook.tabular.approximation.linear_learner import WALK, LinearPrediction
from rlbook.tabular.learning.frame import (
    ACTION,
    ENVIRONMENT,
    LEARNER,
    POLL,
    RECORD,
    WORLD,
    beginning,
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


@kernel(int64, WORLD, *WALK, SCHEDULE, float64, int64, reads(float64), RECORD)
def linear_td(
    seed: Any,
    world: Any,
    chance: Any,
    ratio: Any,
    phi: Any,
    step_size: Any,
    trace_decay: Any,
    target_every: Any,
    initial: Any,
    record: Any,
) -> Any:
    """Follow one learner; returns the number of steps."""
    state_ptr, row_ptr, following, reward, cut, alias, start_cut, start_alias, discount = world
    marks, by_episodes, most_steps, cancel, progress = record[:5]
    environment, learner = stream_key(seed, 0, ENVIRONMENT), stream_key(seed, 0, LEARNER)
    states, d = phi.shape
    w, e, v = initial.copy(), np.zeros(d), np.empty(states)
    u = w.copy() if target_every > 0 else w
    fading, diverged = discount * trace_decay, False
    visits = np.zeros(counted(step_size, states), np.int64)
    step, episode, at, total = np.int64(0), np.int64(0), 0, 0.0
    mark, tried = marks[0], np.int64(0)
    s = beginning(start_cut, start_alias, environment, step)
    while step < most_steps:
        if step % POLL == 0:
            progress[0] = step
            if cancel[0] != 0:
                break
        first = state_ptr[s]
        n = state_ptr[s + 1] - first
        i = first if n == 1 else drawn(chance, first, n, bits(learner, step, ACTION))
        k = transition(row_ptr, cut, alias, environment, step, i)
        paid, following_state = reward[k], np.int64(following[k])
        total += paid
        if len(visits) > 0:
            visits[s] += 1
            tried = visits[s]
        alpha = rate(step_size, tried, step + 1, episode + 1)
        step += 1
        td_error = np.inf
        if not diverged:
            target = paid if following_state == ENDED else paid + discount * value(phi, following_state, u)
            td_error = target - value(phi, s, w)
            rho = ratio[i]
            for j in range(d):
                e[j] = rho * (fading * e[j] + phi[s, j])
            diverged = moved(w, alpha * td_error, e)
            if target_every > 0 and step % target_every == 0:
                u[:] = w
        acted = s
        if following_state == ENDED:
            episode += 1
            e[:] = 0.0
            s = beginning(start_cut, start_alias, environment, step)
        else:
            s = following_state
        if (episode if by_episodes else step) == mark:
            fill_values(v, phi, w, diverged, 0, states)
            write_record(record, at, v, total, step, episode)
            write_step(record, at, acted, td_error)
            at += 1
            if at == len(marks):
                break
            mark = marks[at]
    progress[0] = step
    return step


@dataclass(frozen=True, eq=False)
class LinearTD(LinearPrediction):
    """Semi-gradient TD(lambda); the module's text has the update, `LinearPrediction` the other fields.

    trace_decay: lambda, in [0, 1]. target_every: steps between copies of the weights into the target network, a whole
    number; 0 for none, and 1 is the same. More than 1 needs trace_decay 0, since traces credit earlier states with
    errors that fresh values would have, and old ones have not.
    """

    trace_decay: float = 0.0
    target_every: int = 0

    name: ClassVar[str] = "linear TD(lambda)"

    def __post_init__(self) -> None:
        super().__post_init__()
        number_within("trace_decay", self.trace_decay, 0.0, 1.0)
        require_whole("target_every", self.target_every, 0, 2**63 - 1)
        if self.target_every > 1 and self.trace_decay > 0:
            raise ParameterError(
                f"target_every is {self.target_every} with trace_decay {self.trace_decay}, but a target network is for "
                "one-step targets; take trace_decay 0, or target_every 0"
            )

    def prepare(self, world: World) -> Follow:
        own = (*self.walk(world), self.schedule, float(self.trace_decay), int(self.target_every), self.initial_weights)

        def follow(seed: int, record: tuple[Any, ...]) -> int:
            return int(linear_td(seed, *own, record))

        return follow
