"""The Cramer projection and categorical sweeps, against rlax, a quadratic programme, closed forms and exact backups."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import evaluate_policy, uniform_policy
from rlbook.tabular.distributional import (
    DiscreteLaws,
    categorical_kernels,
    greedy_return_law_backup,
    return_law_backup,
    return_laws,
)
from rlbook.tabular.distributional import categorical as module
from rlbook.tabular.distributional.categorical import Categorical, categorical_projection
from rlbook.tabular.distributional.return_range import return_range

SEEDS = st.integers(0, 2**32 - 1)


def atoms_of(rng: np.random.Generator, k: int, even: bool) -> np.ndarray:
    """k atoms around 0, evenly spaced or not."""
    if even:
        return np.linspace(-rng.uniform(0.5, 9), rng.uniform(0.5, 9), k)
    return np.cumsum(rng.uniform(0.01, 3, k)) - 0.75 * k


def laws_of(rng: np.random.Generator, n: int, k: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """n laws of k places, in no order, some of them equal and some masses zero."""
    places = np.round(rng.normal(0, reach, (n, k)), rng.integers(0, 4))
    return places, rng.dirichlet(np.full(k, 0.3), n)


def world(seed: int, states: int = 12, discount: float = 0.9) -> FiniteMDP:
    """Ragged, with rewards that vary within a row, some of them equal, and rows that end in part."""
    rng = np.random.default_rng(seed)
    model = []
    for _ in range(states):
        actions = {}
        for a in sorted(rng.choice(5, size=rng.integers(1, 4), replace=False)):
            n = int(rng.integers(1, 9))
            mass, to = rng.dirichlet(np.ones(n)), rng.integers(0, states, n)
            reward, ends = rng.integers(-2, 3, n) / 2.0, rng.random(n) < 0.2
            actions[int(a)] = [
                (float(p), int(t), float(r), bool(e)) for p, t, r, e in zip(mass, to, reward, ends, strict=True)
            ]
        model.append(actions)
    return from_transitions(model, discount, normalise=True)


def by_hats(places: np.ndarray, probs: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Each target atom's hat function over the clipped places, (n, k, k'), as rlax writes it."""
    x = np.clip(places, atoms[0], atoms[-1])[:, None, :]
    below = np.diff(atoms, prepend=atoms[0] - 1)[:, None]
    above = np.diff(atoms, append=atoms[-1] + 1)[:, None]
    off = x - atoms[:, None]
    return np.sum(np.clip(1 - np.where(off >= 0, off / above, -off / below), 0, 1) * probs[:, None, :], axis=-1)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(2, 70), st.integers(1, 150), st.booleans())
def test_the_projection_is_that_of_the_hats(seed, k, source, even):
    """Prevents indices beside the grid, pieces of a long law that part, and unsorted places that are misread."""
    rng = np.random.default_rng(seed)
    atoms = atoms_of(rng, k, even)
    places, probs = laws_of(rng, 3, source, reach=8.0)
    found = categorical_projection(places, probs, atoms)
    assert np.allclose(found, by_hats(places, probs, atoms), atol=1e-12)
    assert np.abs(found.sum(axis=1) - 1).max() <= 1e-12
    assert found.min() >= 0
    ordered = np.argsort(places, axis=1)
    same = categorical_projection(np.take_along_axis(places, ordered, 1), np.take_along_axis(probs, ordered, 1), atoms)
    assert np.allclose(found, same, atol=1e-12)
    again = categorical_projection(atoms, found, atoms)
    assert np.allclose(again, found, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 40), st.booleans())
def test_means_are_kept_inside_the_support(seed, k, even):
    rng = np.random.default_rng(seed)
    atoms = atoms_of(rng, k, even)
    places, probs = rng.uniform(atoms[0], atoms[-1], (4, 30)), rng.dirichlet(np.ones(30), 4)
    found = categorical_projection(places, probs, atoms)
    assert np.allclose(found @ atoms, np.sum(places * probs, axis=1), atol=1e-12 * np.abs(atoms).max())
    outside = categorical_projection(places + 2 * (atoms[-1] - atoms[0]), probs, atoms)
    assert np.array_equal(outside[:, :-1], np.zeros((4, k - 1)))


