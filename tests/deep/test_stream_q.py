"""Stream Q(lambda), step by step against float64 arithmetic over the whole past; its bound; its first weights."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from rlbook.deep import stream_q
from rlbook.deep.episodes import Row
from rlbook.deep.networks import sparsely
from rlbook.deep.running import deviation, seen, unseen
from tests.deep.losses import ACTIONS, begun, network

pytestmark = pytest.mark.usefixtures("double_precision")

CONFIG = stream_q.Config(first_width=8, second_width=8, discount=0.9)


def stream(rng, steps):
    """Rows of episodes that end in both ways, with actions of any kind."""
    for _ in range(steps):
        terminated, truncated = rng.random(2) < (0.15, 0.1)
        here, there = 1 + 3 * rng.normal(size=(2, 4))
        action, reward = rng.integers(0, ACTIONS), 2 + rng.normal()
        yield Row(here, action, reward, there, bool(terminated), bool(truncated and not terminated))


def test_steps_are_those_of_the_definition():
    """Prevents a trace that outlives an episode or an exploratory action, a bound that does not bind, and statistics
    that forget."""
    rng = np.random.default_rng(1)
    state = begun(stream_q, CONFIG)
    theta, unravel = ravel_pytree(state.network)
    theta, trace, past, sums, u, cuts = np.array(theta), 0.0, [], [], 0.0, 0
    update = jax.jit(stream_q.update)
    values = jax.jit(lambda theta, o: unravel(theta)(o))
    slope = jax.jit(jax.grad(lambda theta, o, a: unravel(theta)(o)[a]))
    for row in stream(rng, 60):
        past.append(row.observation)
        u = CONFIG.discount * u + row.reward
        sums.append(u)
        spread = np.std(past, axis=0, ddof=1) if len(past) > 1 else np.ones(4)
        sigma = np.std(sums, ddof=1) if len(sums) > 1 else 1.0
        o, following = ((x - np.mean(past, axis=0)) / spread for x in (row.observation, row.next_observation))
        q = np.array(values(theta, o))
        greedy = q.argmax() == row.action
        cuts += not greedy
        trace = CONFIG.discount * CONFIG.trace_decay * greedy * trace + np.array(slope(theta, o, row.action))
        later = 0.0 if row.terminated else max(np.array(values(theta, following)))
        delta = row.reward / sigma + CONFIG.discount * later - q[row.action]
        bound = CONFIG.learning_rate * CONFIG.kappa * max(abs(delta), 1) * np.abs(trace).sum()
        theta = theta + CONFIG.learning_rate / max(bound, 1) * delta * trace
        if row.terminated or row.truncated:
            trace, u = 0.0, 0.0
        state, metrics = update(CONFIG, state, jax.tree.map(jnp.asarray, row), jax.random.key(0))
        assert float(metrics["q"]) == pytest.approx(sigma * q[row.action], rel=1e-9, abs=1e-9)
        assert np.allclose(ravel_pytree(state.network)[0], theta, rtol=1e-9, atol=1e-11)
    assert 20 < cuts < 60
    assert np.allclose(
        stream_q.action_values(CONFIG, state, past[-1]),
        sigma * np.array(values(theta, (past[-1] - np.mean(past, axis=0)) / spread)),
    )


def test_the_trace_grows_by_the_slope_of_finite_differences():
    """Prevents slopes that stop in the normalised layers, or at the wrong action."""
    rng = np.random.default_rng(5)
    online = network(stream_q.QNetwork, CONFIG, rng)
    nothing = jax.tree.map(jnp.zeros_like, online)
    theta, unravel = ravel_pytree(online)
    along, step = rng.normal(size=(3, len(theta))), 1e-6
    values = jax.jit(jax.vmap(lambda theta, seen: unravel(theta)(seen), (0, None)))
    for action in range(ACTIONS):
        seen = jnp.asarray(rng.normal(size=4))
        trace, q = jax.jit(stream_q.traced)(CONFIG, online, nothing, seen, jnp.int32(action))
        ahead, behind = (np.array(values(theta + way * step * along, seen))[:, action] for way in (1, -1))
        assert np.allclose(
            along @ np.array(ravel_pytree(trace)[0]), (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8
        )
        assert float(q) == pytest.approx(float(online(seen)[action]), rel=1e-12)


def test_no_step_is_longer_than_its_bound():
    """Prevents a bound without the trace, the error or kappa: weights move by at most 1 / kappa in all."""
    rng = np.random.default_rng(2)
    moves = {}
    for bounded in (True, False):
        config = CONFIG.model_copy(update={"bounded": bounded, "normalised": False})
        state, update, longest = begun(stream_q, config), jax.jit(stream_q.update), 0.0
        for row in stream(rng, 40):
            before = ravel_pytree(state.network)[0]
            row = jax.tree.map(jnp.asarray, row._replace(reward=1e3 * row.reward))
            state, _ = update(config, state, row, jax.random.key(0))
            longest = max(longest, float(jnp.abs(ravel_pytree(state.network)[0] - before).sum()))
        moves[bounded] = longest
    assert moves[True] <= (1 + 1e-12) / CONFIG.kappa
    assert not moves[False] <= 100  # what is bounded here would be far longer, or no number at all


@pytest.mark.parametrize("shape", [(4,), (10, 10, 3)])
def test_first_weights_are_sparse_and_none_is_cut_off(shape):
    """Prevents units without inputs where there are few of them, and the same inputs for all units."""
    config = stream_q.Config(first_width=16, second_width=16)
    dense = network(stream_q.QNetwork, config, np.random.default_rng(4), shape)
    thin = jax.jit(sparsely, static_argnums=1)(dense, 0.9, jax.random.key(1))
    layers = [*thin.torso.layers, thin.head]
    layers += [] if thin.torso.convolution is None else [thin.torso.convolution]
    for layer in layers:
        weight = np.asarray(layer.weight).reshape(len(layer.weight), -1)
        assert np.all((weight == 0).sum(axis=1) == int(0.9 * weight.shape[1]))
        assert not np.any(layer.bias)
    first = np.asarray(thin.torso.layers[0].weight) == 0
    assert len({tuple(row) for row in first}) > 1
    assert np.array_equal(np.where(first, 0, dense.torso.layers[0].weight), thin.torso.layers[0].weight)


def test_running_statistics_are_those_of_the_whole_past():
    """Prevents statistics that drift, and a division by almost nothing where nothing varies."""
    rng = np.random.default_rng(3)
    samples = np.column_stack([5 + rng.normal(size=500), np.full(500, 7.1)])
    running = unseen((2,))
    assert np.array_equal(deviation(running), [1, 1])
    update = jax.jit(seen)
    for sample in np.float32(samples):
        running = update(running, sample)
    assert np.allclose(running.mean, samples.mean(axis=0), atol=1e-5)
    assert float(deviation(running)[0]) == pytest.approx(samples[:, 0].std(ddof=1), rel=1e-4)
    assert float(deviation(running)[1]) == 1
