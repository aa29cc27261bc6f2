"""The classic control tasks are Gymnasium's: same steps, same ends, same starts, within float32."""

from __future__ import annotations

import itertools
from functools import cache

import gymnasium
import numpy as np
import pytest
from scipy.stats import ks_2samp

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp

from rlbook.deep.environments import Discrete, make

# For each task: corners of the states that are tried, and what float32 may cost in one step, where rounding is 6e-8 of
# a number. Acrobot's speeds reach 28 rad/s, so its accelerations reach 1,000 rad/s^2 and are integrated over 0.2 s:
# 3e-4 was written down for it first, and 3.6e-4 found in a corner. That this is rounding shows in double precision.
TASKS = {
    "CartPole-v1": ([2.4, 3.0, 0.25, 3.5], 3e-6),
    "MountainCar-v0": ([1.2, 0.07], 1e-6),
    "Acrobot-v1": ([np.pi, np.pi, 4 * np.pi, 9 * np.pi], 1e-3),
    "Pendulum-v1": ([3 * np.pi, 8.0], 1e-5),
}
STATES = 1_500


def states_of(name):
    """Random states, and all corners, edges and the centre, float32 (n, d)."""
    reach, _ = TASKS[name]
    drawn = np.random.default_rng(0).uniform(-1, 1, (STATES, len(reach)))
    corners = np.array(list(itertools.product((-1, 0, 1), repeat=len(reach))))
    states = np.concatenate([drawn, corners]) * reach
    if name == "MountainCar-v0":
        states[:, 0] = np.clip(states[:, 0], -1.2, 0.6)
    return states.astype(np.float32)


def actions_of(space, n):
    rng = np.random.default_rng(1)
    if isinstance(space, Discrete):
        return rng.integers(space.n, size=n).astype(np.int32)
    return (1.5 * rng.uniform(space.low, space.high, size=(n, len(space.low)))).astype(np.float32)


@cache
def plain(name):
    return gymnasium.make(name).unwrapped


def theirs(name, state, actions):
    """Gymnasium's steps from a state: observations, rewards, ends and the states it goes through."""
    env = plain(name)
    env.reset(seed=0)
    env.state = state.astype(np.float64)
    rows = []
    for action in actions:
        observation, reward, terminated, _, _ = env.step(int(action) if np.ndim(action) == 0 else action)
        rows.append((observation, float(reward), terminated, np.array(env.state)))
    return [np.array(column) for column in zip(*rows, strict=True)]


def stepping(environment, state, action):
    given = type(environment.reset(jax.random.key(0))[0])(*state)
    return environment.step(given, action, jax.random.key(0))


@pytest.fixture(scope="module", params=TASKS)
def stepped(request):
    """One step of ours and of theirs from many states."""
    name = request.param
    environment, states = make(name), states_of(name)
    actions = actions_of(environment.action_space, len(states))
    ours = jax.jit(jax.vmap(lambda s, a: stepping(environment, s, a)))(jnp.asarray(states), jnp.asarray(actions))
    rows = [theirs(name, state, [action]) for state, action in zip(states, actions, strict=True)]
    return name, ours, [np.concatenate(column) for column in zip(*rows, strict=True)]


def test_observations_are_gymnasiums(stepped):
    """Prevents a wrong constant, sign or order of updates, which short averages of returns would never show."""
    name, ours, (observation, _, _, _) = stepped
    error = np.abs(np.asarray(ours.observation) - observation) / (1 + np.abs(observation))
    assert error.max() < TASKS[name][1]


@pytest.mark.parametrize("name", TASKS)
def test_equations_are_gymnasiums_in_double_precision(name):
    """Prevents an error as small as float32's own: Gymnasium computes in doubles, and so can ours."""
    environment, states = make(name), states_of(name)[-300:].astype(np.float64)
    actions = actions_of(environment.action_space, len(states))
    actions = actions if actions.ndim == 1 else actions.astype(np.float64)
    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(lambda s, a: stepping(environment, s, a)))
        ours = many(jnp.asarray(states), jnp.asarray(actions))
        state = np.stack([np.asarray(part) for part in ours.state], axis=1)
        reward = np.asarray(ours.reward)
    assert state.dtype == np.float64
    rows = [theirs(name, state, [action]) for state, action in zip(states, actions, strict=True)]
    _, paid, _, expected = (np.concatenate(column) for column in zip(*rows, strict=True))
    turned = np.abs(state - expected)
    if name == "Acrobot-v1":  # -pi and pi are the same angle
        turned[:, :2] = np.minimum(turned[:, :2], np.abs(turned[:, :2] - 2 * np.pi))
    assert turned.max() < 1e-9
    assert np.abs(reward - paid).max() < 1e-9


