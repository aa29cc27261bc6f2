"""Inexact policy iteration: bounds hold whatever the Krylov solver does, and where it diverges sweeps take over."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.tabular import krylov, modified_policy_iteration, value_iteration
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.incomplete_factors import IncompleteFactors
from rlbook.tabular.inexact_policy_iteration import inexact_policy_iteration
from rlbook.tabular.krylov import SafeguardedEvaluation, bicgstab
from rlbook.tabular.policy_rows import PolicyRows, policy_pairs, policy_rows

from . import discounted
from .test_direct_solve import dense, rows_of, walk

plain = partial(inexact_policy_iteration, krylov="plain")


def largest(residual: np.ndarray) -> float:
    return float(np.abs(residual).max())


@pytest.fixture
def eager(monkeypatch):
    """BiCGSTAB is tried at once, on MDPs so small that sweeps would do."""
    discounted.try_krylov_at_once(monkeypatch)


@pytest.fixture(scope="module")
def drifting_grid() -> tuple[FiniteMDP, PolicyRows]:
    """A slippery 120x120 grid at 0.9999 under its optimal policy, which drifts to one corner."""
    mdp = make("slippery-grid", rows=120, columns=120, slip=0.1, discount=0.9999)
    policy = modified_policy_iteration(mdp, 1e-2).policy
    return mdp, policy_rows(mdp, policy_pairs(mdp, policy))


@pytest.mark.parametrize("solver", [inexact_policy_iteration, plain])
def test_bounds_enclose_the_exact_value_as_it_is_shipped(solver):
    """Where the solver decides when to try BiCGSTAB; `test_discounted_methods` has it try at once."""
    discounted.check_exact_values(solver, terminating=True, hard=True)


def test_without_a_preconditioner_bicgstab_diverges_on_the_grid(drifting_grid):
    """The control of the safeguard: scipy's own BiCGSTAB gets far worse than it began, and ours gives up at once.

    After 50 iterations, whichever instructions the BLAS chooses; what becomes of it later hangs on rounding.
    """
    from scipy.sparse.linalg import LinearOperator
    from scipy.sparse.linalg import bicgstab as scipys

    _, rows = drifting_grid
    states, nothing = rows.n_states, np.zeros(rows.n_states)
    matrix = LinearOperator((states, states), matvec=lambda x: -rows.residual(x.ravel(), nothing), dtype=np.float64)
    with np.errstate(all="ignore"):
        found, _ = scipys(matrix, rows.reward, rtol=1e-6, maxiter=50)
    assert not largest(rows.residual(found)) < 1e6 * largest(rows.reward)
    ours, _ = bicgstab(rows, np.zeros(states), largest, 1e-6, preconditioned=False)
    assert largest(rows.residual(ours)) >= 0.9 * largest(rows.reward)


def test_the_safeguard_converges_where_bicgstab_alone_diverges(drifting_grid):
    """Prevents an iteration that follows its inner solver to infinity, or waits for it for ever."""
    mdp, rows = drifting_grid
    evaluate = SafeguardedEvaluation(Contraction.of(mdp), preconditioned=False)
    v, outcomes = np.zeros(rows.n_states), []
    while largest(rows.residual(v)) > 1e-7 and len(outcomes) < 30:
        done = evaluate(rows, v, 1e-3)
        v = done.values
        outcomes.append(done.krylov)
    assert outcomes[0] == "rejected"
    assert largest(rows.residual(v)) <= 1e-7
    best = modified_policy_iteration(mdp, 1e-6)
    found = plain(mdp, 1e-3)
    assert found.reason == "tolerance"
    assert np.all(found.lower <= best.upper)
    assert np.all(best.lower <= found.upper)


def test_the_preconditioner_makes_it_quick(drifting_grid):
    mdp, rows = drifting_grid
    start = np.zeros(rows.n_states)
    found, sweeps = bicgstab(rows, start, largest, 1e-6)
    assert largest(rows.residual(found)) < 1e-5
    assert sweeps < 200
    solution = inexact_policy_iteration(mdp, 1e-3)
    assert solution.reason == "tolerance"
    assert "rejected" not in solution.krylov


def test_an_evaluation_is_never_worse_than_the_sweeps_it_replaces(drifting_grid, eager):
    """Prevents a result that is taken on the recursion's word, or judged against too little."""
    mdp, rows = drifting_grid
    contraction = Contraction.of(mdp)
    for preconditioned in (True, False):
        evaluate = SafeguardedEvaluation(contraction, preconditioned=preconditioned)
        v = np.random.default_rng(0).normal(size=rows.n_states)
        for _ in range(6):
            before = largest(rows.residual(v))
            done = evaluate(rows, v, 1e-9)
            after = largest(rows.residual(done.values))
            assert after <= before * (1 - 1 / contraction.horizon) ** (done.sweeps / 2 - 4)
            v = done.values


