"""Dyna-Q and prioritised sweeping against Q-learning, plain references, and what Sutton & Barto report of mazes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import Cancelled, ParameterError
from rlbook.intervals import student_interval
from rlbook.mdp import FiniteMDP
from rlbook.tabular import action_values, solve, uniform_policy
from rlbook.tabular.learning import (
    DynaQ,
    PrioritisedSweeping,
    QLearning,
    WatkinsQLambda,
    optimal_truth,
    polynomial,
    replicate,
)
from rlbook.tabular.learning.dyna import dyna_q
from rlbook.tabular.learning.prioritised_planning import prioritised_planning
from rlbook.tabular.learning.q_lambda import watkins_q_lambda

from .plain_learners import dyna_q as plain_dyna_q
from .plain_learners import prioritised as plain_prioritised

WORLDS = ["dyna-maze", "frozenlake-4x4", "cliff", "garnet"]


@pytest.mark.parametrize("world", WORLDS)
def test_without_planning_dyna_is_q_learning_bit_for_bit(world):
    """Prevents draws, ties or updates that differ from those of Q-learning where nothing is planned."""
    mdp = make(world)
    fields = {"step_size": polynomial(1.0, 0.7), "exploration": polynomial(1.0, 0.5, least=0.05)}
    learners = {"q": QLearning(**fields), "dyna": DynaQ(planning_steps=0, **fields)}
    result = replicate(mdp, learners, range(5), steps=3000, keep="steps", truth=None)
    for name in ("estimates", "step", "episode", "reward", "actor", "td_error"):
        assert np.array_equal(result[name].sel(learner="q"), result[name].sel(learner="dyna")), name
    assert np.array_equal(result["updates"].sel(learner="dyna"), result["step"].sel(learner="dyna"))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("planning", [1, 4])
@pytest.mark.parametrize("epsilon", [0.1, 0.7])
@pytest.mark.parametrize("alpha", [0.5, polynomial(1.0, 1.0)], ids=str)
def test_dyna_is_the_textbook_with_a_dictionary(world, planning, epsilon, alpha):
    """Prevents a model that forgets, invents, or weighs states, actions or outcomes wrongly."""
    mdp = make(world)
    for seed in range(3):
        values = plain_dyna_q(mdp, seed, 300, alpha, epsilon, planning)
        result = replicate(
            mdp, DynaQ(alpha, epsilon, planning_steps=planning), [seed], steps=300, checkpoints=1, keep="estimates"
        )
        assert np.array_equal(result["estimates"][0, 0], values)
        assert result["updates"].item() == 300 * (planning + 1)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("planning", [1, 4])
@pytest.mark.parametrize("alpha", [0.5, 1.0, polynomial(1.0, 1.0)], ids=str)
def test_prioritised_sweeping_is_the_textbook_with_a_dictionary(world, planning, alpha):
    """Prevents a queue out of order, predecessors that are missed, and updates that are not counted."""
    mdp = make(world)
    for seed in range(3):
        values, updates = plain_prioritised(mdp, seed, 300, alpha, 0.3, planning, 1e-3)
        learner = PrioritisedSweeping(alpha, 0.3, planning_steps=planning, threshold=1e-3)
        result = replicate(mdp, learner, [seed], steps=300, checkpoints=1, keep="estimates")
        assert np.array_equal(result["estimates"][0, 0], values)
        assert result["updates"].item() == updates


def test_prioritised_sweeping_solves_a_deterministic_world_exactly():
    """Full backups with no threshold: once everything has been seen, the values are the exact optimum."""
    mdp = make("dyna-maze", discount=0.9)
    learner = PrioritisedSweeping(1.0, 1.0, planning_steps=50, threshold=0.0)
    result = replicate(mdp, learner, range(3), steps=40_000, checkpoints=1)
    assert float(result["error"].max()) < 1e-12


@pytest.mark.parametrize(
    "learner",
    [
        DynaQ(polynomial(1.0, 0.8), 0.3, planning_steps=5),
        PrioritisedSweeping(1.0, 0.3, planning_steps=5, threshold=1e-6),
    ],
    ids=lambda learner: learner.name,
)
def test_planning_learns_the_exact_optimum_of_a_world_of_chance(learner):
    """Prevents a model of last outcomes only, which has another optimum: over 24 seeds the error falls to 5%."""
    mdp = make("garnet", states=8, actions=3, seed=1, discount=0.8)
    result = replicate(mdp, learner, range(24), steps=20_000, checkpoints=[500, 20_000])
    errors = result["error"].values / float(np.abs(optimal_truth(mdp)).max())
    _, (_, high) = student_interval(errors[:, -1])
    assert high < 0.05
    _, (_, high) = student_interval(errors[:, -1] / errors[:, 0])
    assert high < 0.5, "the error no longer falls"


def epsilon_optimal_steps(mdp: FiniteMDP, epsilon: float) -> float:
    """Expected steps of an episode under the epsilon-greedy version of an optimal policy, exactly."""
    counted = mdp.replace(discount=1.0)
    best = np.zeros(mdp.n_pairs)
    values = action_values(mdp, solve(mdp, 1e-12).values)
    for s in range(mdp.n_states):
        pairs = slice(mdp.state_ptr[s], mdp.state_ptr[s + 1])
        best[mdp.state_ptr[s] + int(np.argmax(values[pairs]))] = 1.0
    return expected_steps(counted, (1 - epsilon) * best + epsilon * uniform_policy(mdp))


def expected_steps(mdp: FiniteMDP, policy: np.ndarray) -> float:
    """Expected steps of an episode under a policy, (pairs,): the values of 1 per step without a discount."""
    import scipy.sparse
    import scipy.sparse.linalg

    mix = scipy.sparse.csr_array((policy, np.arange(mdp.n_pairs), mdp.state_ptr), shape=(mdp.n_states, mdp.n_pairs))
    chain = mix @ scipy.sparse.csr_array(mdp.continuing_matrix())
    system = scipy.sparse.csc_array(scipy.sparse.eye_array(mdp.n_states) - chain)
    return float(mdp.start @ scipy.sparse.linalg.spsolve(system, np.ones(mdp.n_states)))


@pytest.fixture(scope="module")
def figure_8_2():
    """Steps of episodes 1 to 50 for n = 0, 5, 50 over 60 seeds, (n, seeds, episodes), with the book's settings."""
    result = replicate(
        make("dyna-maze"),
        DynaQ(0.1, 0.1),
        range(60),
        episodes=50,
        checkpoints=50,
        grid={"planning_steps": [0, 5, 50]},
        truth=None,
    )
    return np.diff(result["step"].values, axis=-1, prepend=0)


