"""Builders: what goes in comes out again, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows, from_transitions


@st.composite
def dense_mdps(draw):
    """Random P, R (per transition), feasibility and termination, small and full of zeros and ties."""
    states, actions = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = random.integers(0, 3, (states, actions, states)).astype(float)
    weight[..., 0] += weight.sum(axis=2) == 0
    p = weight / weight.sum(axis=2, keepdims=True)
    r = random.integers(-2, 3, (states, actions, states)).astype(float)
    feasible = random.random((states, actions)) < 0.7
    feasible[:, 0] |= ~feasible.any(axis=1)
    ended = random.random((states, actions, states)) < 0.3
    return p, r, feasible, ended


def to_dense(mdp: FiniteMDP, actions: int):
    """P, R, terminated per (s, a, s'), and which pairs exist, read through the public `transitions`."""
    shape = (mdp.n_states, actions, mdp.n_states)
    p, r, ended, exists = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape[:2], dtype=bool)
    for i in range(mdp.n_pairs):
        s, a = int(mdp.pair_state[i]), int(mdp.action[i])
        exists[s, a] = True
        for probability, following, reward, stops in mdp.transitions(s, a):
            assert p[s, a, following] == 0, "a dense row came back with one next state twice"
            p[s, a, following], r[s, a, following], ended[s, a, following] = probability, reward, stops
    return p, r, ended, exists


@given(dense_mdps())
def test_dense_arrays_come_back_bit_for_bit(case):
    """Prevents pairs, zeros, rewards or flags being shifted by the drop of infeasible pairs or the sort by flag."""
    p, r, feasible, ended = case
    given_reward = np.where(feasible[..., None], r, -np.inf)
    mdp = FiniteMDP.from_dense(p, given_reward, 0.9, terminated=ended)
    back_p, back_r, back_ended, exists = to_dense(mdp, p.shape[1])
    assert_array_equal(exists, feasible)
    some = (p > 0) & feasible[..., None]
    assert_array_equal(back_p, np.where(feasible[..., None], p, 0.0))
    assert_array_equal(back_r, np.where(some, r, 0.0))
    assert_array_equal(back_ended, ended & some)


@given(dense_mdps())
def test_expected_reward_is_the_mean_over_the_row(case):
    """Prevents solvers and samplers from being told different rewards."""
    p, r, feasible, _ = case
    mdp = FiniteMDP.from_dense(p, np.where(feasible[..., None], r, -np.inf), 0.9)
    np.testing.assert_allclose(mdp.expected_reward, (p * r).sum(axis=2)[feasible], atol=1e-12)


@given(dense_mdps())
def test_terminating_transitions_come_last_and_continuation_is_the_rest(case):
    """Prevents a backup from reading the value of a state in which the episode has ended."""
    p, r, feasible, ended = case
    mdp = FiniteMDP.from_dense(p, np.where(feasible[..., None], r, -np.inf), 0.9, terminated=ended)
    for i in range(mdp.n_pairs):
        flags = [stops for *_, stops in mdp.transitions(int(mdp.pair_state[i]), int(mdp.action[i]))]
        assert flags == sorted(flags)
    np.testing.assert_allclose(mdp.continuation, (p * ~ended).sum(axis=2)[feasible], atol=1e-12)
    assert mdp.terminates == bool((ended & (p > 0) & feasible[..., None]).any())


@given(dense_mdps())
def test_csr_and_dense_build_the_same_mdp(case):
    """Prevents the two doors from disagreeing on order, pairs or start."""
    p, r, feasible, ended = case
    states = len(p)
    rows = p.reshape(-1, states)
    matrix = scipy.sparse.csr_array(rows)
    at = np.repeat(np.arange(len(rows)), np.diff(matrix.indptr)), matrix.indices
    reward = np.where(feasible[..., None], r, -np.inf).reshape(-1, states)[at]
    sparse = FiniteMDP.from_csr(matrix, reward, 0.9, terminated=ended.reshape(-1, states)[at])
    dense = FiniteMDP.from_dense(p, np.where(feasible[..., None], r, -np.inf), 0.9, terminated=ended)
    # Which labels exist follows from what is feasible, so the two agree in everything.
    assert sparse == dense


def test_csr_reward_per_pair_wins_where_both_shapes_fit():
    """Prevents -inf from dropping the wrong row when there are as many pairs as stored entries."""
    matrix = scipy.sparse.csr_array(np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]))
    mdp = FiniteMDP.from_csr(matrix, [1.0, 2.0, -np.inf], 0.9, state=[0, 1, 1], action=[0, 0, 1])
    assert_array_equal(mdp.expected_reward, [1.0, 2.0])
    assert mdp.n_pairs == 2


