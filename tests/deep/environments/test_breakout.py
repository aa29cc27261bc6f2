"""Breakout is MinAtar's: against recorded games of `minatar`, and against the package itself where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp

from rlbook.deep.environments import Breakout, Step
from rlbook.deep.environments.breakout import BreakoutState
from rlbook.errors import ParameterError

from .minatar_games import PARTS, RECORD, STICKY, play


def keys_that_stick(sticky, stuck):
    """For each step a key with which the last action is repeated where it was; jax's own draws decide."""
    if sticky == 0:
        return jax.random.split(jax.random.key(0), len(stuck))
    keys = jax.random.split(jax.random.key(0), 200)
    sticks = np.asarray(jax.vmap(jax.random.uniform)(keys)) < sticky
    return jnp.where(jnp.asarray(stuck.astype(bool)), keys[np.argmax(sticks)], keys[np.argmin(sticks)])


def walls(packed):
    return np.unpackbits(packed, axis=1, count=30).reshape(-1, 3, 10).astype(bool)


def states_of(parts, bricks):
    given = {name: jnp.asarray(parts[:, i], dtype=jnp.int32) for i, name in enumerate(PARTS)}
    return BreakoutState(**{**given, "struck": given["struck"].astype(bool)}, bricks=jnp.asarray(bricks))


def parts_of(state):
    return np.column_stack([np.asarray(getattr(state, name)).astype(int) for name in PARTS])


def ours(games, sticky) -> Step:
    """One step of ours from every recorded state."""
    states = states_of(games["before"], walls(games["bricks_before"]))
    actions = jnp.asarray(games["action"], dtype=jnp.int32)
    return jax.jit(jax.vmap(Breakout(sticky=sticky).step))(states, actions, keys_that_stick(sticky, games["stuck"]))


def hold(games, sticky):
    """Compare, and see to it that the games show all rules at work."""
    step = ours(games, sticky)
    assert np.array_equal(parts_of(step.state), games["after"])
    assert np.array_equal(np.asarray(step.reward), games["reward"])
    assert np.array_equal(np.asarray(step.terminated), games["end"].astype(bool))
    assert np.array_equal(np.asarray(step.state.bricks), walls(games["bricks_after"]))
    image = np.unpackbits(games["image"], axis=1).reshape(-1, 10, 10, 4)
    assert np.array_equal(np.asarray(step.observation)[: len(image)], image)
    standing, left = (walls(games[name]).sum(axis=(1, 2)) for name in ("bricks_before", "bricks_after"))
    assert games["end"].sum() > 10
    assert games["reward"].sum() > 50
    assert np.any((standing == 0) & (left == 30)), "no wall was built anew"
    assert games["stuck"].any() == (sticky > 0)


@pytest.mark.parametrize("kind", STICKY)
def test_steps_are_those_of_recorded_games(kind):
    """Prevents a rule that differs: bounces, double strikes, a new wall, the paddle's edges, who moves first."""
    with np.load(RECORD) as file:
        hold({name.removeprefix(f"{kind}_"): file[name] for name in file.files if name.startswith(kind)}, STICKY[kind])


@pytest.mark.parametrize("kind", STICKY)
def test_steps_are_those_of_the_package(kind):
    pytest.importorskip("minatar", reason="minatar is not installed; pip install --no-deps minatar is enough")
    hold(play(STICKY[kind], seed=1, steps=6_000), STICKY[kind])


def test_games_begin_on_either_side():
    """Prevents games that are all alike: nothing else is random without sticky actions."""
    first, observation = jax.jit(jax.vmap(Breakout().reset))(jax.random.split(jax.random.key(0), 1_000))
    assert 420 < np.sum(np.asarray(first.ball_column) == 0) < 580
    assert np.array_equal(np.asarray(first.right), np.where(np.asarray(first.ball_column) == 0, 1, -1))
    assert np.asarray(observation).sum(axis=(1, 2)).tolist() == [[1, 1, 1, 30]] * 1_000


def test_actions_stick_as_often_as_asked():
    environment = Breakout(sticky=0.25)
    state, _ = environment.reset(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 4_000)
    step = jax.jit(jax.vmap(lambda key: environment.step(state, jnp.int32(2), key)))(keys)
    stuck = np.asarray(step.state.last_action) == 0
    assert abs(stuck.mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / len(stuck))
    assert np.array_equal(np.asarray(step.state.paddle), np.where(stuck, 4, 5))


@pytest.mark.parametrize("sticky", [-0.1, 1.5, float("nan"), "often"])
def test_stickiness_is_a_probability(sticky):
    with pytest.raises(ParameterError, match="sticky is"):
        Breakout(sticky=sticky)
