"""The effective horizon: how far ahead one must look when random play judges what lies beyond.

Q^1 is the value of actions when all later ones are drawn uniformly, and Q^{k+1} = T Q^k, with T the Bellman optimality
operator. An MDP is *k-QVI-solvable* if every policy that is greedy with respect to Q^k is optimal. With A actions and
Delta_k the least difference between a greedy action and the best other one, as a share of the range of returns,

    H_k = k + log_A(1 / Delta_k^2)  if k-QVI-solvable, else infinity;      H = min over k of H_k

Laidlaw, Russell & Dragan, "Bridging RL Theory and Practice with the Effective Horizon" (2023); Laidlaw, Zhu, Russell &
Dragan, "The Effective Horizon Explains Deep RL Performance in Stochastic Environments" (2024), definitions of section
3. Neither text could be read here beyond its abstract. That k = 1 means no backup, and that only states which a greedy
policy visits count, is how the authors' program `calculate_minimum_k` has it; the formula of H_k is as the papers are
remembered, and the infimum of Delta_k is taken over the same states.

The papers' episodes last T steps and nothing is discounted: give `horizon`. Without one the problem is taken as the MDP
states it, discount and all, and values do not depend on time; H_k is then left out, since returns have no stated range.

With a horizon, ties are decided: by doubles where all differences exceed what rounding can do, and else over the
rationals (`exact_lookahead`), unless that is too much work. `Lookahead.clear` says whether it was done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.errors import MDPError, ParameterError
from rlbook.mdp_rows import from_rows
from rlbook.tabular.approximation.argument_checks import require_counts
from rlbook.tabular.approximation.exact_lookahead import ExactPlay
from rlbook.tabular.bellman import action_values
from rlbook.tabular.operators.q_vectors import state_maxima
from rlbook.tabular.policies import uniform_policy
from rlbook.tabular.policy_evaluation import evaluate_policy
from rlbook.tabular.policy_rows import require_stored
from rlbook.tabular.solving import solve
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

First = Literal["random", "rewards"]

TIE = 1e-9  # of the largest value: differences below it are ties, where nothing decides them better
_SOLVED = 1e-2  # of a tie: how well values are solved
_DOUBT = 100.0  # without a horizon, a difference within this factor of a tie is neither clearly one nor clearly none
_MOST_EXACT = 5_000_000  # transitions, times steps, times levels, over the rationals: a few seconds


@dataclass(frozen=True)
class Lookahead:
    """What is true of greedy policies after k - 1 backups.

    solvable: whether all of them are optimal. gap: Delta_k in units of return, infinity where nothing but ties is met.
    regret, least_regret: what the worst and the best of them lose against the optimum from the start, in units of
    return; they differ in ties alone, and are 0 where `solvable`. clear: whether no rounding can have decided this; it
    is proven with a horizon, and without one it says that no difference is within a factor of 100 of a tie's.
    """

    k: int
    solvable: bool
    gap: float
    regret: float
    least_regret: float
    clear: bool


@dataclass(frozen=True, eq=False)
class EffectiveHorizon:
    """levels: one `Lookahead` for k = 1, 2, ... k: the least that solves, None if none of the levels does.

    value: H; infinity if nothing solves, None without a horizon or random play. best_k: the k that attains it.
    optimal, random: expected return of optimal and uniform play, in units of return. spread: greatest minus least
    return that any episode can have, None where `value` is. actions: A, the most that a state has.
    """

    mdp: FiniteMDP = field(repr=False)
    horizon: int | None
    levels: tuple[Lookahead, ...] = field(repr=False)
    k: int | None
    value: float | None
    best_k: int | None
    optimal: float
    random: float
    spread: float | None
    actions: int

    @property
    def clear(self) -> bool:
        """Whether no rounding can have changed `k`, nor any level up to `best_k`."""
        return all(level.clear for level in self.levels[: max(self.k or len(self.levels), self.best_k or 0)])

    def samples(self) -> float:
        """T^2 A^H: the papers' count of environment steps, but for constants, logarithms and the class of functions."""
        if self.horizon is None or self.value is None:
            raise ParameterError("horizon is None, but sample counts are of episodes that last; give a horizon")
        return float(self.horizon**2 * self.actions**self.value) if self.value < math.inf else math.inf


