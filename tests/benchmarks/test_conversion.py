"""What peers are given is the MDP that rlbook solves."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from benchmarks.conversion import as_lists, as_matrices, rows_of
from benchmarks.peers import DoesNotApply, MdpsolverRunner, MdptoolboxRunner, QuantEconRunner
from benchmarks.queue_functions import queue_functions
from rlbook.environments import make
from rlbook.mdp import FiniteMDP
from rlbook.tabular import bellman_backup, solve

# Ragged and terminating; ragged; terminating; neither.
MODELS = ("gambler(goal=12, discount=0.9)", "queue-network(room=3)", "slippery-grid(rows=4, columns=5)", "garnet")


@pytest.fixture(params=MODELS)
def mdp(request) -> FiniteMDP:
    return make(request.param)


def test_rows_keep_the_bellman_operator(mdp):
    """Prevents a peer that solves another MDP, above all where episodes end."""
    rows = rows_of(mdp)
    values = np.random.default_rng(0).normal(size=mdp.n_states)
    padded = np.append(values, 0.0)[: rows.n_states]
    assert rows.n_states == mdp.n_states + mdp.terminates
    ours, _ = bellman_backup(mdp, values)
    np.testing.assert_allclose(rows.backup(padded)[: mdp.n_states], ours, atol=1e-12)
    np.testing.assert_allclose(rows.transition.sum(axis=1), 1.0, atol=1e-12)
    if mdp.terminates:
        assert rows.backup(padded)[-1] == 0.0


def test_lists_hold_the_same_numbers(mdp):
    """Prevents entries of one pair from standing in another's list."""
    rows, lists = rows_of(mdp), as_lists(rows_of(mdp))
    assert [len(choices) for choices in lists["rewards"]] == np.diff(rows.state_ptr).tolist()
    pair = 0
    for rewards, masses, columns in zip(*lists.values(), strict=True):
        for reward, mass, column in zip(rewards, masses, columns, strict=True):
            dense = np.zeros(rows.n_states)
            dense[column] = mass
            assert reward == rows.reward[pair]
            np.testing.assert_array_equal(dense, rows.transition[[pair]].toarray()[0])
            pair += 1
    assert pair == len(rows.reward)


def test_matrices_hold_the_same_numbers(mdp):
    """Prevents actions that a state lacks from becoming better than those that it has."""
    rows = rows_of(mdp)
    matrices, reward = as_matrices(rows)
    values = np.random.default_rng(1).normal(size=rows.n_states)
    worth = np.stack([reward[:, a] + rows.discount * (matrix @ values) for a, matrix in enumerate(matrices)])
    np.testing.assert_allclose(worth.max(axis=0), rows.backup(values), atol=1e-12)
    assert all(scipy.sparse.issparse(matrix) for matrix in matrices)


@pytest.mark.parametrize(
    "method", ["value_iteration", "modified_policy_iteration", "policy_iteration", "linear_programming"]
)
def test_quantecon_agrees(mdp, method):
    """Prevents a tolerance that means something else, and a race between solutions of different problems."""
    runner = QuantEconRunner(method, mdp, 1e-3)
    runner.ready()
    runner.solve()
    exact = solve(mdp, 1e-8)
    assert np.abs(runner.values() - exact.values).max() <= 1e-3


def test_values_that_are_off_by_a_constant_are_shifted():
    """Prevents a peer whose rule is on the span of the change from being called wrong."""
    rows = rows_of(make("garnet", states=30, seed=2))
    values = np.zeros(30)
    for _ in range(40):
        values = rows.backup(values)
    exact = solve(make("garnet", states=30, seed=2), 1e-9).values
    assert np.abs(values - exact).max() > 1
    assert np.abs(rows.shifted(values) - exact).max() < 1e-6


def test_dense_matrices_are_not_made_where_they_do_not_fit():
    """Prevents linear programming from taking all memory instead of saying that it does not apply."""
    with pytest.raises(DoesNotApply, match=r"needs a dense matrix of 5\.\d+ GB"):
        QuantEconRunner("linear_programming", make("slow-chain", states=15_000), 1e-3)


def test_mdpsolver_agrees():
    """Prevents a tolerance that means something else, and repetitions that go on from the last result."""
    pytest.importorskip("mdpsolver", reason="mdpsolver is not installed; it comes with the extra [bench]")
    for model in MODELS:
        mdp = make(model)
        exact = solve(mdp, 1e-8)
        for algorithm, update in (("vi", "standard"), ("mpi", "standard"), ("mpi", "gs")):
            runner = MdpsolverRunner(algorithm, update, mdp, 1e-3)
            for _ in range(2):
                runner.ready()
                runner.solve()
                assert np.abs(runner.values() - exact.values).max() <= 1e-3, (model, algorithm, update)


def test_mdptoolbox_agrees():
    """Prevents a tolerance that means something else."""
    pytest.importorskip("hiive.mdptoolbox", reason="mdptoolbox-hiive is not installed; it comes with the extra [bench]")
    for model in MODELS:
        mdp = make(model)
        exact = solve(mdp, 1e-8)
        for method in ("ValueIteration", "PolicyIterationModified"):
            runner = MdptoolboxRunner(method, mdp, 1e-3)
            for _ in range(2):
                runner.ready()
                runner.solve()
                assert np.abs(runner.values() - exact.values).max() <= 1e-3, (model, method)


def test_the_queueing_network_as_functions_is_that_of_the_catalogue():
    """Prevents a comparison of stored and matrix-free solving on different models."""
    ours = make("queue-network", room=4, holding_cost=0.7, discount=0.9)
    theirs = queue_functions(room=4, holding_cost=0.7, discount=0.9)().to_finite_mdp()
    np.testing.assert_array_equal(ours.state_ptr, theirs.state_ptr)
    np.testing.assert_array_equal(ours.action, theirs.action)
    np.testing.assert_allclose(ours.expected_reward, theirs.expected_reward, rtol=1e-14)
    difference = ours.continuing_matrix() - theirs.continuing_matrix()
    assert np.abs(difference).max() < 1e-15