@pytest.mark.parametrize("even", [True, False])
def test_the_projection_is_the_nearest_law_in_cramer_distance(even):
    """Against a quadratic programme over all laws on the atoms: prevents any other mean-preserving rounding."""
    rng = np.random.default_rng(3)
    atoms = atoms_of(rng, 5, even)
    for _ in range(3):
        places, probs = laws_of(rng, 1, 6, reach=4.0)
        grid = np.sort(np.concatenate([atoms, places[0], [-60.0, 60.0]]))
        middle, width = (grid[1:] + grid[:-1]) / 2, np.diff(grid)
        truth = (probs[0] * (places[0] <= middle[:, None])).sum(axis=1)
        steps = (atoms <= middle[:, None]).astype(float)

        def squared(q, steps=steps, truth=truth, width=width):
            return width @ (steps @ q - truth) ** 2

        best = minimize(
            squared,
            np.full(5, 0.2),
            jac=lambda q, a=steps, f=truth, w=width: 2 * a.T @ (w * (a @ q - f)),
            bounds=[(0, 1)] * 5,
            constraints={"type": "eq", "fun": lambda q: q.sum() - 1, "jac": lambda q: np.ones(5)},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        found = categorical_projection(places[0], probs[0], atoms)
        assert np.allclose(found, best.x, atol=1e-5)
        assert squared(found) <= best.fun + 1e-12


@pytest.mark.parametrize("even", [True, False])
def test_the_projection_equals_that_of_rlax(even):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that rlax imports
        import jax
        import rlax

        rng = np.random.default_rng(0)
        atoms = np.linspace(-12.5, 12.5, 51) if even else atoms_of(rng, 51, False).astype(np.float32)
        assert Categorical(atoms).even == even
        places, probs = (x.astype(np.float32) for x in laws_of(rng, 200, 51, reach=6.0))
        theirs = jax.jit(jax.vmap(rlax.categorical_l2_project, (0, 0, None)))(places, probs, atoms)
    assert np.abs(categorical_projection(places, probs, atoms) - np.asarray(theirs)).max() <= 1e-6


def test_parallel_and_serial_give_the_same_bits(monkeypatch):
    """Prevents results that depend on the number of threads."""
    rng = np.random.default_rng(1)
    mdp = make("garnet", states=200, actions=2, branching=4, discount=0.9)
    for even in (True, False):
        target = Categorical(atoms_of(rng, 21, even))
        places, probs = laws_of(rng, 300, 30, 8.0)
        old, found = rng.dirichlet(np.ones(21), 200), []
        for threshold in (0, 10**12):
            monkeypatch.setattr(module, "_PARALLEL_ATOMS", threshold)
            new = np.empty_like(old)
            target.evaluation_sweep(mdp, uniform_policy(mdp), old, new)
            found.append((categorical_projection(places, probs, target.atoms), new))
        assert np.array_equal(found[0][0], found[1][0])
        assert np.array_equal(found[0][1], found[1][1])


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_a_sweep_is_the_projected_exact_backup(seed, even, discount):
    """Prevents expected rewards in place of those of transitions, endings that go on, and rewards mixed up."""
    rng = np.random.default_rng(seed)
    mdp = world(seed, discount=discount)
    target = Categorical(atoms_of(rng, int(rng.integers(2, 30)), even))
    old = rng.dirichlet(np.full(target.n_parameters, 0.5), mdp.n_states)
    weight = rng.random(mdp.n_pairs) * (rng.random(mdp.n_pairs) < 0.7) + 1e-3
    weight /= np.repeat(np.add.reduceat(weight, mdp.state_ptr[:-1]), np.diff(mdp.state_ptr))
    new = np.full_like(old, np.nan)
    target.evaluation_sweep(mdp, weight, old, new)
    assert np.allclose(new, target.project(return_law_backup(mdp, target.laws(old), weight)), atol=1e-12)
    assert np.abs(new.sum(axis=1) - 1).max() <= 1e-12
    policy = target.optimality_sweep(mdp, old, new)
    exact, same = greedy_return_law_backup(mdp, target.laws(old))
    assert np.array_equal(policy, same)
    assert np.allclose(new, target.project(exact), atol=1e-12)


def test_the_law_of_rewards_matters():
    """With expected rewards a coin that pays 0 or 1 would be a certain half."""
    coin = from_transitions([{0: [(0.5, 0, 0.0, True), (0.5, 0, 1.0, True)]}], 0.9)
    target = Categorical(np.array([0.0, 0.5, 1.0]))
    new = np.empty((1, 3))
    target.evaluation_sweep(coin, np.ones(1), target.initial(1), new)
    assert new.tolist() == [[0.5, 0.0, 0.5]]


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0.3, 0.9, 1.0]))
def test_sweeps_contract_in_cramer_distance(seed, even, discount):
    rng = np.random.default_rng(seed)
    mdp, target = world(seed, discount=discount), Categorical(atoms_of(rng, 15, even))
    pair = [rng.dirichlet(np.full(15, 0.3), mdp.n_states) for _ in range(2)]
    after = [np.empty_like(each) for each in pair]
    for old, new in zip(pair, after, strict=True):
        target.evaluation_sweep(mdp, uniform_policy(mdp), old, new)
    before = target.distance(*pair).max()
    assert target.distance(*after).max() <= target.modulus(discount) * before + 1e-12


