"""Solvers against each other, other libraries and closed forms; how they stop; what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from quantecon.markov import DiscreteDP

from rlbook.environments import make
from rlbook.errors import MDPError, RlbookError
from rlbook.mdp import FiniteMDP
from rlbook.tabular import (
    METHODS,
    action_values,
    bellman_backup,
    bellman_sweeps,
    evaluate_policy,
    induced_chain,
    solve,
    uniform_policy,
    value_iteration,
)
from rlbook.tabular.bellman import PARALLEL_TRANSITIONS, backup_serial, kernel_arguments

from .exact import small_mdp

ALL = sorted(set(METHODS) - {"stochastic-shortest-path"})  # that one is for discount 1 alone
FOR_LARGE = sorted(set(ALL) - {"policy-iteration", "linear-programming"})  # the one refuses, the other takes minutes


def random_mdp(states: int, actions: int, branching: int, discount: float, seed: int = 0) -> FiniteMDP:
    rng = np.random.default_rng(seed)
    transition = np.zeros((states, actions, states))
    for s in range(states):
        for a in range(actions):
            transition[s, a, rng.choice(states, branching, replace=False)] = rng.dirichlet(np.ones(branching))
    return FiniteMDP.from_dense(transition, rng.normal(size=(states, actions)), discount, normalise=True)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("discount", [0.5, 0.95, 0.999])
def test_values_equal_quantecon_policy_iteration(method, discount):
    mdp = random_mdp(60, 4, 7, discount)
    dense = np.zeros((60, 4, 60))
    for s in range(60):
        for a in range(4):
            for p, t, _, _ in mdp.transitions(s, a):
                dense[s, a, t] += p
    peer = DiscreteDP(mdp.expected_reward.reshape(60, 4), dense, discount).solve(method="policy_iteration")
    solution = solve(mdp, 1e-9, method=method)
    assert solution.converged
    assert np.all(peer.v >= solution.lower - 1e-9)
    assert np.all(peer.v <= solution.upper + 1e-9)
    greedy_value = evaluate_policy(mdp, solution.policy).values
    np.testing.assert_allclose(greedy_value, peer.v, atol=1e-8)


@pytest.mark.parametrize("method", FOR_LARGE)
def test_large_mdp_takes_the_parallel_path_and_agrees_with_the_serial_one(method):
    mdp = make("garnet", states=21_000, actions=5, branching=20, discount=0.9)
    assert mdp.n_transitions > PARALLEL_TRANSITIONS
    solution = solve(mdp, 1e-9, method=method)
    tv, greedy = np.empty(21_000), np.empty(21_000, dtype=np.int64)
    backup_serial(*kernel_arguments(mdp), solution.values.copy(), tv, greedy)
    np.testing.assert_allclose(tv, solution.values, atol=1e-8)


def test_an_elimination_that_would_take_too_long_is_refused():
    """Prevents hours of factorising, and memory that runs out, without a word."""
    mdp = make("garnet", states=21_000, actions=5, branching=20, discount=0.9)
    with pytest.raises(MDPError, match="because eliminating states joins almost all others; use method="):
        solve(mdp, 1e-9, method="policy-iteration")


def test_backup_is_the_formula():
    mdp = small_mdp(3, 0.9, terminating=True)
    v = np.arange(mdp.n_states, dtype=float)
    expected = []
    for s in range(mdp.n_states):
        options = []
        for a in mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]:
            rows = mdp.transitions(s, int(a))
            options.append(sum(p * (r + (0.0 if ended else 0.9 * v[t])) for p, t, r, ended in rows))
        expected.append(max(options))
    np.testing.assert_allclose(bellman_backup(mdp, v)[0], expected, rtol=1e-14)
    q = action_values(mdp, v)
    np.testing.assert_allclose(np.maximum.reduceat(q, mdp.state_ptr[:-1]), expected, rtol=1e-14)


@pytest.mark.parametrize("discount", [0.3, 0.99])
def test_backup_is_a_monotone_contraction(discount):
    mdp = random_mdp(30, 3, 5, discount)
    rng = np.random.default_rng(0)
    for _ in range(50):
        v, w = rng.normal(size=(2, 30))
        tv, tw = bellman_backup(mdp, v)[0], bellman_backup(mdp, w)[0]
        assert np.abs(tv - tw).max() <= discount * np.abs(v - w).max() * (1 + 1e-12)
        assert np.all(bellman_backup(mdp, np.maximum(v, w))[0] >= np.maximum(tv, tw) - 1e-12)


def test_greedy_policy_takes_the_lowest_label_among_ties():
    mdp = FiniteMDP.from_dense(np.ones((1, 3, 1)), [[1.0, 2.0, 2.0]], 0.5)
    assert bellman_backup(mdp, [0.0])[1].tolist() == [1]


@pytest.mark.parametrize("method", ALL)
def test_infeasible_actions_are_never_chosen(method):
    mdp = FiniteMDP.from_dense(np.ones((1, 2, 1)), [[-np.inf, -5.0]], 0.5)
    solution = solve(mdp, 1e-10, method=method)
    assert solution.policy.tolist() == [1]
    assert solution.values == pytest.approx([-10.0])


@pytest.mark.parametrize("method", ALL)
def test_a_periodic_chain_converges(method):
    """Prevents span stopping that waits for mixing."""
    mdp = FiniteMDP.from_dense([[[0.0, 1.0]], [[1.0, 0.0]]], [[1.0], [0.0]], 0.99)
    solution = solve(mdp, 1e-9, method=method)
    assert solution.reason == "tolerance"
    assert solution.values == pytest.approx([1 / (1 - 0.99**2), 0.99 / (1 - 0.99**2)])


@pytest.mark.parametrize("method", ALL)
def test_iteration_limit_is_said_and_bounds_still_hold(method):
    mdp = random_mdp(40, 3, 4, 0.999)
    truth = evaluate_policy(mdp, solve(mdp, 1e-9).policy).values
    solution = solve(mdp, 1e-12, method=method, max_iterations=2)
    assert solution.reason == "iteration limit"
    assert not solution.converged
    assert np.all(solution.lower <= truth)
    assert np.all(truth <= solution.upper)


@pytest.mark.parametrize("method", ALL)
def test_a_tolerance_below_rounding_ends_at_the_floor(method):
    """Prevents an endless loop where the tolerance cannot be reached."""
    solution = solve(random_mdp(40, 3, 4, 0.999), 0.0, method=method)
    assert solution.reason == "rounding floor"
    assert 0 < solution.gap < 1e-8


@pytest.mark.parametrize("method", ALL)
def test_cancel_flag_stops_the_solver(method):
    solution = solve(random_mdp(40, 3, 4, 0.999), 1e-9, method=method, cancel=np.ones(1, dtype=np.uint8))
    assert solution.reason == "cancelled"
    assert solution.iterations == 1


@pytest.mark.parametrize("method", ALL)
def test_any_starting_vector_leads_to_the_same_values(method):
    mdp = random_mdp(40, 3, 4, 0.95)
    far = solve(mdp, 1e-9, method=method, initial_values=np.full(40, 1e6))
    near = solve(mdp, 1e-9, method=method)
    np.testing.assert_allclose(far.values, near.values, atol=2e-9)


def test_results_do_not_depend_on_the_number_of_threads():
    import numba

    mdp = make("garnet", states=21_000, actions=5, branching=20, discount=0.95)
    before = numba.get_num_threads()
    try:
        found = []
        for threads in (1, before):
            numba.set_num_threads(threads)
            found.append(solve(mdp, 1e-9).values)
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(*found)


def test_policy_evaluation_equals_a_dense_solve():
    mdp = small_mdp(11, 0.9, terminating=True)
    policy = uniform_policy(mdp)
    chain = induced_chain(mdp, policy)
    dense = np.zeros((mdp.n_states, mdp.n_states))
    reward = np.zeros(mdp.n_states)
    for i, weight in enumerate(policy):
        s, a = int(mdp.pair_state[i]), int(mdp.action[i])
        for p, t, r, ended in mdp.transitions(s, a):
            dense[s, t] += weight * p * (not ended)
            reward[s] += weight * p * r
    truth = np.linalg.solve(np.eye(mdp.n_states) - 0.9 * dense, reward)
    solution = evaluate_policy(mdp, policy)
    np.testing.assert_allclose(solution.values, truth, rtol=1e-12)
    assert np.all(solution.lower <= solution.upper)
    np.testing.assert_allclose(value_iteration(chain, 1e-10).values, truth, atol=1e-9)


def test_policy_evaluation_at_discount_one_needs_only_this_policy_to_end():
    """Prevents asking of every policy what only the given one must do."""
    mdp = FiniteMDP.from_dense(
        [[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]], [[-1.0, -1.0], [0.0, 0.0]], 1.0, terminated=[False, True]
    )
    assert evaluate_policy(mdp, np.array([0, 0])).values[0] == pytest.approx(-2.0)
    with pytest.raises(MDPError, match="never ends"):
        evaluate_policy(mdp, np.array([1, 0]))


def test_policies_of_every_form_mean_the_same():
    mdp = random_mdp(10, 3, 3, 0.9)
    labels = solve(mdp).policy
    table = np.eye(3)[labels]
    pairs = table.ravel()
    values = [evaluate_policy(mdp, policy).values for policy in (labels, table, pairs)]
    assert np.array_equal(values[0], values[1])
    assert np.array_equal(values[1], values[2])


def test_iterates_are_what_value_iteration_passes_through():
    mdp = small_mdp(5, 0.9)
    iterates = bellman_sweeps(mdp, np.zeros(mdp.n_states), 3)
    v = np.zeros(mdp.n_states)
    for k in range(3):
        v = bellman_backup(mdp, v)[0]
        assert np.array_equal(iterates[k + 1], v)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: solve(m, -1.0), "tol is -1.0"),
        (lambda m: solve(m, float("nan")), "tol is nan"),
        (lambda m: solve(m, method="value-iterations"), "did you mean"),
        (lambda m: solve(m, max_iterations=0), "max_iterations is 0"),
        (lambda m: solve(m, initial_values=[1.0]), r"shape \(1,\)"),
        (lambda m: bellman_backup(m, np.full(m.n_states, np.nan)), r"values\[0\] is"),
        (lambda m: bellman_sweeps(m, np.zeros(m.n_states), -1), "sweeps is -1"),
        (lambda m: evaluate_policy(m, np.full(m.n_states, 99)), "action 99 is not available in state 0"),
        (lambda m: evaluate_policy(m, np.full(m.n_pairs, 0.1)), "sums to"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(RlbookError, match=sentence):
        call(small_mdp(0, 0.9))
