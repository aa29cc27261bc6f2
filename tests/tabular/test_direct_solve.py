"""Direct solves: the right solution both ways, a cost known beforehand, and a refusal in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows
from rlbook.tabular import direct_solve
from rlbook.tabular.direct_solve import DirectSolver, direct_solve_cost
from rlbook.tabular.elimination_order import elimination_order
from rlbook.tabular.policy_rows import PolicyRows, policy_pairs, policy_rows


def walk(states: int, discount: float, *, hubs: int = 0) -> FiniteMDP:
    """A symmetric random walk on a line, one action; from everywhere it may also jump to each of the first `hubs`."""
    s = np.arange(states)
    following = np.column_stack(
        [np.maximum(s - 1, 0), np.minimum(s + 1, states - 1), np.tile(np.arange(hubs), (states, 1))]
    )
    law = np.full(2 + hubs, 1.0)
    law[:2] = 4.0
    return from_rows(
        state_ptr=np.arange(states + 1),
        action=np.zeros(states, dtype=np.int32),
        row_ptr=np.arange(states + 1) * (2 + hubs),
        next_state=following.ravel(),
        probability=np.tile(law / law.sum(), states),
        reward=np.sin(s),
        discount=discount,
        normalise=True,
    )


def rows_of(mdp: FiniteMDP, seed: int = 0) -> PolicyRows:
    """The rows of a random policy."""
    counts = np.diff(mdp.state_ptr)
    return policy_rows(mdp, mdp.state_ptr[:-1] + np.random.default_rng(seed).integers(0, counts))


def dense(rows: PolicyRows) -> np.ndarray:
    """I - discount P in full."""
    matrix = np.eye(rows.n_states)
    state = np.repeat(np.arange(rows.n_states), np.diff(rows.pointer))
    np.subtract.at(matrix, (state, rows.following), rows.discount * rows.mass)
    return matrix


@given(
    seed=st.integers(0, 10_000),
    states=st.integers(1, 60),
    branching=st.integers(1, 6),
    discount=st.sampled_from([0.0, 0.5, 0.99, 0.9999]),
)
@settings(max_examples=150, deadline=None)
def test_both_solves_and_the_predicted_fill_are_right_on_any_graph(seed, states, branching, discount):
    """Prevents an order that forgets a state, and a cost below what elimination fills."""
    mdp = make("garnet", states=states, actions=2, branching=min(branching, states), discount=discount, seed=seed)
    rows = rows_of(mdp, seed)
    order, cost = elimination_order(rows, 1e8, 1e11)
    assert sorted(order) == list(range(states))
    assert cost.affordable
    matrix, right = dense(rows), np.random.default_rng(seed).normal(size=states)
    pattern = np.eye(states, dtype=bool)
    pattern[np.repeat(np.arange(states), np.diff(rows.pointer)), rows.following] = True
    pattern = (pattern | pattern.T)[np.ix_(order, order)]
    for k in range(states):  # elimination on the pattern alone
        later = np.flatnonzero(pattern[k, k + 1 :]) + k + 1
        pattern[np.ix_(later, later)] = True
    assert cost.entries >= pattern.sum()
    if states <= 16:  # then no state is so crowded that it is set aside
        assert cost.entries == pattern.sum() + states
    solver = DirectSolver(rows, instead="")
    scale = 1e-13 / (1 - discount)
    np.testing.assert_allclose(solver.solve(right), np.linalg.solve(matrix, right), rtol=scale, atol=scale)
    np.testing.assert_allclose(solver.solve_transposed(right), np.linalg.solve(matrix.T, right), rtol=scale, atol=scale)


@pytest.mark.parametrize("hubs", [0, 1, 5])
def test_a_chain_is_cheap_even_where_all_states_lead_to_a_few(hubs):
    """Prevents orders that fill, or take minutes, once one state neighbours all others: restarts are common."""
    rows = rows_of(walk(20_000, 0.999, hubs=hubs))
    solver = DirectSolver(rows, instead="")
    assert solver.cost.entries < (6 + 2 * hubs) * rows.n_states
    v = solver.solve(rows.reward)
    assert np.abs(rows.residual(v)).max() < 1e-10


def test_sparse_and_dense_factors_agree(monkeypatch):
    rows = rows_of(make("gridworld", size=10, discount=0.99))
    right = np.random.default_rng(0).normal(size=rows.n_states)
    found = []
    for limit, kind in ((2.0, "_SparseFactors"), (0.0, "_DenseFactors")):
        monkeypatch.setattr(direct_solve, "_DENSE", limit)
        solver = DirectSolver(rows, instead="")
        assert type(solver._factors).__name__ == kind
        found.append((solver.solve(right), solver.solve_transposed(right)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10, atol=1e-10)


def test_what_would_fill_is_refused_before_it_is_factorised(monkeypatch):
    """Prevents factors that take all memory."""
    mdp = make("garnet", states=3_000, actions=2, branching=8, discount=0.99)
    monkeypatch.setattr(direct_solve, "_SparseFactors", None)
    monkeypatch.setattr(direct_solve, "_DenseFactors", None)
    with pytest.raises(MDPError, match=r"3000 states needs at least .* entries .* beyond the 1e\+06 .*; ask elsewhere"):
        DirectSolver(rows_of(mdp), instead="ask elsewhere", most_entries=1e6)


def test_the_cost_tells_a_chain_from_a_random_graph():
    chain = direct_solve_cost(walk(20_000, 0.9999))
    graph = direct_solve_cost(make("garnet", states=20_000, actions=2, branching=8, discount=0.99), most_operations=1e9)
    assert chain.affordable
    assert chain.entries <= 4 * 20_000
    assert not graph.affordable
    assert graph.operations > 1e9


def test_the_cost_of_a_named_policy_is_that_policys():
    """Prevents an estimate on some other policy: here one action walks the line, the other jumps about."""
    states = 2_000
    jumps = np.random.default_rng(0).permutation(states)
    line = np.minimum(np.arange(states) + 1, states - 1)
    mdp = from_rows(
        state_ptr=np.arange(states + 1) * 2,
        action=np.tile([0, 1], states),
        row_ptr=np.concatenate([[0], np.cumsum(np.tile([1, 2], states))]),
        next_state=np.column_stack([line, jumps, np.roll(jumps, 7)]).ravel(),
        probability=np.tile([1.0, 0.5, 0.5], states),
        reward=np.zeros(2 * states),
        discount=0.9,
    )
    along = direct_solve_cost(mdp, np.zeros(states, dtype=int))
    about = direct_solve_cost(mdp, np.ones(states, dtype=int))
    assert along.entries <= 4 * states < about.entries


def test_the_mdp_is_left_as_it_was():
    """Prevents scipy's matrices from sorting arrays that they share."""
    mdp = make("garnet", states=50, actions=3, branching=6, discount=0.9)
    before = mdp.next_state.copy(), mdp.probability.copy()
    rows = rows_of(mdp)
    copies = rows.following.copy(), rows.mass.copy(), rows.pointer.copy()
    DirectSolver(rows, instead="").solve(rows.reward)
    assert np.array_equal(mdp.next_state, before[0])
    assert np.array_equal(mdp.probability, before[1])
    assert all(np.array_equal(a, b) for a, b in zip((rows.following, rows.mass, rows.pointer), copies, strict=True))


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (np.zeros(3, dtype=int), r"policy has shape \(3,\)"),
        (np.zeros(4), "type float64; give one action label per state"),
        (np.array([0, 0, 9, 0]), "action 9 is not available in state 2"),
    ],
)
def test_policies_that_are_none_are_refused(policy, sentence):
    mdp = make("garnet", states=4, actions=2, branching=2, discount=0.9)
    with pytest.raises(MDPError, match=sentence):
        policy_pairs(mdp, policy)
