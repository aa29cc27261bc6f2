"""The equation of a policy, on several levels and by banded elimination, against scipy's sparse solver; and the solver
that changes between them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from rlbook import make
from rlbook.mdp import FiniteMDP
from rlbook.tabular import evaluate_policy, modified_policy_iteration, value_iteration
from rlbook.tabular.aggregation import Aggregation
from rlbook.tabular.banded import Banded, is_banded

NEVER = np.zeros(1, dtype=np.uint8)


def chain_of(mdp: FiniteMDP, pairs: np.ndarray) -> tuple[tuple, sp.csr_matrix]:
    """The arrays that solvers take for the policy `pairs`, and I - discount P."""
    matrix = sp.csr_matrix(mdp.continuing_matrix()[pairs])
    pointer = matrix.indptr.astype(np.int64)
    arrays = (pointer[:-1].copy(), pointer[1:].copy(), matrix.indices.astype(np.int32), matrix.data, mdp.discount)
    return arrays, sp.csr_matrix(sp.eye_array(mdp.n_states) - mdp.discount * matrix)


CHAINS = {
    "a queueing network": lambda: make("queue-network", stations=2, room=49, discount=0.999),
    "a chain that wanders": lambda: make("slow-chain", states=3000, discount=0.9999),
    "a random graph": lambda: make("garnet", states=2000, branching=6, discount=0.99),
    "a grid with termination": lambda: make("slippery-grid", rows=50, columns=50, discount=0.999),
    "few states": lambda: make("garnet", states=40, branching=3, discount=0.9999),
    "one state": lambda: FiniteMDP.from_dense([[[1.0]]], [[1.0]], 0.5),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("seed", [0, 1])
def test_aggregation_solves_the_equation(name, seed):
    mdp = CHAINS[name]()
    rng = np.random.default_rng(seed)
    pairs = rng.integers(mdp.state_ptr[:-1], mdp.state_ptr[1:])
    arrays, matrix = chain_of(mdp, pairs)
    b = rng.normal(size=mdp.n_states)
    x, cycles, left = Aggregation(*arrays).solve(b, 1e-9, 400, NEVER)
    residual = np.abs(b - matrix @ x).max()
    assert residual <= 1.1e-9
    assert left == pytest.approx(residual, rel=0.5, abs=1e-11)
    assert 1 <= cycles <= 400
    np.testing.assert_allclose(x, np.atleast_1d(spsolve(matrix.tocsc(), b)), atol=2e-9 / (1 - mdp.discount))


def test_aggregation_needs_few_cycles_where_sweeps_need_thousands():
    """Prevents corrections from coarse levels that do nothing: then only the sweeps around them would be left."""
    mdp = make("queue-network", stations=2, room=69, discount=0.9999)
    arrays, _ = chain_of(mdp, mdp.state_ptr[:-1])
    b = np.ones(mdp.n_states)
    _, cycles, left = Aggregation(*arrays).solve(b, 1e-3, 100, NEVER)
    assert left <= 1e-3
    assert cycles <= 60


def test_every_level_is_a_chain_again():
    """Prevents a lumped matrix that loses or gains mass: its rows must keep the sum of the rows they stand for."""
    mdp = make("queue-network", stations=2, room=49, discount=0.9)
    arrays, matrix = chain_of(mdp, mdp.state_ptr[:-1])
    levels = Aggregation(*arrays)._levels
    assert len(levels) >= 2
    rows = np.asarray(matrix.sum(axis=1)).ravel()
    for fine, coarse in itertools.pairwise(levels):
        rows = np.bincount(fine.group, weights=rows)
        ptr, column, weight, diagonal = coarse.matrix
        sums = diagonal - np.add.reduceat(np.append(weight[: ptr[-1]], 0.0), ptr[:-1]) * (np.diff(ptr) > 0)
        np.testing.assert_allclose(sums, rows, atol=1e-12)
        assert np.all(column[: ptr[-1]] < coarse.size)
        assert np.bincount(fine.group).max() <= 4


def test_aggregation_stops_at_its_limit_and_at_the_flag():
    mdp = make("queue-network", stations=2, room=49, discount=0.9999)
    arrays, _ = chain_of(mdp, mdp.state_ptr[:-1])
    b = np.random.default_rng(0).normal(size=mdp.n_states)
    assert Aggregation(*arrays).solve(b, 0.0, 3, NEVER)[1] == 3
    assert Aggregation(*arrays).solve(b, 0.0, 100, np.ones(1, dtype=np.uint8))[1] == 0
    assert Aggregation(*arrays).solve(b, 0.0, 10_000, NEVER)[1] < 10_000  # rounding ends it


@pytest.mark.parametrize("name", ["a chain that wanders", "one state"])
def test_banded_elimination_equals_the_sparse_solver(name):
    mdp = CHAINS[name]()
    arrays, matrix = chain_of(mdp, mdp.state_ptr[1:] - 1)
    assert is_banded(*arrays[:3])
    b = np.random.default_rng(0).normal(size=mdp.n_states)
    x, _, left = Banded(*arrays).solve(b, 0.0, 1, NEVER)
    assert left == 0.0
    np.testing.assert_allclose(x, np.atleast_1d(spsolve(matrix.tocsc(), b)), rtol=1e-9, atol=1e-9)


def test_wide_chains_are_not_called_banded():
    arrays, _ = chain_of(make("garnet", states=200), np.arange(200) * 4)
    assert not is_banded(*arrays[:3])


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("a random graph", "synchronous sweeps throughout"),
        ("a grid with termination", "sweeps in place"),
        ("a chain that wanders", "equations solved"),
        ("a queueing network", "equations solved"),
    ],
)
def test_modified_policy_iteration_finds_the_gear_and_the_values(name, choice):
    mdp = CHAINS[name]()
    solution = modified_policy_iteration(mdp, 1e-6)
    assert choice in solution.chosen_because
    assert solution.reason == "tolerance"
    assert np.all(np.diff(solution.history.work) > 0)
    policy = evaluate_policy(mdp, solution.policy)
    assert np.all(policy.lower <= solution.upper)
    assert np.all(policy.upper >= solution.lower - 1e-6 / (1 - mdp.discount))


def walk_to_a_prize(states: int) -> FiniteMDP:
    """A corridor, left or right, whose last state pays for ever; nothing ends."""
    transition = np.zeros((states, 2, states))
    at = np.arange(states)
    transition[at, 0, np.maximum(at - 1, 0)] = transition[at, 1, np.minimum(at + 1, states - 1)] = 1.0
    reward = np.zeros((states, 2))
    reward[-1] = 1.0
    return FiniteMDP.from_dense(transition, reward, 0.9999)


@pytest.mark.parametrize("states", [50, 400, 1500])
def test_what_sweeps_in_place_cannot_see_through_is_solved_otherwise(states):
    """Prevents a trap of Gauss-Seidel where nothing ends: news arrive at once, but the level of all values creeps."""
    solution = modified_policy_iteration(walk_to_a_prize(states), 1e-3)
    assert solution.reason == "tolerance"
    assert solution.history.work[-1] < 100
    exact = 0.9999 ** (states - 1 - np.arange(states)) / (1 - 0.9999)
    assert np.all(solution.lower <= exact + 1e-9)
    assert np.all(exact - 1e-9 <= solution.upper)


def ring(states: int, discount: float, seed: int) -> FiniteMDP:
    """Four ways to step up to two states either way round a ring."""
    rng = np.random.default_rng(seed)
    pairs, branching = 4 * states, 5
    following = (np.repeat(np.arange(states), 4)[:, None] + rng.integers(-2, 3, (pairs, branching))) % states
    return FiniteMDP.from_csr(
        sp.csr_matrix(
            (
                rng.dirichlet(np.ones(branching), pairs).ravel(),
                (np.repeat(np.arange(pairs), branching), following.ravel()),
            ),
            shape=(pairs, states),
        ),
        rng.normal(size=pairs),
        discount,
        normalise=True,
    )


@pytest.mark.parametrize(("states", "discount"), [(300, 0.99999), (2000, 0.99999), (6000, 0.9999)])
def test_a_ring_that_neither_mixes_nor_ends_is_solved(states, discount):
    """Prevents a solver that circles for ever where chains turn round and no step is short in the states' order."""
    mdp = ring(states, discount, 4)
    solution = modified_policy_iteration(mdp, 1e-3, max_iterations=300)
    assert solution.reason == "tolerance"


def test_news_that_crosses_a_grid_is_waited_for():
    """Prevents calling a solver stalled while good decisions spread from a far goal, and the gap stands still."""
    mdp = make("slippery-grid", rows=60, columns=60, discount=0.999)
    synchronous = value_iteration(mdp, 1e-4)
    adaptive = modified_policy_iteration(mdp, 1e-4)
    assert synchronous.reason == adaptive.reason == "tolerance"
    assert np.all(synchronous.lower <= adaptive.upper)
    assert np.all(adaptive.lower <= synchronous.upper)
    assert adaptive.history.work[-1] < 0.5 * synchronous.history.work[-1]
