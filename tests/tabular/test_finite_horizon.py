"""Backward induction against exact rationals and a problem whose answer everybody knows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import Cancelled, MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import bellman_sweeps
from rlbook.tabular.finite_horizon import backward_induction
from rlbook.tabular.operator import StoredOperator

from .exact import _row, small_mdp
from .exact_undiscounted import encloses


def exact_backup(mdp: FiniteMDP, values: list[Fraction]) -> list[Fraction]:
    discount = Fraction(mdp.discount)
    worth = [
        Fraction(float(mdp.expected_reward[i]))
        + discount * sum((p * values[t] for t, p in _row(mdp, i).items()), Fraction(0))
        for i in range(mdp.n_pairs)
    ]
    return [max(worth[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]) for s in range(mdp.n_states)]


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_bounds_enclose_exact_values_at_every_stage(discount):
    """Prevents rounding that adds up from stage to stage unnoticed, and stages counted from the wrong end."""
    for seed in range(120):
        mdp = small_mdp(seed, discount, terminating=bool(seed % 2), hard=bool(seed % 3))
        stages = seed % 12
        terminal = np.random.default_rng(seed).normal(size=mdp.n_states) * 10.0 ** (seed % 9 - 4)
        solution = backward_induction(mdp, stages, terminal_values=terminal)
        assert solution.values.shape == (stages + 1, mdp.n_states)
        assert solution.policy.shape == (stages, mdp.n_states)
        truth = [Fraction(float(x)) for x in terminal]
        for stage in range(stages, -1, -1):
            assert encloses(solution.lower[stage], truth, solution.upper[stage]), (seed, stage)
            truth = exact_backup(mdp, truth)
        low, high = solution.start_bounds
        assert low <= solution.value_at_start <= high
        first = backward_induction(mdp, stages, terminal_values=terminal, keep="first")
        assert np.array_equal(first.values, solution.values[:1])
        assert np.array_equal(first.policy, solution.policy[:1])
        assert first.gap <= solution.gap


def test_the_secretary_problem():
    """Of n candidates in random order, let 37% pass, then take the first who beats them (Lindley 1961).

    The exact rule: pass r - 1 with the least r such that 1/r + ... + 1/(n - 1) <= 1; success has the probability
    (r - 1)/n (1/(r - 1) + ... + 1/(n - 1)).
    """
    n = 50
    # State k: candidate k + 1 is the best so far; state n: is not. Which stage it is decides about who comes next.
    rows = [{0: [(1.0, n, 0.0, False)], 1: [(1.0, n, (k + 1) / n, True)]} for k in range(n)]
    for k in range(n):
        later = [((k + 1) / ((j + 1) * j), j, 0.0, False) for j in range(k + 1, n)]
        rows[k][0] = [*later, ((k + 1) / n, n, 0.0, True)]
    mdp = from_transitions([*rows, {0: [(1.0, n, 0.0, True)]}], 1.0, normalise=True)
    solution = backward_induction(mdp, n)
    threshold = next(r for r in range(1, n) if sum(1 / k for k in range(r, n)) <= 1)
    assert solution.policy[0, :n].tolist() == [0] * (threshold - 1) + [1] * (n - threshold + 1)
    success = (threshold - 1) / n * sum(1 / k for k in range(threshold - 1, n))
    assert solution.values[0, 0] == pytest.approx(success, abs=1e-12)


def test_the_last_steps_are_decided_otherwise():
    """Prevents one policy for all stages: with one step left, the small prize at hand is best."""
    rows = [{0: [(1.0, 0, 1.0, False)], 1: [(1.0, 1, 0.0, False)]}, {0: [(1.0, 1, 3.0, False)]}]
    solution = backward_induction(from_transitions(rows, 1.0), 3)
    assert solution.policy[:, 0].tolist() == [1, 1, 0]
    assert solution.values[:, 0].tolist() == [6.0, 3.0, 1.0, 0.0]


def test_stages_are_sweeps_of_value_iteration():
    mdp = make("gridworld")
    solution = backward_induction(mdp, 6)
    assert np.array_equal(solution.values[::-1], bellman_sweeps(mdp, np.zeros(mdp.n_states), 6))


def test_no_stage_at_all():
    mdp = make("chain")
    for keep in ("all", "first"):
        solution = backward_induction(mdp, 0, terminal_values=np.arange(5.0), keep=keep)
        assert solution.values.tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
        assert solution.policy.shape == (0, 5)
        assert solution.gap < 1e-14


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"horizon": -1}, "horizon is -1"),
        ({"horizon": 2.0}, r"horizon is 2\.0"),
        ({"horizon": True}, "horizon is True"),
        ({"horizon": 10**15}, r"need .* GB; pass keep='first'"),
        ({"horizon": 1, "keep": "last"}, "keep is 'last'"),
        ({"horizon": 1, "terminal_values": [0.0]}, r"shape \(1,\)"),
    ],
)
def test_arguments_are_checked(arguments, sentence):
    with pytest.raises(MDPError, match=sentence):
        backward_induction(make("chain"), **arguments)


def test_values_beyond_doubles_are_refused():
    """Prevents infinities that look like values."""
    mdp = FiniteMDP.from_dense([[[1.0]]], [[9e299]], 1.0)
    assert backward_induction(mdp, 1).values[0, 0] == 9e299
    with pytest.raises(MDPError, match="divide all rewards by a constant"):
        backward_induction(mdp, 3)


@pytest.mark.parametrize("keep", ["all", "first"])
@pytest.mark.parametrize("discount", [0.5, 1.0])
def test_what_a_cancelled_run_returns_holds(discount, keep, monkeypatch):
    """Prevents a cancelled run that loses its stages, or bounds on the others that the exact values leave."""
    for seed in range(30):
        mdp = small_mdp(seed, discount, terminating=bool(seed % 2), hard=bool(seed % 3))
        whole = backward_induction(mdp, 7)
        for done in (0, 3):
            cancel = np.zeros(1, dtype=np.uint8)
            _set_after(cancel, done, monkeypatch)
            cut = backward_induction(mdp, 7, keep=keep, cancel=cancel)
            assert (cut.reason, cut.converged, cut.iterations) == ("cancelled", False, done)
            rows = len(cut.values)
            assert np.all(cut.lower <= whole.lower[:rows])
            assert np.all(cut.upper >= whole.upper[:rows])
            assert np.all(np.isfinite(cut.start_bounds))
            if keep == "all":
                assert np.array_equal(cut.values[7 - done :], whole.values[7 - done :])
            for state, action in enumerate(cut.policy[0]):
                assert mdp.pair(state, int(action)) >= 0


def _set_after(cancel, backups, monkeypatch):
    """Set the flag once so many backups are done."""
    plain = StoredOperator.backup
    cancel[0] = backups == 0

    def backup(self, *vectors):
        nonlocal backups
        backups -= 1
        cancel[0] = backups <= 0
        return plain(self, *vectors)

    monkeypatch.setattr(StoredOperator, "backup", backup)


def test_cancelling_where_nothing_bounds_the_rest():
    """Prevents infinite bounds, which turn the bounds at the start into NaN."""
    mdp = FiniteMDP.from_dense([[[1.0]]], [[9e299]], 1.0)
    with pytest.raises(Cancelled):
        backward_induction(mdp, 5, cancel=np.ones(1, dtype=np.uint8))


def test_it_says_why_it_stopped_and_what_it_went_through():
    """Prevents a history in another order or unit than that of other solutions, and gaps less than certified."""
    mdp = make("gridworld")
    solution = backward_induction(mdp, 20)
    history = solution.history
    assert (solution.method, solution.reason, solution.converged) == ("backward-induction", "horizon", True)
    assert solution.to_json()["reason"].startswith("horizon: ")
    assert history.work.tolist() == list(range(1, 21))
    assert np.all(np.diff(history.seconds) >= 0)
    widths = (solution.upper - solution.lower).max(axis=1)[:-1]
    assert np.all(history.gap[::-1] >= widths)
    assert np.all(history.gap[::-1] <= 10 * widths)
    moved = np.diff(solution.values[::-1], axis=0)
    np.testing.assert_array_equal(history.least_change, moved.min(axis=1))
    np.testing.assert_array_equal(history.greatest_change, moved.max(axis=1))
    assert backward_induction(mdp, 0).history.gap.shape == (0,)


def test_what_is_proven_depends_on_the_stage():
    """Prevents a stage that is judged by its own values, or by those of the stage before it."""
    rows = [{0: [(1.0, 0, 1.0, False)], 1: [(1.0, 1, 0.0, False)]}, {0: [(1.0, 1, 3.0, False)]}]
    solution = backward_induction(from_transitions(rows, 1.0), 3)
    assert [solution.optimal_actions(stage).of(0)[0] for stage in range(3)] == ["suboptimal", "suboptimal", "optimal"]
    for seed in range(40):
        mdp = small_mdp(seed, 1.0, terminating=True, hard=True)
        solution = backward_induction(mdp, 4)
        truth = [Fraction(0)] * mdp.n_states
        for stage in range(3, -1, -1):
            found, after = solution.optimal_actions(stage), exact_backup(mdp, truth)
            for i, state in enumerate(mdp.pair_state):
                worth = Fraction(float(mdp.expected_reward[i])) + sum(
                    (p * truth[t] for t, p in _row(mdp, i).items()), Fraction(0)
                )
                assert found.q_lower[i] <= worth <= found.q_upper[i]
                if found.status[i] != 0:
                    assert (worth == after[state]) == (found.status[i] == 1)
            truth = after


def test_stages_that_cannot_be_judged_are_named():
    mdp = make("chain")
    for horizon, stage in ((3, 3), (3, -1), (0, 0)):
        with pytest.raises(MDPError, match=f"stage is {stage}"):
            backward_induction(mdp, horizon).optimal_actions(stage)
    with pytest.raises(MDPError, match="pass keep='all'"):
        backward_induction(mdp, 3, keep="first").optimal_actions()
