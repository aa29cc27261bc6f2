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
from tests.deep.losses import ACTIONS, ROWS, Table, gradient_error, network

pytestmark = pytest.mark.usefixtures("double_precision")

T, E = 16, 4
CONFIG = pqn.Config(environments=E, rollout=T, epochs=2, minibatches=4, first_width=8, second_width=8)


def rollout(rng) -> Row:
    """Observations are numbers of rows; `next_observation` is apart from them, as it is where an episode ends."""
    over = rng.random((T, E)) < 0.25
    terminated = over & (rng.random((T, E)) < 0.5)
    return Row(
        observation=jnp.arange(T * E).reshape(T, E),
        action=jnp.asarray(rng.integers(0, ACTIONS, (T, E))),
        reward=jnp.asarray(rng.normal(size=(T, E))),
        next_observation=jnp.asarray(rng.permutation(T * E).reshape(T, E)),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(over & ~terminated),
    )


@pytest.mark.parametrize("trace_decay", [0.0, 0.65, 1.0])
def test_returns_respect_every_kind_of_end(trace_decay):
    """Prevents values beyond a termination, none beyond a time limit, and returns that run into another episode."""
    rng = np.random.default_rng(1)
    config = CONFIG.model_copy(update={"trace_decay": trace_decay})
    rows, table = rollout(rng), Table(jnp.asarray(rng.normal(size=(T * E, ACTIONS))))
    found = jax.jit(pqn.targets)(config, table, rows)
    q, rows = jax.tree.map(np.asarray, (table.rows, rows))
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
    assert np.abs(found - expected).max() <= 1e-12


def test_returns_equal_those_of_rlax():
    rlax = pytest.importorskip("rlax", reason="rlax, the library whose returns are compared, is missing")
    rng = np.random.default_rng(2)
    given = [jnp.asarray(rng.uniform(size=T)) for _ in range(4)]
    assert np.abs(lambda_returns(*given) - rlax.lambda_returns(*given)).max() <= 1e-6


def test_the_gradient_is_that_of_finite_differences():
    """Prevents slopes that stop in the normalised layers."""
    rng = np.random.default_rng(3)
    online = network(pqn.QNetwork, CONFIG, rng)
    observation, y, action = rng.normal(size=(ROWS, 4)), rng.normal(size=ROWS), rng.integers(0, ACTIONS, ROWS)
    q = np.array(jax.jit(jax.vmap(online))(observation))[np.arange(ROWS), action]
    value, found = jax.jit(pqn.loss)(online, observation, action, y)
    assert float(value) == pytest.approx(np.mean((y - q) ** 2), rel=1e-12)
    assert np.allclose(found, q, atol=1e-12)
    given = tuple(map(jnp.asarray, (observation, action, y)))
    assert gradient_error(lambda online: pqn.loss(online, *given)[0], online) <= 1e-6


def test_an_epoch_sees_every_row_once(monkeypatch):
    """Prevents rows that are learned from twice while others are left out."""
    rng = np.random.default_rng(4)
    rows, seen = rollout(rng), []

    def noted(table, observation, action, y):
        jax.debug.callback(lambda numbers: seen.append(np.array(numbers)), observation)
        return jnp.sum(table.rows) * 0.0 + jnp.mean(y), y

    monkeypatch.setattr(pqn, "loss", noted)
    table = Table(jnp.zeros((T * E, ACTIONS)))
    pqn.update(CONFIG, pqn.State(table, pqn.optimiser(CONFIG).init(table)), rows, jax.random.key(0))
    jax.effects_barrier()
    epochs = np.concatenate(seen).reshape(CONFIG.epochs, -1)
    assert len(seen) == CONFIG.epochs * CONFIG.minibatches
    assert all(sorted(epoch) == list(range(T * E)) for epoch in epochs.tolist())
    assert not np.array_equal(*epochs)


def test_minibatches_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match=r"^minibatches is 3, but 64 rows"):
        pqn.Config.parse({"environments": 4, "rollout": 16, "minibatches": 3})
