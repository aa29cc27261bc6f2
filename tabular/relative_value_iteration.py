"""Relative value iteration: the greatest average reward of sets of states that a policy can roam through for ever.

With (T h)(s) = max_a [ r(s, a) + sum p h ] and rows that sum to 1, for *any* vector h

    min (T h - h)  <=  greatest average reward  <=  max (T h - h)           (Odoni 1969; Puterman 1994, section 8.5)

where all states can reach one another. A step is h <- h + tau (T h - h) with 0 < tau < 1, which is a step of an MDP
that stays where it is with probability 1 - tau: it has the same average rewards per decision but no periods, so that
the two bounds meet (Schweitzer 1971; Puterman 1994, section 8.5.4). Some steps under the greedy policy alone follow
each backup (modified policy iteration; Puterman 1994, section 8.7), as many as help. A constant is taken off, which
changes nothing but keeps h small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from rlbook.errors import MDPError
from rlbook.kernel import float64, int32, int64, kernel, reads, uint8, writes
from rlbook.tabular.bellman import LARGEST, PARALLEL_TRANSITIONS, expectation
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.chain_equations import relative_values_of_policy, solves_quickly
from rlbook.tabular.operator import StoredOperator
from rlbook.tabular.solution import History
from rlbook.tabular.stopping import Stopping, cancel_flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.end_components import EndComponents
    from rlbook.tabular.solution import Reason

_MOST_INNER = 1_000
_INNER_FRACTION = 0.02
_FELL = 0.9  # a gap that falls below this part of the last one was worth its inner steps
_PATIENCE, _SLOW = 10, 0.5  # backups after which a gap should be below this part, or equations are solved directly
_WAIT = 1_000.0  # how long the gap may rest, as the horizon of `Stopping`; how well a chain mixes is not known before


class GainBounds(Contraction):
    """The certificate of average rewards, from the least and greatest change of a backup. The shifts are the bounds."""

    @property
    def horizon(self) -> float:
        return _WAIT

    def shifts(self, least: float, greatest: float, magnitude: float) -> tuple[float, float]:
        # A change is rounded too; a second share of a backup's rounding is more than that.
        error = 2 * self.rounding(magnitude)
        return float(np.nextafter(least - error, -np.inf)), float(np.nextafter(greatest + error, np.inf))

    def gap(self, shifts: tuple[float, float], magnitude: float) -> float:
        return float(np.nextafter(shifts[1] - shifts[0], np.inf))


@dataclass(frozen=True, eq=False)
class RelativeValues:
    """What relative value iteration found.

    low, high: bounds on the greatest average reward of each component. h: relative values, (S,), 0 in each first state.
    greedy: a pair per state; its average reward is at least `low`.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    h: NDArray[np.float64]
    greedy: NDArray[np.int64]
    reason: Reason
    history: History