def test_the_first_episode_is_the_same_walk_for_all_and_as_long_as_a_random_walk(figure_8_2):
    """The book says the same for all n. Exactly: nothing is known, so that ties are everywhere and the walk is uniform.

    The book's "about 1700 steps" do not come out: with ties broken by chance the exact mean is about half of that.
    """
    mdp = make("dyna-maze")
    assert np.array_equal(figure_8_2[0, :, 0], figure_8_2[1, :, 0])
    assert np.array_equal(figure_8_2[0, :, 0], figure_8_2[2, :, 0])
    exact = expected_steps(mdp, uniform_policy(mdp))
    _, (low, high) = student_interval(figure_8_2[0, :, 0].astype(float))
    assert low < exact < high
    assert 800 < exact < 900


# Written down before any curve was seen. "Epsilon-optimal" is the exact length of episodes under the epsilon-greedy
# version of a shortest path, with room for what is not quite learned: the book reports that n = 0 took about 25
# episodes, n = 5 about five, n = 50 only three.
@pytest.mark.parametrize(
    ("n", "episodes", "least", "most"),
    [
        (50, slice(3, 8), 0.9, 1.5),
        (5, slice(5, 10), 0.9, 1.5),
        (0, slice(5, 10), 3.0, 1e9),
        (0, slice(25, 35), 0.9, 2.0),
    ],
)
def test_the_curves_of_figure_8_2(figure_8_2, n, episodes, least, most):
    """Prevents planning that does not spread what is known. Sutton & Barto (2018), figure 8.2."""
    steps = figure_8_2[[0, 5, 50].index(n)][:, episodes].mean(axis=1)
    unit = epsilon_optimal_steps(make("dyna-maze"), 0.1)
    assert 14 < unit < 20
    _, (low, high) = student_interval(steps / unit)
    assert least < low
    assert high < most