def test_the_modulus_is_attained():
    """Prevents a factor below the truth: two point masses, one of them at 0, come closer by the discount."""
    loop = FiniteMDP.from_dense(np.ones((1, 1, 1)), [[0.0]], 0.5)
    target = Categorical.uniform(0.0, 1.0, 5)
    low, high, after = np.eye(5)[:1], np.eye(5)[4:], [np.empty((1, 5)) for _ in range(2)]
    target.evaluation_sweep(loop, np.ones(1), low, after[0])
    target.evaluation_sweep(loop, np.ones(1), high, after[1])
    assert target.distance(*after)[0] == pytest.approx(np.sqrt(0.5) * target.distance(low, high)[0], rel=1e-12)


@pytest.mark.parametrize("k", [5, 12, 40])
def test_the_fixed_point_lies_within_the_proven_error(k):
    """Bits of 0 or 1, discounted by a half, add up to a return that is uniform on [0, 2]."""
    bits = from_transitions([{0: [(0.5, 0, 0.0, False), (0.5, 0, 1.0, False)]}], 0.5)
    target = Categorical.covering(bits, k)
    assert (target.atoms[0], target.atoms[-1]) == (0.0, pytest.approx(2.0, abs=1e-9))
    old, new = target.initial(1), np.empty((1, k))
    for _ in range(120):
        target.evaluation_sweep(bits, np.ones(1), old, new)
        old, new = new, old
    level = np.cumsum(old[0])[:-1]
    left, right = target.atoms[:-1] / 2, target.atoms[1:] / 2
    squared = np.sum(2 * ((right - level) ** 3 - (left - level) ** 3) / 3)
    bound = target.error_bound(bits)
    assert bound == pytest.approx(np.sqrt(2 / (k - 1) / 2))
    assert 0 < np.sqrt(squared) <= bound
    assert Categorical.uniform(0.1, 2.0, k).error_bound(bits) == np.inf


@pytest.mark.parametrize("seed", range(3))
def test_means_are_those_of_the_scalar_solver(seed):
    """The projection keeps means where no target lies outside the atoms, as here, where returns reach far."""
    mdp = world(seed)
    target = Categorical.covering(mdp, 21)
    old = target.initial(mdp.n_states)
    for _ in range(400):
        new = np.empty_like(old)
        target.evaluation_sweep(mdp, uniform_policy(mdp), old, new)
        old = new
    assert np.allclose(target.means(old), evaluate_policy(mdp, uniform_policy(mdp)).values, atol=1e-9)


def test_dynamic_programming_knows_the_metric_and_the_bounds():
    """Prevents a representation that is taken for one without a metric because a name differs."""
    mdp = world(5)
    target = Categorical.covering(mdp, 31)
    for policy in (uniform_policy(mdp), None):
        found = return_laws(mdp, target, policy, tolerance=1e-7)
        assert (found.metric, found.converged) == ("Cramer distance", True)
        assert found.error_bound == pytest.approx(target.error_bound(mdp), abs=1e-6)
        assert np.isfinite(found.error_bound)
        ratios = found.changes[1:] / found.changes[:-1]
        assert policy is None or ratios.max() <= target.modulus(0.9) + 1e-9


def test_every_kernel_has_the_one_version_that_it_declares():
    """Prevents a second compilation, with its pause, for arrays that come writable or frozen."""
    mdp, target = world(1), Categorical.uniform(-5.0, 5.0, 7)
    old = target.initial(mdp.n_states)
    new, frozen = np.empty_like(old), old.copy()
    frozen.setflags(write=False)
    for parameters in (old, frozen):
        target.evaluation_sweep(mdp, uniform_policy(mdp), parameters, new)
        categorical_projection(target.atoms, parameters, [0.0, 1.0, 3.0])
    for kernel in (categorical_kernels.project_serial, categorical_kernels.evaluation_sweep_serial):
        assert kernel.dispatcher.signatures == [kernel.signature]


