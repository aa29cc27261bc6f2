"""An MDP with the return so far as a part of its state, for a finite number of decisions.

The risk of a return depends on what has been earned, and so must a policy that minimises it. On pairs of a state s and
the return y so far, an expected score f of the whole cost -G is found by backward induction, for every f:

    V_H(s, y) = f(-y),   V_t(s, y) = min_a E[V_{t+1}(S', y + discount^t R)],   f(-y - discount^t R) where it terminates

(Baeuerle & Ott, "Markov Decision Processes with Average-Value-at-Risk criteria", 2011, of which we could read the
abstract only; Han, Liu & Yu 2025 for other scores.) Returns are kept as whole multiples of a step. Where all rewards
are such multiples and the discount is 1, this is exact. Else each discounted reward is rounded to the nearest one, and
`rounding` bounds by how much a return can differ from what was kept of it, on every path and for every policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import Cancelled, MDPError, ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.augmented_kernels import augmented_backup, augmented_step, sampled_step
from rlbook.tabular.distributional.laws import DiscreteLaws
from rlbook.tabular.distributional.return_range import return_range
from rlbook.tabular.policy_rows import require_stored
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_MOST_PLACES = 20_000_000  # of (stage, state, return): 80 MB for a policy
_MOST_JUMPS = 50_000_000  # of (stage, reward, return)
_LARGEST_WHOLE = 2**53
_FINEST = 10**6  # rewards that are no fractions with a denominator up to here lie on no lattice

Policy = tuple["NDArray[np.int32]", ...]


def reward_step(mdp: FiniteMDP) -> float:
    """The largest number of which all rewards are whole multiples, in units of reward; 1 where all rewards are 0.

    Raises MDPError where rewards are no fractions with denominators up to a million.
    """
    require_stored(mdp, "reward_step")
    rewards = [float(r) for r in _paid(mdp)[0]]
    exact = [Fraction(reward).limit_denominator(_FINEST) for reward in rewards]
    off = [r for r, near in zip(rewards, exact, strict=True) if abs(r - float(near)) > 1e-12 * max(1.0, abs(r))]
    if off:
        raise MDPError(
            f"a reward is {off[0]!r}, which is no fraction with a denominator up to {_FINEST}; give a step to round to"
        )
    denominator = math.lcm(*(near.denominator for near in exact))
    common = math.gcd(*(int(near * denominator) for near in exact))
    return common / denominator if common else 1.0


@dataclass(frozen=True, eq=False)
class AugmentedReturns:
    """Returns that can have been earned after each decision, and how rewards lead from one to the next; see `augment`.

    points: for each stage, 0 to horizon, the returns with which an episode may be under way, int64 (returns,), rising,
    in steps; endings: the same for episodes that ended in the decision before, for stages 1 to horizon. reward: float64
    (kinds,), the different rewards; kind: int32 (transitions,), which of them each transition pays. jumps, leaves: for
    each stage but the last, int64 (kinds, returns), places among the next points and endings. reach: for each stage but
    the last, int64 (S, 2), from where up to where in the points a state may be. rounding: in units of return. Policies
    are one int32 (S, returns) array for each decision: the place of the action among those of its state.
    """

    mdp: FiniteMDP = field(repr=False)
    horizon: int
    step: float
    points: tuple[NDArray[np.int64], ...] = field(repr=False)
    endings: tuple[NDArray[np.int64], ...] = field(repr=False)
    reward: NDArray[np.float64] = field(repr=False)
    kind: NDArray[np.int32] = field(repr=False)
    jumps: tuple[NDArray[np.int64], ...] = field(repr=False)
    leaves: tuple[NDArray[np.int64], ...] = field(repr=False)
    reach: tuple[NDArray[np.int64], ...] = field(repr=False)
    rounding: float

    @property
    def places(self) -> int:
        """How many triples of stage, state and return there is a decision for."""
        return int(sum(np.diff(reach).sum() for reach in self.reach))

    @property
    def tail(self) -> float:
        """A bound on all that is earned after the horizon, in units of return, were the MDP to go on."""
        return float(self.mdp.discount**self.horizon * max(abs(end) for end in return_range(self.mdp)))

    @cached_property
    def final_costs(self) -> NDArray[np.float64]:
        """Costs, the returns with their sign turned, with which an episode can end, rising."""
        under_way = self.points[-1][: 0 if np.all(self.mdp.terminated) else None]
        return -self.step * np.unique(np.concatenate([*self.endings, under_way]))[::-1]

    def minimise(
        self, score: Callable[[NDArray[np.float64]], NDArray[np.float64]], cancel: NDArray[np.uint8] | None = None
    ) -> tuple[float, Policy]:
        """The least expected score of the cost of an episode from the start, and a policy that attains it.

        score: a function of costs, (k,) -> (k,). cancel: uint8 (1,), looked at between stages; raises Cancelled.
        """
        states = self.mdp.n_states
        value = np.ascontiguousarray(np.broadcast_to(score(self._costs(self.points[-1])), (states, self._sizes[-1])))
        policy: list[NDArray[np.int32]] = []
        for stage in range(self.horizon - 1, -1, -1):
            if cancel is not None and cancel[0]:
                raise Cancelled
            ended = score(self._costs(self.endings[stage]))
            out = np.zeros((states, self._sizes[stage]))
            chosen = np.zeros(out.shape, dtype=np.int32)
            augmented_backup(self._rows(stage), _fixed(ended), _fixed(value), out, chosen)
            value = out
            policy.append(_fixed(chosen))
        return float(self.mdp.start @ value[:, 0]), tuple(policy[::-1])

    def memoryless(self, policy: ArrayLike) -> Policy:
        """A policy that does not look at the return so far, written as one that may.

        policy: places of actions among those of their state, integers, (S,) or (horizon, S).
        """
        given = np.asarray(policy, dtype=np.int32)
        if given.shape not in ((self.mdp.n_states,), (self.horizon, self.mdp.n_states)):
            raise ParameterError(
                f"policy has shape {given.shape}; give ({self.mdp.n_states},), or ({self.horizon}, {self.mdp.n_states})"
            )
        table = np.broadcast_to(given, (self.horizon, self.mdp.n_states))
        if np.any((table < 0) | (table >= np.diff(self.mdp.state_ptr))):
            raise ParameterError("policy names an action that its state does not have; give places from 0 up")
        return tuple(
            _fixed(np.repeat(row[:, None], size, axis=1)) for row, size in zip(table, self._sizes[:-1], strict=True)
        )

    def occupancies(self, policy: Policy) -> list[NDArray[np.float64]]:
        """Chances of being in each state with each return, still under way, (S, returns) for stages 0 to horizon."""
        return self._forward(policy)[0]

    def law(self, policy: Policy) -> DiscreteLaws:
        """The law of the (rounded) return from the start, as one law."""
        under_way, ended = self._forward(policy)
        atoms = np.concatenate([*self.endings, self.points[-1]])
        mass = np.concatenate([*ended, under_way[-1].sum(axis=0)])
        mass /= mass.sum()
        return DiscreteLaws.from_arrays(self.step * atoms, mass)

    def sample(self, policy: Policy, n: int, seed: int = 0) -> NDArray[np.float64]:
        """n independent returns from the start, (n,), not rounded: the policy alone looks at rounded ones.

        Return i is a function of (seed, i) alone.
        """
        from rlbook.keyed_random import keyed_uniforms

        require_whole("n", n, 1, 2**40)
        require_whole("seed", seed, 0, 2**63 - 1)
        self._check(policy)
        begin = np.searchsorted(np.cumsum(self.mdp.start)[:-1], keyed_uniforms(seed, n), side="right")
        state, place = begin.astype(np.int64), np.zeros(n, dtype=np.int64)
        gained, alive = np.zeros(n), np.ones(n, dtype=np.uint8)
        for stage in range(self.horizon):
            rows = self._rows(stage)
            weight = self.mdp.discount**stage
            sampled_step(rows, self.reward, policy[stage], seed, stage, weight, state, place, gained, alive)
        return gained

    def _check(self, policy: Policy) -> None:
        """Raise ParameterError unless it has one table of int32 for each decision."""
        wanted = [(self.mdp.n_states, size) for size in self._sizes[:-1]]
        if [getattr(table, "shape", None) for table in policy] != wanted:
            raise ParameterError(
                f"policy has {len(policy)} tables, or some of another shape; give one for each of {self.horizon} "
                "decisions, as minimise and memoryless make them"
            )

    def _costs(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(-self.step * points, dtype=np.float64)

    def _rows(self, stage: int) -> tuple[NDArray[Any], ...]:
        mdp = self.mdp
        rows = (mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability)
        return *rows, self.kind, self.jumps[stage], self.leaves[stage], self.reach[stage]

    @property
    def _sizes(self) -> list[int]:
        return [len(points) for points in self.points]

    def _forward(self, policy: Policy) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Chances of states and returns under way, and of returns at which episodes end, stage by stage."""
        self._check(policy)
        under_way = [np.ascontiguousarray(self.mdp.start[:, None])]
        ended: list[NDArray[np.float64]] = []
        for stage in range(self.horizon):
            out = np.zeros((self.mdp.n_states, self._sizes[stage + 1]))
            over = np.zeros(len(self.endings[stage]))
            augmented_step(self._rows(stage), policy[stage], _fixed(under_way[-1]), out, over)
            under_way.append(out)
            ended.append(over)
        return under_way, ended


