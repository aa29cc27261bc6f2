"""Catch and Deep Sea: the rules of bsuite, step by step."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp

from rlbook.deep.environments import Catch, DeepSea
from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.tabular import solve


def plain_catch(rows, columns, ball, actions):
    """Boards, rewards and ends of an episode, after the text of bsuite's Catch."""
    paddle = columns // 2
    for row, action in enumerate(actions, start=1):
        paddle = min(max(paddle + (-1, 0, 1)[action], 0), columns - 1)
        board = np.zeros((rows, columns))
        board[row, ball] = board[rows - 1, paddle] = 1
        over = row == rows - 1
        yield board, (1.0 if ball == paddle else -1.0) if over else 0.0, over


@pytest.mark.parametrize(("rows", "columns"), [(10, 5), (2, 1), (6, 8)])
def test_catch_plays_by_the_rules(rows, columns):
    """Prevents a paddle that moves after the ball has landed, and a reward or an end that is a step late."""
    environment = Catch(rows, columns)
    rng = np.random.default_rng(0)
    step = eqx.filter_jit(environment.step)
    caught = set()
    for seed in range(25):
        state, observation = environment.reset(jax.random.key(seed))
        assert np.asarray(observation).sum() == 2
        assert int(state.paddle) == columns // 2
        actions = rng.integers(3, size=rows - 1)
        for action, (board, paid, over) in zip(
            actions, plain_catch(rows, columns, int(state.ball_column), actions), strict=True
        ):
            state, observation, reward, terminated = step(state, jnp.int32(action), jax.random.key(0))
            assert np.array_equal(np.asarray(observation), board)
            assert (float(reward), bool(terminated)) == (paid, over)
        caught.add(float(reward))
    assert caught == ({1.0} if columns == 1 else {1.0, -1.0})


def test_catch_drops_its_ball_anywhere():
    first, _ = jax.jit(jax.vmap(Catch(columns=5).reset))(jax.random.split(jax.random.key(0), 5_000))
    counts = np.bincount(np.asarray(first.ball_column))
    assert len(counts) == 5
    assert np.all(np.abs(counts - 1_000) < 4.5 * np.sqrt(800))


@pytest.mark.parametrize("options", [{"size": 10}, {"size": 7, "seed": 3}, {"size": 4, "scrambled": False}])
def test_deep_sea_is_the_finite_mdp(options):
    """Prevents two worlds under one name: the exact values of `make("deep-sea")` are then those of another one."""
    environment, mdp = DeepSea(**options), make("deep-sea", **options)
    size = options["size"]
    step = eqx.filter_jit(environment.step)
    state, observation = environment.reset(jax.random.key(0))
    assert mdp.start[int(observation.argmax())] == 1
    for row in range(size):
        for column in range(size):
            at = type(state)(jnp.int32(row), jnp.int32(column))
            for action in (0, 1):
                after, seen, reward, terminated = step(at, jnp.int32(action), jax.random.key(0))
                ((_, following, paid, over),) = mdp.transitions(row * size + column, action)
                assert float(reward) == pytest.approx(paid, abs=1e-6)
                assert bool(terminated) == over
                assert int(after.column) == following % size
                if not over:
                    assert int(seen.argmax()) == following
                assert float(seen.sum()) == (not over)


def test_deep_sea_pays_what_it_says():
    environment, mdp = DeepSea(size=8, seed=1), make("deep-sea", size=8, seed=1)
    assert solve(mdp).value_at_start == pytest.approx(0.99)
    state, _ = environment.reset(jax.random.key(0))
    total = 0.0
    for _ in range(8):
        right = environment.right_action[state.row, state.column]
        state, _, reward, terminated = environment.step(state, right, jax.random.key(0))
        total += float(reward)
    assert bool(terminated)
    assert total == pytest.approx(0.99, abs=1e-6)


def test_deep_sea_maps_differ_and_share_one_program():
    """Prevents a compilation for each seed of the map."""
    compiled = []

    @eqx.filter_jit
    def right(environment):
        compiled.append(environment.name)
        return environment.right_action

    maps = [np.asarray(right(DeepSea(seed=seed))) for seed in range(3)]
    assert len(compiled) == 1
    assert not np.array_equal(maps[0], maps[1])


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (Catch, {"rows": 1}, "rows is 1"),
        (Catch, {"columns": 0}, "columns is 0"),
        (DeepSea, {"size": 1}, "size is 1"),
        (DeepSea, {"seed": -1}, "seed is -1"),
    ],
)
def test_options_are_checked(kind, options, said):
    with pytest.raises(ParameterError, match=said):
        kind(**options)