def test_rewards_are_gymnasiums(stepped):
    _, ours, (_, reward, terminated, _) = stepped
    agree = np.asarray(ours.terminated) == terminated
    assert np.allclose(np.asarray(ours.reward)[agree], reward[agree], rtol=1e-5, atol=1e-5)


def test_episodes_end_where_gymnasiums_do(stepped):
    """Prevents a bound that is missed, or compared the wrong way round; only rounding may move an end."""
    name, ours, (_, _, terminated, state) = stepped
    near = {
        "CartPole-v1": lambda s: np.minimum(abs(abs(s[:, 0]) - 2.4), abs(abs(s[:, 2]) - np.pi / 15)),
        "MountainCar-v0": lambda s: abs(s[:, 0] - 0.5),
        "Acrobot-v1": lambda s: abs(-np.cos(s[:, 0]) - np.cos(s[:, 0] + s[:, 1]) - 1.0),
        "Pendulum-v1": lambda s: np.ones(len(s)),
    }[name](state)
    sure = near > 3 * TASKS[name][1]
    assert sure.mean() > 0.9
    assert np.array_equal(np.asarray(ours.terminated)[sure], terminated[sure])
    if name != "Pendulum-v1":
        assert 0.005 < terminated.mean() < 0.995


# Steps in which rounding has no time to grow, and what it may have grown to. Acrobot is chaotic: ten steps are two
# seconds, in which nearby states part by a factor of some hundreds.
STRETCHES = {
    "CartPole-v1": (40, 1e-4),
    "MountainCar-v0": (150, 1e-4),
    "Acrobot-v1": (10, 1e-3),
    "Pendulum-v1": (40, 1e-3),
}


@pytest.mark.parametrize("name", STRETCHES)
def test_trajectories_are_gymnasiums(name):
    """Prevents a state that loses or wraps something from step to step."""
    steps, tolerance = STRETCHES[name]
    environment = make(name)
    actions = actions_of(environment.action_space, steps)
    first, _ = environment.reset(jax.random.key(3))

    def body(state, action):
        step = environment.step(state, action, jax.random.key(0))
        return step.state, step.observation

    _, ours = eqx.filter_jit(jax.lax.scan)(body, first, jnp.asarray(actions))
    observation, *_ = theirs(name, np.array(first), actions)
    assert np.abs(np.asarray(ours) - observation).max() < tolerance
    assert np.abs(observation[-1] - observation[0]).max() > 100 * tolerance


@pytest.mark.parametrize("name", TASKS)
def test_episodes_start_like_gymnasiums(name):
    """Prevents a start in another range, or with parts that always agree."""
    environment = make(name)
    keys = jax.random.split(jax.random.key(0), 3_000)
    first, observation = jax.jit(jax.vmap(environment.reset))(keys)
    ours = np.stack([np.asarray(part) for part in first], axis=1)
    env = gymnasium.make(name).unwrapped
    drawn, seen = [], []
    for seed in range(1_000):
        seen.append(env.reset(seed=seed)[0])
        drawn.append(np.array(env.state))
    expected = np.array(drawn)
    for part in range(ours.shape[1]):
        if np.ptp(expected[:, part]) == 0:
            assert np.all(ours[:, part] == expected[0, part])
        else:
            assert ks_2samp(ours[:, part], expected[:, part]).pvalue > 1e-3
            width = np.ptp(expected[:, part])
            assert expected[:, part].min() - 0.01 * width < ours[:, part].min()
            assert ours[:, part].max() < expected[:, part].max() + 0.01 * width
    varied = [part for part in range(ours.shape[1]) if np.ptp(ours[:, part]) > 0]
    together = np.corrcoef(ours[:, varied].T)
    assert np.all(np.abs(np.atleast_2d(together) - np.eye(len(varied))) < 0.1)
    assert observation.shape[1:] == np.shape(seen[0])
    for entry in range(observation.shape[1]):
        if np.ptp(np.array(seen)[:, entry]) > 0:
            assert ks_2samp(np.asarray(observation)[:, entry], np.array(seen)[:, entry]).pvalue > 1e-3


@pytest.mark.parametrize("name", TASKS)
def test_spaces_and_limits_are_gymnasiums(name):
    from rlbook.deep.environments import to_gymnasium

    env, ours = gymnasium.make(name), to_gymnasium(make(name))
    assert ours.observation_space == env.observation_space
    assert ours.action_space == env.action_space
    assert ours.environment.time_limit == env.spec.max_episode_steps
    assert ours.environment.name == name