def augment(mdp: FiniteMDP, horizon: int, step: float | None = None) -> AugmentedReturns:
    """All returns that can have been earned after 0 to `horizon` decisions.

    step: in units of return, positive; None takes `reward_step`, which is exact where the discount is 1. Raises
    ParameterError where the table would not fit memory: a larger step makes it smaller.
    """
    require_stored(mdp, "augment")
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or horizon < 1:
        raise ParameterError(f"horizon is {horizon!r}; it counts decisions and must be an integer, 1 or more")
    if step is not None and not (isinstance(step, Real) and 0 < step < math.inf):
        raise ParameterError(f"step is {step!r}; give a positive number, in units of return")
    size = reward_step(mdp) if step is None else float(step)
    reward, kind = _paid(mdp)
    if np.abs(reward).max() / size * int(horizon) > _LARGEST_WHOLE:
        raise ParameterError(f"step is {size:g}, of which returns would be too many for a double; give a larger step")
    terminated = mdp.terminated
    goes_on = np.isin(np.arange(len(reward)), kind[~terminated])
    ends = np.isin(np.arange(len(reward)), kind[terminated])
    points: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64)]
    endings: list[NDArray[np.int64]] = []
    jumps: list[NDArray[np.int64]] = []
    leaves: list[NDArray[np.int64]] = []
    reach: list[NDArray[np.int64]] = []
    rounding, places, moves = 0.0, 0, 0
    extremes = _Extremes(mdp, kind)
    for stage in range(int(horizon)):
        earned = mdp.discount**stage * reward / size
        whole = np.rint(earned)
        # Sums of doubles that are not quite fractions miss their lattice by this much without meaning it.
        off = np.abs(earned - whole)
        rounding += float(np.max(np.where(off > 1e-9 * np.maximum(1.0, np.abs(whole)), off, 0.0))) * size
        moved = whole.astype(np.int64)
        reached = points[-1][None, :] + moved[:, None]
        reach.append(_fixed(extremes.places(points[-1])))
        extremes.move(moved)
        places += mdp.n_states * reached.shape[1]
        moves += reached.size
        if places > _MOST_PLACES or moves > _MOST_JUMPS:
            raise ParameterError(
                f"step is {size:g}, which makes more than {_MOST_PLACES} places for a decision within {stage + 1} "
                "stages; give a larger step or a shorter horizon"
            )
        for found, told, which in ((points, jumps, goes_on), (endings, leaves, ends)):
            found.append(_fixed(np.unique(reached[which])))
            to = np.zeros_like(reached)
            to[which] = np.searchsorted(found[-1], reached[which])
            told.append(_fixed(to))
        if not len(points[-1]):  # every episode is over: one place, which nobody reaches, ends the recursion
            points[-1] = _fixed(np.zeros(1, dtype=np.int64))
            horizon = stage + 1
            break
    return AugmentedReturns(
        mdp,
        int(horizon),
        size,
        tuple(points),
        tuple(endings),
        owned(reward),
        owned(kind.astype(np.int32)),
        tuple(jumps),
        tuple(leaves),
        tuple(reach),
        rounding,
    )