SHUFFLED = scipy.sparse.coo_array(([0.25, 1.0, 0.75], ([0, 1, 0], [1, 0, 0])), shape=(2, 2))
ROW_BY_ROW = scipy.sparse.csr_array(([0.5, 0.5, 1.0], [1, 0, 1], [0, 2, 3]), shape=(2, 2))


@pytest.mark.parametrize("make", [lambda: SHUFFLED, SHUFFLED.tocsc, SHUFFLED.tolil, SHUFFLED.tobsr, ROW_BY_ROW.tocsc])
def test_arrays_per_entry_need_a_matrix_whose_order_is_kept(make):
    """Prevents rewards and flags from being dealt to other transitions when a matrix is put in order by rows."""
    matrix = make()
    with pytest.raises(MDPError, match=r"reward has shape \(3,\).*\.tocsr\(\) first and give reward in its order"):
        FiniteMDP.from_csr(matrix, [1.0, 2.0, 3.0], 0.9)
    with pytest.raises(MDPError, match=rf"terminated has shape \(3,\).* is in {matrix.format} format.*\.tocsr\(\)"):
        FiniteMDP.from_csr(matrix, [1.0, 2.0], 0.9, terminated=[True, False, False])


@pytest.mark.parametrize("form", ["coo", "csc", "lil"])
def test_rewards_per_pair_go_with_any_sparse_matrix(form):
    """Prevents the refusal from reaching matrices whose order does not matter."""
    expected = FiniteMDP.from_dense(SHUFFLED.toarray()[:, None], [[1.0], [2.0]], 0.9)
    assert FiniteMDP.from_csr(SHUFFLED.asformat(form), [1.0, 2.0], 0.9) == expected


def test_entries_of_one_csr_row_that_share_a_next_state_stay_apart():
    """Prevents duplicates in a CSR matrix from being merged, by which their rewards and flags would shift."""
    data, columns, pointer = np.array([0.25, 0.25, 0.5, 1.0]), np.array([1, 1, 0, 0]), np.array([0, 3, 4])
    matrix = scipy.sparse.csr_array((data, columns, pointer), shape=(2, 2))
    mdp = FiniteMDP.from_csr(matrix, [5.0, 6.0, 7.0, 8.0], 0.9, terminated=[True, False, False, False])
    assert mdp.transitions(0, 0) == [(0.25, 1, 6.0, False), (0.5, 0, 7.0, False), (0.25, 1, 5.0, True)]
    assert mdp.transitions(1, 0) == [(1.0, 0, 8.0, False)]
    assert_array_equal(matrix.data, [0.25, 0.25, 0.5, 1.0])


def test_sparse_arrays_of_another_dimension_are_refused():
    """Prevents a vector from ending in a traceback of tuple unpacking."""
    with pytest.raises(MDPError, match=r"transition has shape \(2,\); give one row per pair"):
        FiniteMDP.from_csr(scipy.sparse.coo_array(np.ones(2)), [1.0], 0.9)