def test_after_a_rejection_bicgstab_rests_longer_each_time(drifting_grid, monkeypatch):
    """Prevents paying for a solver that fails every time."""
    mdp, rows = drifting_grid
    monkeypatch.setattr(krylov, "bicgstab", lambda rows, v, *_, **__: (v + 1e6, 10))
    evaluate = SafeguardedEvaluation(Contraction.of(mdp))
    outcomes = []
    v = np.zeros(rows.n_states)
    for _ in range(12):
        done = evaluate(rows, v, 1e-300)
        outcomes.append(done.krylov)
    assert [k for k, outcome in enumerate(outcomes) if outcome == "rejected"] == [0, 2, 5, 10]


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e308])
def test_numbers_that_overflow_are_thrown_away(drifting_grid, monkeypatch, broken):
    """Prevents NaN from passing a comparison."""
    mdp, rows = drifting_grid
    monkeypatch.setattr(krylov, "bicgstab", lambda rows, v, *_, **__: (np.full_like(v, broken), 10))
    done = SafeguardedEvaluation(Contraction.of(mdp))(rows, np.zeros(rows.n_states), 1e-9)
    assert done.krylov == "rejected"
    assert np.all(np.isfinite(done.values))


@given(
    seed=st.integers(0, 10_000),
    states=st.integers(1, 30),
    discount=st.sampled_from([0.0, 0.9, 0.9999]),
    branching=st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_bicgstab_solves_small_systems(seed, states, discount, branching):
    """Prevents a breakdown that is not noticed, and an answer whose residual is not what was asked for."""
    mdp = make("garnet", states=states, actions=2, branching=min(branching, states), discount=discount, seed=seed)
    rows = rows_of(mdp, seed)
    for preconditioned in (True, False):
        found, _ = bicgstab(rows, np.zeros(states), largest, 1e-9, preconditioned=preconditioned)
        assert np.all(np.isfinite(found))
        assert largest(rows.residual(found)) <= largest(rows.reward)
        if preconditioned:
            assert largest(rows.residual(found)) <= 1e-6 * max(largest(rows.reward), 1.0)


def test_incomplete_factors_of_a_line_are_exact():
    rows = rows_of(walk(200, 0.9999))
    right = np.random.default_rng(0).normal(size=200)
    np.testing.assert_allclose(IncompleteFactors(rows).solve(right), np.linalg.solve(dense(rows), right), rtol=1e-9)


def test_where_sweeps_suffice_there_is_no_krylov():
    """Prevents a price that chains which mix fast need not pay."""
    mdp = make("garnet", states=500, actions=3, branching=20, discount=0.99)
    found = inexact_policy_iteration(mdp, 1e-3)
    assert found.reason == "tolerance"
    assert set(found.krylov) == {"not tried"}
    assert found.history.work[-1] < value_iteration(mdp, 1e-3).history.work[-1] * 2


def test_what_happened_is_kept_and_told():
    mdp = make("slippery-grid", rows=30, columns=30, discount=0.9999)
    found = inexact_policy_iteration(mdp, 1e-6)
    assert len(found.krylov) == len(found.sweeps)
    assert found.to_json()["krylov_accepted"] == found.krylov.count("accepted") > 0


def test_a_cancelled_run_ends_within_the_evaluation(drifting_grid):
    mdp, rows = drifting_grid
    done = SafeguardedEvaluation(Contraction.of(mdp))(rows, np.zeros(rows.n_states), 1e-9, np.ones(1, dtype=np.uint8))
    assert done.sweeps < 10


@pytest.fixture(scope="module")
def ring() -> FiniteMDP:
    """2000 states in a ring, steps of at most two at discount 0.99999: its first policies are worth next to nothing."""
    states, actions, steps = 2000, 4, 5
    rng = np.random.default_rng(4)
    pairs = states * actions
    following = (np.repeat(np.arange(states), actions)[:, None] + rng.integers(-2, 3, (pairs, steps))) % states
    weight = rng.exponential(size=(pairs, steps))
    ends = np.arange(pairs + 1) * steps
    return FiniteMDP(
        state_ptr=np.arange(states + 1) * actions,
        action=np.tile(np.arange(actions, dtype=np.int32), states),
        row_ptr=ends,
        continuing_end=ends[1:],
        next_state=following.ravel().astype(np.int32),
        probability=(weight / weight.sum(axis=1, keepdims=True)).ravel(),
        expected_reward=rng.normal(size=pairs),
        discount=0.99999,
        start=np.eye(1, states).ravel(),
        name="ring",
    )


@pytest.mark.parametrize("limit", [3, 30, 2000])
def test_it_does_not_diverge_where_policies_are_far_from_optimal(ring, limit):
    """Prevents gaps that grow with each policy (they reached 1e28), and bounds that are not the best ones passed."""
    solution = inexact_policy_iteration(ring, 1e-3, max_iterations=limit)
    gaps = solution.history.gap
    assert gaps.max() <= 2 * gaps[0] * Contraction.of(ring).horizon
    assert solution.gap <= gaps.min() * (1 + 1e-6)
    if limit == 2000:
        assert solution.reason == "tolerance"
        best = modified_policy_iteration(ring, 1e-3)
        assert np.all(solution.lower <= best.upper)
        assert np.all(best.lower <= solution.upper)


@pytest.mark.parametrize("harm", [1.0, 1e6])
def test_evaluations_that_only_do_harm_cannot_stop_it(monkeypatch, harm):
    """Prevents a loop whose plain backups start from what the last bad evaluation left."""
    rng = np.random.default_rng(0)

    def harmful(self, rows, v, *_, **__):
        return krylov.Evaluation(v + harm * rng.normal(size=len(v)), 1, "accepted")

    monkeypatch.setattr(SafeguardedEvaluation, "__call__", harmful)
    mdp = make("garnet", states=50, actions=3, branching=5, discount=0.9)
    solution = inexact_policy_iteration(mdp, 1e-6, max_iterations=2000)
    assert solution.reason == "tolerance"
    limited = inexact_policy_iteration(mdp, 1e-6, max_iterations=25)
    best = int(np.argmin(limited.history.gap))
    assert best < len(limited.history.gap) - 1
    assert limited.gap == pytest.approx(limited.history.gap[best])
    assert np.all(limited.lower <= solution.upper)
    assert np.all(solution.lower <= limited.upper)


@pytest.mark.parametrize("scale", [1e299, 1e300])
def test_residuals_that_overflow_end_an_evaluation_where_it_began(scale):
    """Prevents an IndexError or the logarithm of zero where a sum is beyond doubles."""
    rows = rows_of(walk(50, 0.9))
    contraction = Contraction.of(walk(50, 0.9))
    huge = np.where(np.arange(50) % 2, scale, -scale)
    for v in (huge, np.full(50, np.inf), np.full(50, np.nan)):
        with np.errstate(all="ignore"):
            done = SafeguardedEvaluation(contraction)(rows, v, 1e-9)
        assert not np.all(np.isfinite(v)) or np.all(np.isfinite(done.values))


@pytest.mark.parametrize("scale", [1e-280, 1e280])
def test_units_of_reward_play_no_part(scale):
    """Prevents inner products that overflow or vanish, after which BiCGSTAB is never of use and gaps grow for ever."""
    rng = np.random.default_rng(0)
    mdp = FiniteMDP.from_dense(np.eye(6)[(np.arange(6) + 1) % 6][:, None, :], rng.normal(size=(6, 1)), 1 - 1e-6)
    scaled = mdp.replace(expected_reward=scale * mdp.expected_reward, reward=None, policies={})
    usual, found = inexact_policy_iteration(mdp, 1e-3), inexact_policy_iteration(scaled, 1e-3 * scale)
    assert found.krylov == usual.krylov == ("accepted",)
    assert found.reason == usual.reason == "tolerance"


def test_an_unknown_variant_is_refused():
    with pytest.raises(MDPError, match="krylov is 'gmres'"):
        inexact_policy_iteration(walk(3, 0.9), krylov="gmres")
