"""Q-learning with experience replay, against a plain reference, closed forms and the empirical MDP."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import Cancelled, ParameterError
from rlbook.keyed_random import integer_below, keyed_bits
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import action_values, solve, uniform_policy
from rlbook.tabular.learning import QLearning, draw_trajectory, polynomial, replicate
from rlbook.tabular.learning.prioritised_replay import PrioritisedReplay, PrioritySettings
from rlbook.tabular.learning.replay import ReplayQLearning
from rlbook.tabular.learning.replay_kernels import replay_q_learning
from rlbook.tabular.learning.replay_memory import ReplaySettings
from rlbook.tabular.learning.replay_rules import REPLAY, RESERVOIR

SMALL = make("garnet", states=4, actions=2, branching=2, seed=1, discount=0.8)
ENDING = make("gridworld")


def below(word, n):
    return int(word) * n >> 64  # what integer_below computes, in whole numbers without end


class Memory:
    """A list of transitions with evictions, written for legibility alone."""

    def __init__(self, learner, seed):
        self.learner, self.seed, self.items, self.stored = learner, seed, [], 0
        self.newest_first = []

    def store(self, item):
        slot = self.stored
        if self.learner.eviction == "reservoir":
            if slot >= self.learner.capacity:
                slot = below(keyed_bits(self.seed, 1, purpose=RESERVOIR, step=self.stored)[0], self.stored + 1)
        else:
            slot %= self.learner.capacity
        self.stored += 1
        if slot < self.learner.capacity:
            self.items[slot : slot + 1] = [item]
        self.newest_first = [item, *self.newest_first][: self.learner.capacity]


def reference(mdp, learner, seed, steps):
    """Action values after the walk that `draw_trajectory` gives, with replay from lists."""
    walk = draw_trajectory(mdp, learner.behaviour, steps, seed)
    q = np.zeros(mdp.n_pairs)
    visits = np.zeros(mdp.n_pairs, int)
    memory, number = Memory(learner, seed), 0
    priorities = PrioritisedReplay(ReplaySettings(learner.capacity, seed=seed), {"t": "i8"}, learner.priorities)

    def target(t):
        following = walk.next_state[t]
        if following < 0:
            return walk.reward[t]
        return walk.reward[t] + mdp.discount * q[mdp.state_ptr[following] : mdp.state_ptr[following + 1]].max()

    def move(t, towards, weight=1.0):
        pair = walk.pair[t]
        visits[pair] += 1
        error = towards - q[pair]
        n = clocks.get(learner.step_size.clock, visits[pair])
        q[pair] += min(1.0, learner.step_size(n) * weight) * error
        return error

    for t in range(steps):
        clocks = {"steps": t + 1, "episodes": 1 + int(np.sum(walk.next_state[:t] < 0))}  # they stand still in a replay
        if learner.online:
            move(t, target(t))
        memory.store(t)
        priorities.add({"t": [t]})
        if (t + 1) % learner.every:
            continue
        for start in range(0, learner.updates, learner.batch):
            count = min(learner.batch, learner.updates - start)
            weights = np.ones(count)
            if learner.order == "uniform":
                words = keyed_bits(seed, count, purpose=REPLAY, step=number)
                drawn = [memory.items[below(word, len(memory.items))] for word in words]
            elif learner.order == "reverse":
                drawn = [memory.newest_first[(start + j) % len(memory.newest_first)] for j in range(count)]
            else:
                slots, weights = priorities.sample(count, number)
                drawn = [int(each) for each in priorities.take(slots)["t"]]
            targets = [target(each) for each in drawn]
            errors = [move(*each) for each in zip(drawn, targets, weights, strict=True)]
            if learner.order == "prioritised":
                priorities.update_priorities(slots, errors)
            number += 1
    return q


def learnt(mdp, learner, seeds, steps, **options):
    return replicate(mdp, learner, seeds, steps=steps, checkpoints=1, keep="estimates", **options)["estimates"].values[
        :, 0
    ]


VARIANTS = {
    "uniform": {},
    "rare": {"every": 7, "updates": 3},
    "small memory": {"capacity": 5, "updates": 2},
    "reservoir": {"capacity": 9, "eviction": "reservoir", "updates": 2},
    "reverse": {"order": "reverse", "every": 3, "updates": 5},
    "reverse beyond the oldest": {"order": "reverse", "capacity": 4, "updates": 6, "batch": 4},
    "batches": {"updates": 7, "batch": 3},
    "replay alone": {"online": False, "updates": 2},
    "visits": {"step_size": polynomial(1.0, 1.0), "updates": 2},
    "steps": {"step_size": polynomial(1.0, 0.5, clock="steps"), "every": 3, "updates": 4},
    "episodes": {"step_size": polynomial(1.0, 1.0, clock="episodes"), "updates": 2},
    "prioritised": {"order": "prioritised", "capacity": 30, "updates": 2},
    "prioritised batches": {"order": "prioritised", "capacity": 50, "updates": 8, "batch": 4},
    "weights of the memory": {
        "order": "prioritised",
        "updates": 3,
        "capacity": 40,
        "priorities": PrioritySettings(beta=1.0, weights_relative_to="memory"),
    },
    "weights above 1": {
        "order": "prioritised",
        "updates": 4,
        "batch": 2,
        "capacity": 64,
        "step_size": 0.9,
        "priorities": PrioritySettings(alpha=1.0, beta=1.0, weights_relative_to="mean", stratified=False),
    },
}


@pytest.mark.parametrize("world", [SMALL, ENDING], ids=["garnet", "gridworld"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_kernel_does_what_the_text_says(variant, world):
    """Prevents K and M swapped, a wrong slot, a stale target, replays not counted as visits, priorities mixed up."""
    policy = uniform_policy(world)
    learner = ReplayQLearning(**{"step_size": 0.3, "exploration": 1.0, "behaviour": policy, **VARIANTS[variant]})
    for seed in (0, 5):
        found = learnt(world, learner, [seed], 120)[0]
        np.testing.assert_allclose(found, reference(world, learner, seed, 120), rtol=1e-12, atol=1e-14)
    assert replay_q_learning.dispatcher.signatures == [replay_q_learning.signature]


def test_integer_below_is_the_multiplication_of_the_reference():
    word = keyed_bits(3, 1)[0]
    assert integer_below(word, 1000) == below(word, 1000)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("order", ["uniform", "reverse", "prioritised"])
def test_without_updates_it_is_q_learning_to_the_bit(every, order):
    """Prevents a learner that differs from Q-learning in more than its replay."""
    for step_size, exploration in ((0.3, 0.1), (polynomial(1.0, 0.8), polynomial(1.0, 0.5, clock="episodes"))):
        plain = replicate(ENDING, QLearning(step_size, exploration), range(3), episodes=20, keep="steps")
        replay = replicate(
            ENDING,
            ReplayQLearning(step_size, exploration, updates=0, every=every, order=order),
            range(3),
            episodes=20,
            keep="steps",
        )
        for name, variable in plain.items():
            assert np.array_equal(variable.values, replay[name].values, equal_nan=True), name


def test_the_walk_is_that_of_q_learning_while_both_act_alike():
    """Prevents replay that draws from the environment's luck."""
    runs = [
        replicate(ENDING, learner, [2], steps=200, checkpoints=200, keep="steps")
        for learner in (QLearning(0.1, 1.0), ReplayQLearning(0.1, 1.0, updates=3))
    ]
    assert np.array_equal(runs[0]["actor"], runs[1]["actor"])
    assert np.array_equal(runs[0]["reward"], runs[1]["reward"])


