"""PQN's returns and loss, against a plain loop, rlax and finite differences; and that every row is learned from."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep import pqn
from rlbook.deep.episodes import Row
from rlbook.deep.returns import lambda_returns
from rlbook.errors import ParameterError
from tests.deep.losses import ACTIONS, ROWS, SPACES, Table, gradient_error

T, E = 16, 4
CONFIG = pqn.Config(environments=E, rollout=T, epochs=2, minibatches=4, first_width=8, second_width=8)


def rollout(rng) -> Row:
    """Observations are numbers of rows; `next_observation` is apart from them, as it is where an episode ends."""
    over = rng.random((T, E)) < 0.25
    terminated = over & (rng.random((T, E)) < 0.5)
    return Row(
        observation=jnp.arange(T * E).reshape(T, E),
        action=jnp.asarray(rng.integers(0, ACTIONS, (T, E))),
        reward=jnp.float32(rng.normal(size=(T, E))),
        next_observation=jnp.asarray(rng.permutation(T * E).reshape(T, E)),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(over & ~terminated),
    )


@pytest.mark.parametrize("trace_decay", [0.0, 0.65, 1.0])
def test_returns_respect_every_kind_of_end(trace_decay):
    """Prevents values beyond a termination, none beyond a time limit, and returns that run into another episode."""
    rng = np.random.default_rng(1)
    config = CONFIG.model_copy(update={"trace_decay": trace_decay})
    rows, network = rollout(rng), Table(jnp.float32(rng.normal(size=(T * E, ACTIONS))))
    q = np.asarray(network.rows, np.float64)
    expected = np.empty((T, E))
    for e in range(E):
        for t in reversed(range(T)):
            value = q[rows.next_observation[t, e]].max()
            if rows.terminated[t, e]:
                following = 0.0
            elif rows.truncated[t, e] or t == T - 1:
                following = value
            else:
                following = (1 - trace_decay) * value + trace_decay * expected[t + 1, e]
            expected[t, e] = rows.reward[t, e] + config.discount * following
    assert np.abs(pqn.targets(config, network, rows) - expected).max() <= 1e-5


def test_returns_equal_those_of_rlax():
    rlax = pytest.importorskip("rlax", reason="rlax, the library whose returns are compared, is missing")
    rng = np.random.default_rng(2)
    given = [jnp.float32(rng.uniform(size=T)) for _ in range(4)]
    assert np.abs(lambda_returns(*given) - rlax.lambda_returns(*given)).max() <= 1e-6


def test_the_gradient_is_that_of_finite_differences():
    """Prevents slopes that stop in the normalised layers."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        network = pqn.QNetwork(CONFIG, SPACES, jax.random.key(0))
        observation, y = jnp.asarray(rng.normal(size=(ROWS, 4))), jnp.asarray(rng.normal(size=ROWS))
        action = jnp.asarray(rng.integers(0, ACTIONS, ROWS))
        q = np.array([network(o)[a] for o, a in zip(observation, action, strict=True)])
        assert float(pqn.loss(network, observation, action, y)[0]) == pytest.approx(np.mean((np.array(y) - q) ** 2))
        assert gradient_error(lambda network: pqn.loss(network, observation, action, y)[0], network) <= 1e-6


def test_an_epoch_sees_every_row_once(monkeypatch):
    """Prevents rows that are learned from twice while others are left out."""
    rng = np.random.default_rng(4)
    rows, seen = rollout(rng), []

    def noted(network, observation, action, y):
        jax.debug.callback(lambda numbers: seen.append(np.array(numbers)), observation)
        return jnp.sum(network.rows) * 0.0 + jnp.mean(y), y

    monkeypatch.setattr(pqn, "loss", noted)
    network = Table(jnp.zeros((T * E, ACTIONS)))
    pqn.update(CONFIG, pqn.State(network, pqn.optimiser(CONFIG).init(network)), rows, jax.random.key(0))
    jax.effects_barrier()
    epochs = np.concatenate(seen).reshape(CONFIG.epochs, -1)
    assert len(seen) == CONFIG.epochs * CONFIG.minibatches
    assert all(sorted(epoch) == list(range(T * E)) for epoch in epochs.tolist())
    assert not np.array_equal(*epochs)


def test_minibatches_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match="minibatches is 3, but 64 rows"):
        pqn.Config(environments=4, rollout=16, minibatches=3)