def test_csr_names_pairs_by_state_and_action():
    """Prevents ragged action sets from being renumbered."""
    matrix = scipy.sparse.csr_array(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    mdp = FiniteMDP.from_csr(matrix, [0.0, 1.0, 2.0], 0.9, state=[0, 0, 1], action=[3, 7, 5])
    assert mdp.pair(0, 7) == 1
    assert mdp.pair(1, 5) == 2
    assert mdp.n_actions == 8


@given(dense_mdps(), st.integers(1, 2**32 - 1))
def test_callers_arrays_are_neither_changed_nor_aliased(case, seed):
    """Prevents a later change of the caller's array from changing an MDP that was validated."""
    p, r, _, ended = case
    start = np.full(len(p), 1 / len(p))
    before = [array.copy() for array in (p, r, ended, start)]
    mdp = FiniteMDP.from_dense(p, r, 0.9, terminated=ended, start=start)
    fingerprint = mdp.fingerprint
    for array, copy in zip((p, r, ended, start), before, strict=True):
        assert array.flags.writeable
        assert_array_equal(array, copy)
        array[...] = np.random.default_rng(seed).random(array.shape) < 0.5
    del mdp.__dict__["fingerprint"]
    assert mdp.fingerprint == fingerprint


def test_csr_and_rows_copy_too():
    """Prevents arrays that already have the right types from being taken instead of copied."""
    matrix = scipy.sparse.csr_array(np.eye(2))
    reward = np.array([1.0, 2.0])
    mdp = FiniteMDP.from_csr(matrix, reward, 0.9)
    matrix.data[:] = 0
    reward[:] = 9
    assert_array_equal(mdp.probability, [1, 1])
    assert_array_equal(mdp.expected_reward, [1, 2])
    rows = {
        "state_ptr": np.array([0, 1]),
        "action": np.zeros(1, dtype=np.int32),
        "row_ptr": np.array([0, 1]),
        "next_state": np.zeros(1, dtype=np.int32),
        "probability": np.ones(1),
        "reward": np.zeros(1),
    }
    built = from_rows(**rows, discount=0.9)
    for name, array in rows.items():
        assert array.flags.writeable, name
        for held in vars(built).values():
            assert not (isinstance(held, np.ndarray) and np.shares_memory(held, array)), name


def test_minus_infinity_marks_infeasible_actions_and_their_rows_are_ignored():
    """Prevents QuantEcon's convention from being read as a very bad reward, or its junk rows from being checked."""
    p = np.array([[[1.0, 0.0], [np.nan, 7.0]], [[0.0, 1.0], [0.5, 0.5]]])
    mdp = FiniteMDP.from_dense(p, [[1.0, -np.inf], [2.0, 3.0]], 0.9)
    assert mdp.n_pairs == 3
    with pytest.raises(MDPError, match=r"action 1 is not available in state 0; available: \[0\]"):
        mdp.pair(0, 1)


def test_minus_infinity_on_an_impossible_transition_changes_nothing():
    """Prevents R[s, a, s'] = -inf from removing an action that never reaches s'."""
    p = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    r = np.array([[[1.0, -np.inf]], [[0.0, 2.0]]])
    assert FiniteMDP.from_dense(p, r, 0.9).n_pairs == 2


def test_zero_probabilities_are_dropped():
    """Prevents kernels from touching entries that do nothing, and samplers from drawing them."""
    matrix = scipy.sparse.csr_array((np.array([0.0, 1.0, 1.0]), np.array([0, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    mdp = FiniteMDP.from_csr(matrix, [5.0, 6.0, 7.0], 0.9)
    assert mdp.transitions(0, 0) == [(1.0, 1, 6.0, False)]
    assert mdp.n_transitions == 2


def test_only_transitions_equal_in_all_three_are_merged():
    """Prevents merging by next state alone, which keeps the mean and destroys the law of the return."""
    outcomes = [{0: [(0.25, 0, 1.0, False), (0.25, 0, 1.0, False), (0.25, 0, -1.0, False), (0.25, 0, 1.0, True)]}]
    mdp = from_transitions(outcomes, 0.9)
    assert sorted(mdp.transitions(0, 0)) == [(0.25, 0, -1.0, False), (0.25, 0, 1.0, True), (0.5, 0, 1.0, False)]


def test_rewards_are_kept_per_transition_only_where_they_vary():
    """Prevents every MDP from paying for a reward array that says nothing."""
    p = np.full((2, 1, 2), 0.5)
    assert FiniteMDP.from_dense(p, np.ones((2, 1, 2)), 0.9).reward is None
    assert FiniteMDP.from_dense(p, [[[1, 1]], [[1, 2]]], 0.9).reward is not None


@given(dense_mdps())
def test_normalise_rescales_rows(case):
    """Prevents counts, the natural thing to have, from being unusable."""
    p, r, _, _ = case
    counts = p * 12
    mdp = FiniteMDP.from_dense(counts, r, 0.9, normalise=True)
    np.testing.assert_allclose(np.add.reduceat(mdp.probability, mdp.row_ptr[:-1]), 1.0, atol=1e-12)


def test_unreachable_states_are_allowed():
    """Prevents models with states that nothing leads to from being refused."""
    mdp = FiniteMDP.from_dense([[[1.0, 0.0]], [[1.0, 0.0]]], [[0.0], [0.0]], 0.9, start=[1.0, 0.0])
    assert 1 not in mdp.next_state


def test_dense_policies_follow_their_pairs():
    """Prevents a policy's probabilities from being matched to other pairs when some are infeasible."""
    p = np.full((2, 2, 2), 0.5)
    mdp = FiniteMDP.from_dense(p, [[-np.inf, 0], [0, 0]], 0.9, policies={"mine": [[0.0, 1.0], [0.25, 0.75]]})
    assert_array_equal(mdp.policies["mine"], [1.0, 0.25, 0.75])