def updates_until_good(mdp: FiniteMDP, learner, seeds, steps: int, every: int) -> np.ndarray:
    """Updates when the greedy path from the start is first at most 1.2 times a shortest one, (seeds,)."""
    result = replicate(mdp, learner, seeds, steps=steps, checkpoints=steps // every, keep="estimates", truth=None)
    values = result["estimates"].values.reshape(len(seeds), -1, mdp.n_states, 4)
    choice = mdp.state_ptr[:-1] + values.argmax(axis=-1)
    following = np.where(mdp.terminated, -1, mdp.next_state)[mdp.row_ptr[:-1]]
    value = float(mdp.start @ solve(mdp, 1e-12).values)
    shortest = 1 + np.log(value) / np.log(mdp.discount)
    state = np.full(choice.shape[:2], int(np.argmax(mdp.start)))
    for _ in range(int(1.2 * shortest + 1e-6)):
        there = following[np.take_along_axis(choice, np.maximum(state, 0)[..., None], axis=-1)[..., 0]]
        state = np.where(state < 0, -1, there)
    arrived = state < 0
    assert arrived.any(axis=1).all(), "some seed never found a good path"
    return result["updates"].values[np.arange(len(seeds)), arrived.argmax(axis=1)]


# The book: "dramatically ... in maze tasks, often by a factor of 5 to 10" (section 8.4), at a step size that it does
# not give. Both learners take the same random walk, so that they know the same at each step and only planning differs.
# What was written down first was a factor of 3 (5 at resolution 3) at step size 0.5, each learner on its own walk. At
# resolution 1 that holds; at 3 it does not, which is kept below: a pair leaves the queue at each update, so that half
# an update leaves half of the work to later visits. With full backups, as in Moore & Atkeson, the factor is larger.
@pytest.mark.parametrize(
    ("step_size", "resolution", "least", "most"),
    [(1.0, 1, 5.0, 1e9), (1.0, 2, 5.0, 1e9), (1.0, 3, 5.0, 1e9), (0.5, 1, 3.0, 1e9), (0.5, 3, 1.0, 5.0)],
)
def test_prioritised_sweeping_needs_far_fewer_updates_than_dyna(step_size, resolution, least, most):
    """Prevents a queue that is no better than chance. Sutton & Barto (2018), Example 8.4, with n = 5."""
    mdp = make("dyna-maze", resolution=resolution)
    seeds, steps = range(24), 8000 * resolution**3
    needed = [
        updates_until_good(mdp, kind(step_size, 1.0, planning_steps=5), seeds, steps, 20 * resolution**2)
        for kind in (DynaQ, PrioritisedSweeping)
    ]
    _, (low, high) = student_interval(np.log(needed[0] / needed[1]))
    assert least < np.exp(low)
    assert np.exp(high) < most


@pytest.mark.parametrize("learner", [DynaQ(), PrioritisedSweeping()], ids=lambda learner: learner.name)
def test_the_number_of_workers_changes_no_bit(learner):
    mdp = make("frozenlake-4x4")
    first, *others = (
        replicate(mdp, learner, range(7), episodes=10, keep="steps", workers=workers) for workers in (1, 2, 5)
    )
    assert all(first.identical(other) for other in others)
    alone = replicate(mdp, learner, [3], episodes=10, keep="steps")
    assert alone.identical(first.sel(seed=[3]))


@pytest.mark.serial
@pytest.mark.parametrize("learner", [DynaQ(planning_steps=2000), PrioritisedSweeping(planning_steps=2000)])
def test_planning_stops_soon_after_it_is_cancelled(learner):
    """Prevents a poll every so many steps, each of which may plan for long."""
    mdp, cancel = make("dyna-maze"), np.zeros(1, dtype=np.uint8)
    replicate(mdp, learner, [0], steps=10)
    stop = threading.Timer(0.2, lambda: cancel.fill(1))
    stop.start()
    started = time.perf_counter()
    with pytest.raises(Cancelled):
        replicate(mdp, learner, range(2), steps=10**9, checkpoints=1, cancel=cancel)
    stop.join()
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize(
    ("make_learner", "words"),
    [
        (lambda: DynaQ(planning_steps=-1), "planning_steps is -1, .* from 0 to 1000000"),
        (lambda: DynaQ(planning_steps=1.5), r"planning_steps is 1\.5"),
        (lambda: DynaQ(planning_steps=True), "planning_steps is True"),
        (lambda: PrioritisedSweeping(planning_steps=0), "planning_steps is 0, .* from 1"),
        (lambda: PrioritisedSweeping(threshold=-1e-3), "threshold is -0.001, .* at least 0"),
        (lambda: PrioritisedSweeping(threshold=float("inf")), "threshold is inf"),
        (lambda: PrioritisedSweeping(threshold="small"), "threshold is 'small', but it must be a number"),
    ],
)
def test_bad_parameters_are_named(make_learner, words):
    with pytest.raises(ParameterError, match=words):
        make_learner()


def test_kernels_have_the_one_version_that_they_declare():
    """Prevents a second compilation, with its pause, when a field arrives as another type."""
    mdp = make("cliff")
    for learner in (
        DynaQ(planning_steps=np.int32(2)),
        PrioritisedSweeping(planning_steps=np.int64(2), threshold=0),
        WatkinsQLambda(trace_decay=1),
    ):
        replicate(mdp, learner, [0], steps=10)
    for kernel in (dyna_q, prioritised_planning, watkins_q_lambda):
        assert kernel.dispatcher.signatures == [kernel.signature], kernel.name
