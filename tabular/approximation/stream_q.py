"""Stream Q(lambda), its linear part: Elsayed, Vasan & Mahmood, *Streaming Deep RL Finally Works* (arXiv 2410.14606).

Every sample is used once, with eligibility traces, and the step size is bounded so that no update can overshoot (ObGD):

    z <- discount lambda z + phi(s, a)             (from 0 where the action explores, as Watkins cuts them)
    d = r + discount max_b phi(s', b)^T w - phi(s, a)^T w
    M = alpha kappa max(|d|, 1) |z|_1,     w <- w + alpha / max(M, 1) d z

as in the authors' code (optim.py), where traces are cut after the exploring step, not before it. Why it is bounded: the
update moves each action value by at most alpha / max(M, 1) |d| |z|_1 |phi|, |phi| the greatest feature, and so d by at
most (1 + discount) |phi| / (kappa max(|d|, 1)) of itself. With features in [-1, 1] and kappa >= 1 + discount the same
temporal-difference error is never beyond zero after it. With bounded=False it is linear Q(lambda), which may diverge.

(Read: the paper's algorithm 3, section 3.2, as others quote it; the authors' code, optim.py and their wrappers; not the
rest of its text.) Three more parts of stream-x are
left out. Running normalisation of observations: features here lie in [-1, 1] as they are made, which the bound needs
and normalised ones do not. Sparse initialisation and layer normalisation: linear weights begin at `initial`, and there
are no layers. Scaling of rewards by the running deviation of discounted returns: it changes the unit of the weights
while they are learnt, and then max(|d|, 1) is another bound; scale the rewards of the MDP instead, which are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlbook.kernel import boolean, float64, int64, kernel, reads, writes
from rlbook.keyed_random import stream_key
from rlbook.tabular.approximation.argument_checks import number_within, require_seed
from rlbook.tabular.approximation.linear_kernels import fill_values, moved, value
from rlbook.tabular.approximation.linear_learner import LinearQLearner, own_record
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
from rlbook.tabular.learning.learner import Follow, World
from rlbook.tabular.learning.schedules import SCHEDULE, counted, rate
from rlbook.tabular.sampling_tables import ENDED
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

_MOST_STEPS = 100_000_000  # whose effective steps are kept
_ROUNDING = 1e-9  # of targets: smaller errors are mostly rounding, and so would be how much of them is left


@kernel(
    int64,
    WORLD,
    reads(float64, 2),
    float64,
    boolean,
    float64,
    SCHEDULE,
    SCHEDULE,
    reads(float64),
    writes(float64),
    RECORD,
)
def stream_q(
    seed: Any,
    world: Any,
    phi: Any,
    trace_decay: Any,
    bounded: Any,
    kappa: Any,
    step_size: Any,
    exploration: Any,
    initial: Any,
    effective: Any,
    record: Any,
) -> Any:
    """Follow one epsilon-greedy learner; returns the number of steps."""
    state_ptr, row_ptr, following, reward, cut, alias, start_cut, start_alias, discount = world
    marks, by_episodes, most_steps, cancel, progress = record[:5]
    environment, learner = stream_key(seed, 0, ENVIRONMENT), stream_key(seed, 0, LEARNER)
    pairs, d = phi.shape
    w, z, q = initial.copy(), np.zeros(d), np.empty(pairs)
    fading, diverged = discount * trace_decay, False
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
        is_greedy = q[i] == greedy(q, first, n)[0]
        k = transition(row_ptr, cut, alias, environment, step, i)
        paid, following_state = reward[k], np.int64(following[k])
        total += paid
        if len(visits) > 0:
            visits[i] += 1
            tried = visits[i]
        alpha = rate(step_size, tried, step + 1, episode + 1)
        begins, many = np.int64(0), np.int64(0)
        if following_state != ENDED:
            begins = state_ptr[following_state]
            many = state_ptr[following_state + 1] - begins
        td_error = np.inf
        if not diverged:
            target = paid
            if many > 0:
                fill_values(q, phi, w, False, begins, many)
                target += discount * greedy(q, begins, many)[0]
            td_error = target - value(phi, i, w)
            reach = 0.0
            for j in range(d):
                z[j] = (fading * z[j] if is_greedy else 0.0) + phi[i, j]
                reach += abs(z[j])
            if bounded:
                alpha /= max(1.0, alpha * kappa * max(abs(td_error), 1.0) * reach)
            diverged = moved(w, alpha * td_error, z)
            if len(effective) > 0 and abs(td_error) > _ROUNDING * max(1.0, abs(target)):
                after = paid - value(phi, i, w)
                if many > 0:
                    fill_values(q, phi, w, False, begins, many)
                    after += discount * greedy(q, begins, many)[0]
                effective[step] = (td_error - after) / td_error
        elif len(effective) > 0:
            effective[step] = np.inf
        step += 1
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
        if following_state == ENDED:
            z[:] = 0.0
    progress[0] = step
    return step


@dataclass(frozen=True, eq=False)
class StreamQ(LinearQLearner):
    """Stream Q(lambda); the module's text has the update, `LinearQLearner` and `LinearControl` the other fields.

    trace_decay: lambda, in [0, 1]. bounded: whether the step size is bounded. kappa: how much it is, positive; the
    paper takes 2 and a step size of 1.
    """

    trace_decay: float = 0.8
    bounded: bool = True
    kappa: float = 2.0

    name: ClassVar[str] = "stream Q(lambda)"

    def __post_init__(self) -> None:
        super().__post_init__()
        number_within("trace_decay", self.trace_decay, 0.0, 1.0)
        number_within("kappa", self.kappa, 0.0, above=True)

    def own_arguments(self, world: World) -> tuple[Any, ...]:
        """What the kernel reads, but for seed, effective steps and record."""
        own = (float(self.trace_decay), bool(self.bounded), float(self.kappa))
        return (*self.arguments(world), *own, *self.schedules, self.initial_weights)

    def prepare(self, world: World) -> Follow:
        own, nowhere = self.own_arguments(world), np.empty(0)

        def follow(seed: int, record: tuple[Any, ...]) -> int:
            return int(stream_q(seed, *own, nowhere, record))

        return follow


def effective_steps(mdp: FiniteMDP, learner: StreamQ, seed: int, steps: int) -> NDArray[np.float64]:
    """By which part of itself each update corrects its own temporal-difference error, (steps,).

    1 takes the error to zero, and more overshoots; 0 where the error was below 1e-9 of its target, so that there was
    only rounding to be measured; +inf once the weights have diverged. The same learner on the same luck as in
    `replicate`. seed: from 0 to 2^63 - 1. steps: at most 100 million. Raises ParameterError.
    """
    require_whole("steps", steps, 1, _MOST_STEPS)
    _, record = own_record(mdp, [steps], "errors")
    found = np.zeros(steps)
    stream_q(require_seed(seed), *learner.own_arguments(World(mdp)), found, record)
    return found