def unrolled(mdp: FiniteMDP, horizon: int) -> FiniteMDP:
    """The same MDP ended after `horizon` steps: state t S + s is s with t steps behind it; pairs likewise, t pairs + i.

    Raises MDPError unless horizon is a whole number from 1, and for a model that is not stored.
    """
    require_stored(mdp, "unrolling")
    if not is_whole(horizon, 1):
        raise MDPError(f"horizon is {horizon!r}, but episodes last a whole number of steps, at least 1")
    later = np.repeat(np.arange(1, horizon + 1), mdp.n_transitions)
    last = later == horizon
    following = np.tile(mdp.next_state, horizon) + np.where(last, 0, later * mdp.n_states)
    start = np.zeros(horizon * mdp.n_states)
    start[: mdp.n_states] = mdp.start
    return from_rows(
        state_ptr=_stacked(mdp.state_ptr, horizon),
        action=np.tile(mdp.action, horizon),
        row_ptr=_stacked(mdp.row_ptr, horizon),
        next_state=following,
        probability=np.tile(mdp.probability, horizon),
        reward=np.tile(mdp.expected_reward if mdp.reward is None else mdp.reward, horizon),
        discount=mdp.discount,
        terminated=np.tile(mdp.terminated, horizon) | last,
        start=start,
        name=f"{mdp.name}, {horizon} steps",
    )


def effective_horizon(
    mdp: FiniteMDP, horizon: int | None = None, *, first: First = "random", deepest: int = 1000, at_least: int = 1
) -> EffectiveHorizon:
    """Try k = 1, 2, ... until one solves the MDP, and further while that may lower H; see the module's text.

    horizon: steps of an episode, T, or None for the MDP as it stands; at discount 1 its episodes must then end under
    every policy. first: what Q^1 is; with "rewards", the expected reward alone, `k` is the papers' effective planning
    window, and there is no H. deepest, at_least: how many levels are judged; with a horizon none after the T-th, since
    Q^T is optimal, unless at_least asks for it. Raises ParameterError and MDPError for arguments out of range.
    """
    if first not in ("random", "rewards"):
        raise ParameterError(f"first is {first!r}, but backups begin with 'random' play or with 'rewards'")
    require_counts(deepest=deepest, at_least=at_least)
    if at_least > deepest:
        raise ParameterError(f"at_least is {at_least} and deepest {deepest}, but levels are tried in order from 1")
    problem = mdp if horizon is None else unrolled(mdp, horizon)
    truth = _Truth(problem, horizon)
    spread = None if horizon is None or first == "rewards" else _spread(mdp, horizon)
    actions = int(np.diff(mdp.state_ptr).max())

    def judged(
        truth: _Truth, each_behind: Iterator[NDArray[np.float64]], clear_only: bool
    ) -> tuple[list[Lookahead], int | None, float] | None:
        levels: list[Lookahead] = []
        best_k, bound, solved = None, math.inf, False
        # Beyond the first k that solves, H_k can only be smaller while k itself is.
        while len(levels) < deepest:
            ended = spread is None or len(levels) + 1 >= bound or len(levels) == horizon
            if solved and len(levels) >= at_least and ended:
                break
            level = truth.judged(next(each_behind), len(levels) + 1, clear_only)
            if level is None:
                return None
            levels.append(level)
            if level.solvable:
                solved = True
                if spread is not None and (candidate := _h(level, spread, actions)) < bound:
                    bound, best_k = candidate, level.k
        return levels, best_k, bound

    q = truth.random_q if first == "random" else problem.expected_reward
    decide = horizon is not None and _affordable(mdp, horizon)
    found = judged(truth, _behind(problem, q), decide)
    if found is None:
        assert horizon is not None
        play = ExactPlay(mdp, horizon, first)
        found = judged(truth.exactly(play.loss.ravel()), (each.ravel() for each in play.behind()), False)
        assert found is not None
    levels, best_k, bound = found
    return EffectiveHorizon(
        mdp,
        horizon,
        tuple(levels),
        next((level.k for level in levels if level.solvable), None),
        None if spread is None else bound,
        best_k,
        truth.optimal,
        truth.random,
        spread,
        actions,
    )


