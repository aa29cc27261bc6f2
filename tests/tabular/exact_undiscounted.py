"""Total and average rewards of small MDPs: every deterministic policy tried in exact rational arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions

from .exact import _row, _solve

Row = dict[int, Fraction]
Value = Fraction | float  # a float only for infinity, and NaN where a total does not settle


def lawful_row(mdp: FiniteMDP, pair: int) -> Row:
    """The continuing part of a row, divided by the exact sum of the whole row."""
    total = sum(Fraction(float(p)) for p in mdp.probability[mdp.row_ptr[pair] : mdp.row_ptr[pair + 1]])
    return {state: p / total for state, p in _row(mdp, pair).items()}


def policies(mdp: FiniteMDP) -> Iterator[tuple[int, ...]]:
    """Every deterministic policy, as one pair per state."""
    return itertools.product(*(range(mdp.state_ptr[s], mdp.state_ptr[s + 1]) for s in range(mdp.n_states)))


def chosen_pairs(mdp: FiniteMDP, labels: np.ndarray) -> tuple[int, ...]:
    return tuple(mdp.pair(s, int(a)) for s, a in enumerate(labels))


def reachable(rows: list[Row]) -> list[set[int]]:
    """The states that each state may lead to, itself included."""
    found = []
    for s in range(len(rows)):
        seen, stack = {s}, [s]
        while stack:
            for t in rows[stack.pop()]:
                if t not in seen:
                    seen.add(t)
                    stack.append(t)
        found.append(seen)
    return found


def recurrent_classes(mdp: FiniteMDP, choice: tuple[int, ...], rows: list[Row]) -> list[list[int]]:
    """The closed classes of a policy's chain, in which nothing terminates."""
    reach = reachable(rows)
    unending = [mdp.continuing_end[i] == mdp.row_ptr[i + 1] for i in choice]
    classes = {tuple(sorted(r)) for s, r in enumerate(reach) if all(s in reach[t] and unending[t] for t in r)}
    return [list(members) for members in sorted(classes)]


def class_gain(mdp: FiniteMDP, choice: tuple[int, ...], members: list[int]) -> Fraction:
    """The average reward of a recurrent class, from its stationary law: (P' - I) x = 0 and sum x = 1."""
    rows = {s: lawful_row(mdp, choice[s]) for s in members}
    n = len(members)
    matrix = [[rows[s].get(t, Fraction(0)) - int(s == t) for s in members] + [Fraction(0)] for t in members]
    matrix[-1] = [Fraction(1)] * (n + 1)
    for i in range(n):
        pivot = next(k for k in range(i, n) if matrix[k][i] != 0)
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        matrix[i] = [x / matrix[i][i] for x in matrix[i]]
        for k in range(n):
            if k != i:
                matrix[k] = [x - matrix[k][i] * y for x, y in zip(matrix[k], matrix[i], strict=True)]
    return sum((matrix[i][n] * reward_of(mdp, choice[s]) for i, s in enumerate(members)), Fraction(0))


def reward_of(mdp: FiniteMDP, pair: int) -> Fraction:
    return Fraction(float(mdp.expected_reward[pair]))


def policy_gains(mdp: FiniteMDP, choice: tuple[int, ...]) -> list[Fraction]:
    """The average reward of a policy from each state; what has terminated earns nothing."""
    rows = [lawful_row(mdp, i) for i in choice]
    gains: dict[int, Fraction] = {}
    for members in recurrent_classes(mdp, choice, rows):
        gains |= dict.fromkeys(members, class_gain(mdp, choice, members))
    absorbed = [{} if s in gains else row for s, row in enumerate(rows)]
    return _solve(absorbed, [gains.get(s, Fraction(0)) for s in range(len(rows))], Fraction(1))


def exact_gains(mdp: FiniteMDP) -> list[Fraction]:
    """The greatest average reward from each state, of the MDP whose rows are divided by their exact sums."""
    return [max(column) for column in zip(*(policy_gains(mdp, choice) for choice in policies(mdp)), strict=True)]


def policy_totals(mdp: FiniteMDP, choice: tuple[int, ...], row: Callable[[FiniteMDP, int], Row]) -> list[Value]:
    """The total reward of a policy from each state: infinite where a loop earns or pays, NaN where it cannot settle."""
    rows = [row(mdp, i) for i in choice]
    ends: dict[int, Value] = {}
    for members in recurrent_classes(mdp, choice, rows):
        gain = class_gain(mdp, choice, members)
        value: Value = math.copysign(math.inf, gain) if gain else math.nan
        if all(reward_of(mdp, choice[s]) == 0 for s in members):
            value = Fraction(0)
        ends |= dict.fromkeys(members, value)
    limits = [{ends[t] for t in r if isinstance(ends.get(t), float)} for r in reachable(rows)]
    counted = [not limits[s] and s not in ends for s in range(len(rows))]
    kept = [row if counted[s] else {} for s, row in enumerate(rows)]
    if min(_solve(kept, [Fraction(1)] * len(rows), Fraction(1))) < 1:
        raise ArithmeticError("rows sum to so much more than 1 that the policy's episodes grow and have no total")
    totals = _solve(
        kept, [reward_of(mdp, choice[s]) if counted[s] else Fraction(0) for s in range(len(rows))], Fraction(1)
    )
    return [
        totals[s] if not limits[s] else next(iter(limits[s])) if len(limits[s]) == 1 else math.nan
        for s in range(len(rows))
    ]


def exact_totals(mdp: FiniteMDP, row: Callable[[FiniteMDP, int], Row] = lawful_row) -> list[Value]:
    """The greatest total reward from each state; NaN where some policy's total does not settle."""
    columns = zip(*(policy_totals(mdp, choice, row) for choice in policies(mdp)), strict=True)
    return [math.nan if any(map(math.isnan, column)) else max(column) for column in columns]


def encloses(lower: np.ndarray, truth: list[Fraction], upper: np.ndarray) -> bool:
    return all(Fraction(float(a)) <= v <= Fraction(float(b)) for a, v, b in zip(lower, truth, upper, strict=True))


def small_graph(seed: int, rewards: list[float], *, ending: float = 0.2, states: int = 4) -> FiniteMDP:
    """A random MDP with few transitions, so that it has loops, traps and several components.

    Probabilities are multiples of 1/8, so that rows sum to 1 exactly. rewards: what pairs may pay. ending: how often a
    transition terminates.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, states + 1))
    outcomes = []
    for _ in range(count):
        choices = {}
        for action in range(int(rng.integers(1, 4))):
            following = rng.choice(count, min(count, int(rng.integers(1, 3))), replace=False)
            first = int(rng.integers(1, 8)) / 8
            masses = [1.0] if len(following) == 1 else [first, 1 - first]
            paid = float(rng.choice(rewards))
            choices[action] = [
                (p, int(t), paid, bool(rng.random() < ending)) for p, t in zip(masses, following, strict=True)
            ]
        outcomes.append(choices)
    return from_transitions(outcomes, 1.0)