class _Extremes:
    """The least and the most, in steps, that can have been earned where each state is entered, under any policy."""

    def __init__(self, mdp: FiniteMDP, kind: NDArray[Any]) -> None:
        on = np.flatnonzero(~mdp.terminated)
        order = on[np.argsort(mdp.next_state[on], kind="stable")]
        self._source = np.repeat(mdp.pair_state, np.diff(mdp.row_ptr))[order]
        self._kind = kind[order]
        self._entered, self._first = np.unique(mdp.next_state[order], return_index=True)
        here = mdp.start > 0
        self._low, self._high = np.where(here, 0.0, np.inf), np.where(here, 0.0, -np.inf)

    def places(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """From where up to where in `points` each state may be, int64 (S, 2); nowhere for a state out of reach."""
        first, end = np.searchsorted(points, self._low), np.searchsorted(points, self._high, side="right")
        nowhere = self._low > self._high
        return np.column_stack([np.where(nowhere, 0, first), np.where(nowhere, 0, end)]).astype(np.int64)

    def move(self, moved: NDArray[np.int64]) -> None:
        """One decision later, where rewards of each kind are worth so many steps."""
        low, high = np.full_like(self._low, np.inf), np.full_like(self._high, -np.inf)
        if len(self._entered):
            paid = moved[self._kind]
            low[self._entered] = np.minimum.reduceat(self._low[self._source] + paid, self._first)
            high[self._entered] = np.maximum.reduceat(self._high[self._source] + paid, self._first)
        self._low, self._high = low, high


def _paid(mdp: FiniteMDP) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The different rewards, rising, and which of them each transition pays."""
    paid = np.repeat(mdp.expected_reward, np.diff(mdp.row_ptr)) if mdp.reward is None else mdp.reward
    reward, kind = np.unique(paid, return_inverse=True)
    return reward, kind.astype(np.int64)


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """The array, made read-only in place: it was made here, and kernels are compiled for such."""
    array.setflags(write=False)
    return array