def backed_up(mdp: FiniteMDP, k: int, horizon: int | None = None) -> NDArray[np.float64]:
    """Q^k: random play's action values after k - 1 backups, (pairs,), or (T, pairs) with a horizon; units of return."""
    require_counts(k=k)
    problem = mdp if horizon is None else unrolled(mdp, horizon)
    q = _Truth(problem, horizon).random_q
    for _ in range(k - 1):
        q = action_values(problem, state_maxima(problem, q))
    return q if horizon is None else q.reshape(horizon, mdp.n_pairs)


def greedy_losses(mdp: FiniteMDP, deepest: int, horizon: int) -> NDArray[np.float64]:
    """What the worst greedy action loses against the best one, by k, step and state, float64 (deepest, T, S).

    For k = 1, ..., deepest; units of return, as if all later actions were optimal; NaN where no greedy policy comes.
    """
    require_counts(deepest=deepest)
    problem = unrolled(mdp, horizon)
    truth = _Truth(problem, horizon)
    each_behind = _behind(problem, truth.random_q)
    if _affordable(mdp, horizon):
        play = ExactPlay(mdp, horizon, "random")
        truth, each_behind = truth.exactly(play.loss.ravel()), (each.ravel() for each in play.behind())
    found = [truth.lost(behind) for behind in islice(each_behind, deepest)]
    return np.reshape(found, (deepest, horizon, mdp.n_states))


def _affordable(mdp: FiniteMDP, horizon: int) -> bool:
    """Whether backups over the rationals take seconds at most."""
    return mdp.n_transitions * horizon**2 <= _MOST_EXACT


