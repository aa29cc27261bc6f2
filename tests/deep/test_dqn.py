"""DQN's loss and each of its pieces, against float64 derivations, rlax and finite differences."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep import dqn
from tests.deep.losses import ROWS, SPACES, batch, begun, gradient_error, network, plain, table

pytestmark = pytest.mark.usefixtures("double_precision")


@jax.jit
def whole_loss(online, target, config, given):
    return dqn.loss(online, config, given, dqn.targets(config, online, target, given))


VARIANTS = [{}, {"double": True}, {"loss": "huber"}, {"double": True, "loss": "huber"}]


def derived(network, target, given, double, huber):
    """The loss row by row, from its definition."""
    total = 0.0
    for i in range(ROWS):
        chooser = network if double else target
        best = max(range(len(chooser[i])), key=lambda b: chooser[i][b])
        y = given.reward[i] + given.discount[i] * target[i][best]
        u = abs(y - network[i][given.action[i]])
        total += given.weight[i] * ((u - 0.5 if u > 1 else u * u / 2) if huber else u * u)
    return total / ROWS


@pytest.mark.parametrize("options", VARIANTS)
def test_the_loss_is_that_of_its_definition(options):
    """Prevents the wrong network choosing or judging, discounts at ends, and weights that are left out."""
    rng = np.random.default_rng(1)
    config, online, target, given = dqn.Config(**options), table(rng), table(rng), batch(rng)
    found = whole_loss(online, target, config, given)[0]
    expected = derived(*plain(online.rows, target.rows, given), config.double, config.loss == "huber")
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("double", [False, True])
def test_errors_equal_those_of_rlax(double):
    rlax = pytest.importorskip("rlax", reason="rlax, the library whose losses are compared, is missing")
    rng = np.random.default_rng(2)
    config, online, target, given = dqn.Config(double=double), table(rng), table(rng), batch(rng)
    _, (error, _) = whole_loss(online, target, config, given)
    a, r, d = given.action, given.reward, given.discount
    if double:
        theirs = jax.vmap(rlax.double_q_learning)(online.rows, a, r, d, target.rows, online.rows)
    else:
        theirs = jax.vmap(rlax.q_learning)(online.rows, a, r, d, target.rows)
    assert np.abs(error - theirs).max() <= 1e-6


@pytest.mark.parametrize("options", [{"dueling": True}, {"loss": "huber"}])
def test_the_gradient_is_that_of_finite_differences(options):
    """Prevents slopes that leak through the target or stop in the network."""
    rng = np.random.default_rng(3)
    config = dqn.Config(first_width=8, second_width=8, **options)
    online, target = (network(dqn.QNetwork, config, rng) for _ in range(2))
    given = batch(rng, rng.normal(size=(2, ROWS, 4)))
    y = jax.jit(dqn.targets)(config, online, target, given)
    assert gradient_error(lambda online: dqn.loss(online, config, given, y)[0], online) <= 1e-6


def test_advantages_have_mean_zero_in_a_dueling_network():
    """Prevents a value that its advantages can shift."""
    dueling = network(dqn.QNetwork, dqn.Config(dueling=True), np.random.default_rng(5))
    seen = jnp.asarray([0.3, -1.0, 2.0, 0.1])
    features = dueling.torso(seen)
    value, advantage, q = float(dueling.value(features)[0]), dueling.advantage(features), dueling(seen)
    assert float(q.mean()) == pytest.approx(value, abs=1e-12)
    assert np.allclose(q - q[0], advantage - advantage[0], atol=1e-12)
    assert jax.eval_shape(lambda: dqn.init(dqn.Config(), SPACES, jax.random.key(0))).network.value is None


def test_the_target_network_is_copied_when_it_should_be():
    """Prevents a target that never moves, or moves with the network."""
    rng = np.random.default_rng(4)
    config = dqn.Config(first_width=4, second_width=4, target_every=3)
    state = begun(dqn, config)
    given, first = batch(rng, rng.normal(size=(2, ROWS, 4))), state.target
    update = jax.jit(dqn.update)

    def same(one, other):
        return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))

    for count in range(1, 5):
        state, _ = update(config, state, given, jax.random.key(1))
        assert int(state.updates) == count
        assert same(state.target, first) == (count < 3)
        assert same(state.target, state.network) == (count == 3)


def test_options_reach_the_replay():
    """Prevents an option that nothing reads."""
    kind = dqn.experience(dqn.Config(n_step=4, prioritised=True, priority_exponent=0.3, discount=0.5))
    assert (kind.n_step, kind.prioritised, kind.priority_exponent, kind.discount) == (4, True, 0.3, 0.5)