def test_laws_and_masses_go_back_and_forth():
    target = Categorical.uniform(-1.0, 1.0, 5)
    masses = np.array([[0.0, 0.25, 0.75, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    laws = target.laws(masses)
    assert laws.sizes.tolist() == [2, 1]
    assert np.array_equal(target.project(laws), masses)
    assert np.array_equal(target.initial(2), [[0, 0, 1, 0, 0]] * 2)
    assert target == Categorical.uniform(-1.0, 1.0, 5) != Categorical.uniform(-1.0, 1.0, 4)
    copy = pickle.loads(pickle.dumps(target))
    assert (copy, hash(copy)) == (target, hash(target))
    assert not copy.atoms.flags.writeable
    moved = laws.shifted(5.0)
    assert np.array_equal(target.project(moved), [[0, 0, 0, 0, 1]] * 2)
    assert isinstance(moved, DiscreteLaws)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_no_return_leaves_its_range(seed):
    """Prevents bounds that hold for one policy only: the best and worst paths are found by many backups."""
    mdp = world(seed)
    low, high = return_range(mdp)
    goes_on = np.where(mdp.terminated, 0.0, mdp.discount)
    edges = mdp.row_ptr[mdp.state_ptr[:-1]]
    paid = mdp.reward if mdp.reward is not None else np.repeat(mdp.expected_reward, np.diff(mdp.row_ptr))
    worst = best = np.zeros(mdp.n_states)
    for _ in range(500):
        worst = np.minimum.reduceat(paid + goes_on * worst[mdp.next_state], edges)
        best = np.maximum.reduceat(paid + goes_on * best[mdp.next_state], edges)
    assert low - 1e-12 <= worst.min() <= low + 1e-6
    assert high - 1e-6 <= best.max() <= high + 1e-12


def test_ranges_of_known_worlds():
    assert return_range(make("frozenlake-4x4")) == (0.0, 1.0)
    assert return_range(make("frozenlake-4x4").replace(discount=1.0)) == (0.0, 1.0)
    assert return_range(make("cliff").replace(discount=1.0)) == (-np.inf, 0.0)
    with pytest.raises(ParameterError, match="no known bounds at discount 1; name them yourself"):
        Categorical.covering(make("cliff").replace(discount=1.0), 11)


@pytest.mark.parametrize(
    ("support", "probs", "atoms", "words"),
    [
        ([0.0], [1.0], [0.0], "at least 2 atoms"),
        ([0.0], [1.0], [0.0, 0.0], r"atoms\[1\] is 0, not above atoms\[0\], 0"),
        ([0.0], [1.0], [0.0, np.inf], r"atoms\[1\] is not finite"),
        ([0.0, 1.0], [1.0], [0.0, 1.0], "support has shape"),
        ([0.0, 1.0], [[1.0, 0.0], [1.5, -0.5]], [0.0, 1.0], "law 1 has a place .* weights 0 or more"),
        ([0.0, np.nan], [1.0, 0.0], [0.0, 1.0], "law 0 has a place that is not finite"),
        ([0.0, -np.inf], [1.0, 0.0], [0.0, 0.1, 1.0], "law 0 has a place that is not finite"),
        ([0.0, 1.0], [1.0, np.nan], [0.0, 0.1, 1.0], "law 0 .* weight that is negative or not finite"),
    ],
)
def test_what_is_no_law_is_refused(support, probs, atoms, words):
    with pytest.raises(ParameterError, match=words):
        categorical_projection(support, probs, atoms)


def test_sweeps_refuse_other_shapes():
    """Prevents a kernel that reads beside its arrays."""
    mdp, target = make("gridworld"), Categorical.uniform(-1, 1, 3)
    good = target.initial(mdp.n_states)
    for weights, old, new in (
        (uniform_policy(mdp)[:-1], good, good.copy()),
        (uniform_policy(mdp), good[:-1], good.copy()),
        (uniform_policy(mdp), good, good[:-1].copy()),
    ):
        with pytest.raises(ParameterError, match="parameters has shape"):
            target.evaluation_sweep(mdp, weights, old, new)
    for out in (good, good.astype(np.float32), np.asfortranarray(good)):
        with pytest.raises(ParameterError, match="out is not a float64 array of its own"):
            target.evaluation_sweep(mdp, uniform_policy(mdp), good, out)
    with pytest.raises(ParameterError, match="low is 1 and high 1"):
        Categorical.uniform(1, 1, 3)