def _behind(mdp: FiniteMDP, q: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """How far each action is behind the greedy one, (pairs,), for q, for its backup, and so on."""
    while True:
        top = state_maxima(mdp, q)
        yield top[mdp.pair_state] - q
        q = action_values(mdp, top)


class _Truth:
    """Optimal and random play of an MDP, solved once, and what greedy choices are worth beside them."""

    def __init__(self, mdp: FiniteMDP, horizon: int | None) -> None:
        self._mdp = mdp
        rewards = float(np.abs(mdp.expected_reward).max())
        tol = max(TIE * _SOLVED * rewards, 1e-300)
        best = solve(mdp, tol)
        random = evaluate_policy(mdp, uniform_policy(mdp), tol=tol)
        self.random_q = action_values(mdp, random.values)
        q = action_values(mdp, best.values)
        self._loss = state_maxima(mdp, q)[mdp.pair_state] - q
        self.optimal, self.random = float(mdp.start @ best.values), float(mdp.start @ random.values)
        self._tie = TIE * max(rewards, float(np.abs(best.values).max()), float(np.abs(random.values).max()))
        self._tol = max(self._tie * _SOLVED, 1e-300)
        self._proven = horizon is not None
        if horizon is not None:
            # Two values are compared, each known to tol. A backup of rows of n entries rounds n + 8 times at most (the
            # products, the sums, rewards and probabilities as stored), each time by a share of the greatest return,
            # and no more than T backups follow one another.
            longest = int(np.diff(mdp.row_ptr).max())
            paid = rewards if mdp.reward is None else float(np.abs(mdp.reward).max())
            error = 2 * (tol + horizon * (longest + 8) * float(np.finfo(float).eps) * horizon * paid)
            self._tie = max(self._tie, error)
        self._exact = False
        self._steps = mdp.continuing_matrix()

    def exactly(self, loss: NDArray[np.float64]) -> _Truth:
        """The same with losses, (pairs,), in which 0 is 0 exactly; so it is in what is then judged."""
        other = copy(self)
        other._loss, other._tie, other._exact = loss, 0.0, True
        return other

    def judged(self, behind: NDArray[np.float64], k: int, clear_only: bool) -> Lookahead | None:
        """What is true of the policies that are greedy if actions are so far behind, (pairs,), the best one.

        None if that is not clear, and only what is clear is asked for.
        """
        greedy = behind <= self._tie
        visited = self._visited(greedy)[self._mdp.pair_state]
        met = self._loss[greedy & visited]
        solvable = bool(np.all(met <= self._tie))
        gap = float(np.min(behind[visited & ~greedy], initial=np.inf))
        clear = self._exact or self._decided(behind, greedy, visited)
        if clear_only and not clear:
            return None
        if solvable:
            return Lookahead(k, True, gap, 0.0, 0.0, clear)
        worst, best = (self._extreme(greedy, sign) for sign in (-1.0, 1.0))
        return Lookahead(k, False, gap, self.optimal - worst, max(self.optimal - best, 0.0), clear)

    def _decided(self, behind: NDArray[np.float64], greedy: NDArray[np.bool_], visited: NDArray[np.bool_]) -> bool:
        """Whether no rounding can have made, or unmade, a tie between pairs visited, (pairs,)."""
        if not self._proven:
            seen = np.concatenate([behind[visited], self._loss[greedy & visited]])
            return not np.any((seen > self._tie / _DOUBT) & (seen < self._tie * _DOUBT))
        # Rounding can only be told from a difference, never from a tie: one action must be alone at the top.
        near = (greedy, self._loss <= self._tie)
        alone = [np.add.reduceat(each.astype(np.int64), self._mdp.state_ptr[:-1]) == 1 for each in near]
        return bool(np.all((alone[0] & alone[1])[self._mdp.pair_state][visited]))

    def lost(self, behind: NDArray[np.float64]) -> NDArray[np.float64]:
        """The greatest loss of a greedy action in each state, (S,); NaN where greedy policies never come."""
        greedy = behind <= self._tie
        worst = np.maximum.reduceat(np.where(greedy, self._loss, 0.0), self._mdp.state_ptr[:-1])
        return np.where(self._visited(greedy), worst, np.nan)

    def _visited(self, greedy: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The states that greedy choices may visit from the start, (S,)."""
        visited = self._mdp.start > 0
        fresh = visited
        while np.any(fresh):
            chosen = greedy & fresh[self._mdp.pair_state]
            fresh = (chosen.astype(np.float64) @ self._steps > 0) & ~visited
            visited = visited | fresh
        return visited

    def _extreme(self, greedy: NDArray[np.bool_], sign: float) -> float:
        """The expected return of the best (sign 1) or worst (-1) policy that takes greedy actions only."""
        kept = _of_pairs(self._mdp, greedy, sign)
        return sign * float(self._mdp.start @ solve(kept, self._tol).values)


def _of_pairs(mdp: FiniteMDP, kept: NDArray[np.bool_], sign: float) -> FiniteMDP:
    """The MDP with some of its pairs only, at least one in each state, and expected rewards times `sign`."""
    entries = np.repeat(kept, np.diff(mdp.row_ptr))
    return from_rows(
        state_ptr=np.concatenate([[0], np.cumsum(np.add.reduceat(kept.astype(np.int64), mdp.state_ptr[:-1]))]),
        action=mdp.action[kept],
        row_ptr=np.concatenate([[0], np.cumsum(np.diff(mdp.row_ptr)[kept])]),
        next_state=mdp.next_state[entries],
        probability=mdp.probability[entries],
        reward=np.repeat(sign * mdp.expected_reward[kept], np.diff(mdp.row_ptr)[kept]),
        discount=mdp.discount,
        terminated=mdp.terminated[entries],
        start=mdp.start,
    )


def _spread(mdp: FiniteMDP, horizon: int) -> float:
    """The greatest minus the least return that an episode of so many steps can have, in units of return."""
    paid = np.repeat(mdp.expected_reward, np.diff(mdp.row_ptr)) if mdp.reward is None else mdp.reward
    ended = mdp.terminated
    ends = []
    for sign in (1.0, -1.0):
        v = np.zeros(mdp.n_states)
        for _ in range(horizon):
            outcome = sign * paid + mdp.discount * np.where(ended, 0.0, v[mdp.next_state])
            v = state_maxima(mdp, np.maximum.reduceat(outcome, mdp.row_ptr[:-1]))
        ends.append(sign * float(v[mdp.start > 0].max()))
    return ends[0] - ends[1]


def _h(level: Lookahead, spread: float, actions: int) -> float:
    if actions == 1 or spread == 0.0:
        return float(level.k)
    return level.k + 2 * math.log(max(spread / level.gap, 1.0), actions)


def _stacked(pointer: NDArray[np.int64], times: int) -> NDArray[np.int64]:
    """Row pointers of so many copies, one after the other."""
    return np.concatenate([[0], (pointer[1:] + pointer[-1] * np.arange(times)[:, None]).ravel()])
