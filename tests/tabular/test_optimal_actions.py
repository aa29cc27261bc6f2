"""What bounds prove of actions, held against exact rationals, ties included."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rlbook import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import evaluate_policy, solve
from rlbook.tabular.bellman import kernel_arguments
from rlbook.tabular.optimal_actions import _decide

from .exact import exact_optimal_values, small_mdp


def exact_action_values(mdp: FiniteMDP) -> tuple[list[Fraction], list[Fraction]]:
    values = exact_optimal_values(mdp)
    discount = Fraction(mdp.discount)
    q = []
    for i in range(mdp.n_pairs):
        rows = range(mdp.row_ptr[i], mdp.continuing_end[i])
        following = sum((Fraction(float(mdp.probability[k])) * values[mdp.next_state[k]] for k in rows), Fraction(0))
        q.append(Fraction(float(mdp.expected_reward[i])) + discount * following)
    return q, values


@pytest.mark.parametrize("terminating", [False, True])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("tol", [1.0, 1e-3, 0.0])
def test_nothing_false_is_proven(tol, hard, terminating):
    """Prevents calling an action optimal or suboptimal that is not, nearly tied actions included."""
    decided = 0
    for seed in range(80):
        mdp = small_mdp(seed, [0.0, 0.9, 0.99, 0.9999][seed % 4], terminating=terminating, hard=hard)
        q, values = exact_action_values(mdp)
        found = solve(mdp, tol).optimal_actions()
        for i, state in enumerate(mdp.pair_state):
            assert Fraction(float(found.q_lower[i])) <= q[i] <= Fraction(float(found.q_upper[i]))
            if found.status[i] == 1:
                assert q[i] == values[state]
            elif found.status[i] == -1:
                assert q[i] < values[state]
        decided += int(found.decided.sum())
    assert decided > 20


def test_a_smaller_gap_decides_more():
    mdp = make("garnet", states=200, actions=5, branching=5, discount=0.99)
    undecided = [solve(mdp, tol).optimal_actions().counts["undecided"] for tol in (10.0, 0.1, 1e-8)]
    assert undecided[0] > undecided[1] >= undecided[2] == 0


def test_copies_of_an_optimal_action_are_optimal_too():
    """Prevents an undecided verdict where two actions are the same to the last bit."""
    mdp = FiniteMDP.from_dense(np.full((2, 3, 2), 0.5), [[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], 0.9)
    found = solve(mdp).optimal_actions()
    assert found.of(0) == {0: "optimal", 1: "optimal", 2: "suboptimal"}
    assert set(found.of(1).values()) == {"optimal"}


def test_a_real_tie_stays_undecided_at_every_gap():
    """The gambler's problem has many optimal stakes (Sutton & Barto 2018, exercise 4.9); rounding must not choose."""
    mdp = make("gambler")
    found = solve(mdp, 0.0).optimal_actions()
    stakes = found.of(51)
    assert {stake for stake, word in stakes.items() if word != "suboptimal"} == {1, 49}
    assert stakes[1] == stakes[49] == "undecided"
    assert found.of(50)[50] == "optimal"


@pytest.mark.parametrize(
    ("kind", "word"), [("copies", "optimal"), ("near ties", "undecided"), ("two kinds", "undecided")]
)
def test_many_tied_actions_take_no_time(kind, word):
    """Prevents comparing each of thousands of actions with each to the last entry of their rows."""
    actions, states = 5_000, 256
    step = {"copies": np.zeros(actions), "near ties": np.arange(actions), "two kinds": np.arange(actions) // 4_000 % 2}
    # Rewards that differ in the last places only, which no bound separates.
    reward = 1.0 + 1e-14 * np.random.default_rng(0).permutation(step[kind]).astype(float)
    rows = [{a: [(1.0 / states, t, reward[a], False) for t in range(states)] for a in range(actions)}]
    rows += [{0: [(1.0, 0, 0.0, False)]} for _ in range(states - 1)]
    mdp = from_transitions(rows, 0.9)
    solution = solve(mdp, 1e-6)
    found = solution.optimal_actions()
    assert set(found.of(0).values()) == {word}


def test_the_verdict_on_copies_is_that_of_comparing_each_with_each():
    """Prevents a copy that is given the verdict of another action, or loses its own."""
    rng = np.random.default_rng(3)
    words = set()
    for _ in range(300):
        actions = int(rng.integers(2, 9))
        reward = 1.0 + 0.05 * rng.integers(0, 3, actions) + 0.3 * rng.integers(0, 2)
        mdp = from_transitions([{a: [(1.0, 0, reward[a], True)] for a in range(actions)}], 0.9)
        width = float(rng.choice([0.0, 0.02, 0.06]))
        status, lower, upper = np.empty(actions, dtype=np.int8), reward - width, reward + width
        if rng.random() < 0.5:
            upper = np.round(upper, 1)  # nonsense, but a rule must hold for any bounds
        _decide(*kernel_arguments(mdp)[:6], lower, upper, status)
        suboptimal = upper < lower.max()
        rivals = [[j for j in range(actions) if not suboptimal[j] and upper[j] > lower[i]] for i in range(actions)]
        alone = [all(reward[j] == reward[i] for j in rivals[i]) for i in range(actions)]
        assert status.tolist() == [-1 if s else int(a) for s, a in zip(suboptimal, alone, strict=True)]
        words |= set(status.tolist())
    assert words == {-1, 0, 1}


def test_the_policy_of_a_solution_is_never_proven_suboptimal():
    for seed in range(40):
        mdp = small_mdp(seed, 0.99, terminating=True, hard=True)
        solution = solve(mdp)
        found = solution.optimal_actions()
        assert all(found.of(s)[int(a)] != "suboptimal" for s, a in enumerate(solution.policy))


def test_what_cannot_be_compared_is_refused():
    mdp = small_mdp(1, 0.9)
    with pytest.raises(MDPError, match="value of a policy"):
        evaluate_policy(mdp, mdp.action[mdp.state_ptr[:-1]]).optimal_actions()
    with pytest.raises(MDPError, match="state 99 does not exist"):
        solve(mdp).optimal_actions().of(99)