@pytest.mark.parametrize("order", ["uniform", "prioritised"])
def test_the_same_bits_for_any_number_of_workers(order):
    learner = ReplayQLearning(0.2, 0.3, updates=2, order=order, capacity=100)
    first = learnt(SMALL, learner, range(7), 400, workers=1)
    for workers in (2, 5):
        assert np.array_equal(first, learnt(SMALL, learner, range(7), 400, workers=workers))


def test_updates_are_counted():
    run = replicate(SMALL, ReplayQLearning(every=5, updates=3), [0], steps=100, checkpoints=[4, 5, 100])
    assert run["updates"].values.tolist() == [[4, 8, 160]]


def test_expected_replayed_update_equals_the_bellman_operator():
    """Prevents a biased draw from the memory: in one state, what is stored is independent and has the law of steps."""
    rewards = ((0.0, 1.0), (2.0, -1.0), (0.5, 3.0))
    loops = {a: [(0.25, 0, low, False), (0.75, 0, high, False)] for a, (low, high) in enumerate(rewards)}
    mdp = from_transitions([loops], 0.5)
    q0, law, seeds = np.array([1.0, -2.0, 0.5]), np.array([0.2, 0.3, 0.5]), 4000
    learner = ReplayQLearning(1.0, 1.0, q0, every=20, updates=1, online=False, behaviour=law)
    change = learnt(mdp, learner, range(seeds), 20) - q0
    targets = np.array([[r + 0.5 * q0.max() for r in both] for both in rewards])
    mean = targets @ [0.25, 0.75]
    second = (targets - q0[:, None]) ** 2 @ [0.25, 0.75]
    error = np.sqrt((law * second - (law * (mean - q0)) ** 2) / seeds)
    assert np.all(np.abs(change.mean(axis=0) - law * (mean - q0)) < 4.5 * error)