def relative_value_iteration(
    mdp: FiniteMDP,
    components: EndComponents,
    first: NDArray[np.int64],
    tol: float,
    *,
    tau: float,
    initial_values: NDArray[np.float64] | None,
    max_iterations: int,
    cancel: NDArray[np.uint8] | None,
    more_terms: int,
) -> RelativeValues:
    """Average rewards of an MDP that falls into parts with no way between them, each with one end component.

    components: one in each part; other states are left for good under every policy. first: the first state of each
    part, increasing from 0. mdp: nothing terminates; rows sum to 1 but for `more_terms` units of roundoff in each
    probability, for which the bounds hold too.
    """
    plain = Contraction.of(mdp.replace(discount=0.0))
    if not plain.largest_reward:
        nothing = np.zeros(len(first))
        return RelativeValues(
            nothing, nothing.copy(), np.zeros(mdp.n_states), mdp.state_ptr[:-1], "tolerance", History(*np.empty((5, 0)))
        )
    bounds = GainBounds(
        1.0, plain.mass_low, plain.mass_high, plain.row_mass, plain.longest_row + more_terms, plain.largest_reward
    )
    operator = StoredOperator(mdp.replace(discount=1.0))
    stopping = Stopping(bounds, tol, max_iterations, cancel)
    steps = damped_steps_parallel if mdp.n_transitions >= PARALLEL_TRANSITIONS else damped_steps_serial
    rows = (mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability, mdp.expected_reward)
    flag = cancel_flag(cancel)
    sizes = np.diff(np.append(first, mdp.n_states))
    h = np.zeros(mdp.n_states) if initial_values is None else initial_values - np.repeat(initial_values[first], sizes)
    th, scratch, greedy = np.empty_like(h), np.empty_like(h), np.empty(mdp.n_states, dtype=np.int64)

    def extremes(vector: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and greatest change of a backup in each part."""
        operator.backup(vector, th, greedy)
        return np.minimum.reduceat(th - vector, first), np.maximum.reduceat(th - vector, first)

    most, last, best = 0, np.inf, None
    directly: bool | None = None  # found out where it matters
    looked_at, solved_for = np.inf, np.full(mdp.n_states, -1)
    while True:
        if not plain.largest_reward + float(np.abs(h).max()) <= LARGEST:
            raise MDPError(
                f"rewards reach {plain.largest_reward:.3g}, too large for doubles; divide them by a constant"
            )
        least, greatest = extremes(h)
        widest = int(np.argmax(greatest - least))
        stopping.update(float(least[widest]), float(greatest[widest]), h)
        gap = stopping.gap
        if best is None or gap <= best[0]:
            error = 2 * bounds.rounding(max(float(h.max()), -float(h.min())))
            low, high = np.nextafter(least - error, -np.inf), np.nextafter(greatest + error, np.inf)
            best = (gap, low, high, h.copy(), greedy.copy())
        if stopping.reason is not None:
            break
        if directly is not False and stopping.iterations % _PATIENCE == 0:
            slow, looked_at = gap > _SLOW * looked_at, gap
            if slow and directly is None:
                directly = solves_quickly(mdp)
            if slow and directly and not np.array_equal(greedy, solved_for):
                solved_for = greedy.copy()
                solution = relative_values_of_policy(mdp, components, solved_for, first)
                stopping.work += 1.0
                if solution is not None:
                    lowest, highest = extremes(solution)
                    error = bounds.rounding(float(np.abs(solution).max()))
                    if float(np.max(highest - lowest)) < gap or np.all(lowest - error >= least):
                        h = solution
                        continue
                    operator.backup(h, th, greedy)
                    stopping.work += 2.0
        h += tau * (th - h)
        most = min(2 * most + 1, _MOST_INNER) if gap < _FELL * last else most // 4
        last = gap
        goal = _INNER_FRACTION * gap if len(first) == 1 else -1.0
        done = steps(*rows, greedy, tau, h, scratch, goal, most, flag)
        stopping.work += done * mdp.n_states / mdp.n_pairs
        h -= np.repeat(h[first], sizes)
    return RelativeValues(*best[1:], stopping.reason, stopping.history)


def _damped_steps(
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    expected_reward: Any,
    greedy: Any,
    tau: float,
    h: Any,
    scratch: Any,
    goal: float,
    most: int,
    cancel: Any,
) -> int:
    """Repeat h <- h + tau (r + P h - h) under `greedy` until its changes differ by `goal`; return the steps."""
    for step in range(most):
        least, greatest = np.inf, -np.inf
        for s in prange(len(h)):
            i = greedy[s]
            new = expected_reward[i] + expectation(probability, next_state, row_ptr[i], continuing_end[i], h)
            change = new - h[s]
            scratch[s] = h[s] + tau * change
            least = min(least, change)
            greatest = max(greatest, change)
        for s in prange(len(h)):
            h[s] = scratch[s]
        if greatest - least <= goal or cancel[0] != 0:
            return step + 1
    return most


_TYPES = (
    *(reads(int64), reads(int64), reads(int32), reads(float64), reads(float64), writes(int64), float64),
    *(writes(float64), writes(float64), float64, int64, writes(uint8)),
)
damped_steps_serial = kernel(*_TYPES)(_damped_steps)
damped_steps_parallel = kernel(*_TYPES, parallel=True)(_damped_steps)