def test_replay_converges_to_the_optimum_of_what_was_seen():
    """The floor that no M removes: many replays of few steps learn the empirical MDP, not the true one."""
    steps, seeds = 80, range(20)
    learner = ReplayQLearning(
        polynomial(1.0, 0.75), 1.0, every=steps, updates=1_000_000, online=False, behaviour=uniform_policy(SMALL)
    )
    truth = action_values(SMALL, solve(SMALL, 1e-9).values)
    found = learnt(SMALL, learner, seeds, steps)
    to_empirical, to_truth = [], []
    for seed, q in zip(seeds, found, strict=True):
        walk = draw_trajectory(SMALL, uniform_policy(SMALL), steps, seed)
        outcomes = [{} for _ in range(SMALL.n_states)]
        for pair in range(SMALL.n_pairs):
            met = np.flatnonzero(walk.pair == pair)
            assert len(met), "a pair was never met; take more steps"
            outcomes[SMALL.pair_state[pair]][int(SMALL.action[pair])] = [
                (1 / len(met), int(walk.next_state[t]), float(walk.reward[t]), False) for t in met
            ]
        empirical = from_transitions(outcomes, SMALL.discount)
        to_empirical.append(np.abs(q - action_values(empirical, solve(empirical, 1e-9).values)).max())
        to_truth.append(np.abs(q - truth).max())
    assert max(to_empirical) < 0.05
    assert np.mean(to_truth) > 5 * np.mean(to_empirical)


def test_it_converges_to_the_exact_values():
    run = replicate(
        SMALL, ReplayQLearning(polynomial(1.0, 0.7), 1.0, updates=2), range(20), steps=60_000, checkpoints=2
    )
    assert np.all(run["error"].values[:, -1] < 0.15)
    assert run["error"].values[:, -1].mean() < run["error"].values[:, 0].mean()


def test_errors_beyond_all_priorities_are_drawn_still():
    """Prevents a tree that sums to infinity, and a division by zero inside the kernel."""
    mdp = from_transitions([{0: [(1.0, 0, 1e200, False)], 1: [(1.0, 0, -1e200, False)]}], 0.5)
    learner = ReplayQLearning(1.0, 1.0, order="prioritised", priorities=PrioritySettings(alpha=2.0))
    estimates = replicate(mdp, learner, [0], steps=200, checkpoints=1, truth=None, keep="estimates").estimates.values
    assert estimates[0, 0] == pytest.approx([2e200, 0.0], abs=1e190)


def test_cancel_ends_a_long_run():
    flag = np.zeros(1, np.uint8)
    threading.Timer(0.1, lambda: flag.__setitem__(0, 1)).start()
    with pytest.raises(Cancelled):
        replicate(SMALL, ReplayQLearning(updates=4), range(4), steps=20_000_000, checkpoints=1, cancel=flag)


@pytest.mark.serial
def test_cancel_is_heard_between_long_replays():
    """Prevents a flag that is looked at every few thousand steps, when each of them replays for a millisecond."""
    learner, flag = ReplayQLearning(updates=200_000), np.zeros(1, np.uint8)
    replicate(SMALL, learner, [0], steps=1)
    threading.Timer(0.1, lambda: flag.__setitem__(0, 1)).start()
    started = time.perf_counter()
    with pytest.raises(Cancelled):
        replicate(SMALL, learner, [0], steps=20_000, checkpoints=1, cancel=flag)
    assert time.perf_counter() - started < 1.0  # 4096 steps take several seconds


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"every": 0}, "every is 0"),
        ({"updates": -1}, "updates is -1"),
        ({"updates": 1.5}, "updates is 1.5"),
        ({"capacity": 0}, "capacity is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"eviction": "oldest"}, "eviction 'oldest' is unknown"),
        ({"order": "random"}, "order 'random' is unknown"),
        ({"order": "reverse", "eviction": "reservoir"}, "reservoir forgets in which order"),
        ({"priorities": 0.6}, "priorities is 0.6"),
        ({"step_size": 2.0}, "step_size is 2.0"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(given, words):
    with pytest.raises(ParameterError, match=words):
        ReplayQLearning(**given)
