"""QR-DQN's quantile loss, against a float64 derivation, rlax, finite differences and the quantiles of a law."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep import qr_dqn
from tests.deep.losses import ROWS, SPACES, batch, gradient_error, network, plain, table

pytestmark = pytest.mark.usefixtures("double_precision")

QUANTILES = 7
CONFIG = qr_dqn.Config(quantiles=QUANTILES, first_width=8, second_width=8)


@jax.jit
def whole_loss(online, target, config, given):
    return qr_dqn.loss(online, config, given, qr_dqn.targets(target, given))


def derived(theta, y, kappa):
    """A row's loss, term by term."""
    total = 0.0
    for k, place in enumerate(theta):
        tau = (2 * k + 1) / (2 * len(theta))
        for target in y:
            u = target - place
            huber = u * u / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
            total += abs(tau - (u < 0)) * huber / len(y)
    return total


@pytest.mark.parametrize("kappa", [0.1, 1.0, 100.0])
def test_the_loss_is_that_of_its_definition(kappa):
    """Prevents quantiles that are drawn to the wrong side, and a sum where a mean belongs."""
    rng = np.random.default_rng(1)
    online, target, given = table(rng, QUANTILES), table(rng, QUANTILES), batch(rng)
    config = qr_dqn.Config(quantiles=QUANTILES, kappa=kappa)
    found, (each, q) = whole_loss(online, target, config, given)
    ours, theirs, row = plain(online.rows, target.rows, given)
    expected = []
    for i in range(ROWS):
        best = np.argmax(theirs[i].mean(axis=1))
        expected.append(derived(ours[i, row.action[i]], row.reward[i] + row.discount[i] * theirs[i, best], kappa))
    assert np.allclose(each, expected, rtol=1e-12)
    assert float(found) == pytest.approx(np.mean(row.weight * expected), rel=1e-12)
    assert np.allclose(q, ours[np.arange(ROWS), row.action].mean(axis=1), atol=1e-12)


def test_the_loss_equals_that_of_rlax():
    rlax = pytest.importorskip("rlax", reason="rlax, the library whose losses are compared, is missing")
    rng = np.random.default_rng(2)
    online, target, given = table(rng, QUANTILES), table(rng, QUANTILES), batch(rng)
    _, (each, _) = whole_loss(online, target, CONFIG, given)
    tau = (jnp.arange(QUANTILES) + 0.5) / QUANTILES

    def one(q, a, r, d, target):
        return rlax.quantile_q_learning(q.T, tau, a, r, d, target.T, target.T, CONFIG.kappa)

    theirs = jax.vmap(one)(online.rows, given.action, given.reward, given.discount, target.rows)
    assert np.abs(each - theirs).max() <= 1e-6


def test_the_gradient_is_that_of_finite_differences():
    """Prevents slopes that leak through the target, or through the side on which an error lies."""
    rng = np.random.default_rng(3)
    online, target = (network(qr_dqn.QuantileNetwork, CONFIG, rng) for _ in range(2))
    given = batch(rng, rng.normal(size=(2, ROWS, 4)))
    y = jax.jit(qr_dqn.targets)(target, given)
    assert gradient_error(lambda online: qr_dqn.loss(online, CONFIG, given, y)[0], online) <= 1e-6


def test_its_minimum_is_at_the_quantiles():
    """Prevents midpoints that are shifted. Each of the places 1, ..., n is the quantile of its own part."""
    places = jnp.arange(1.0, QUANTILES + 1)
    slope = jax.jit(jax.grad(lambda theta: qr_dqn.quantile_huber_loss(theta[None], places[None], 1e-3)[0]))
    below, above = slope(places - 0.4), slope(places + 0.4)
    assert np.all(below < 0)
    assert np.all(above > 0)


def test_the_return_law_is_what_its_values_are_means_of():
    """Prevents a drawn law that is not the learned one."""
    learned = network(qr_dqn.QuantileNetwork, CONFIG, np.random.default_rng(5))
    state = qr_dqn.State(learned, learned, None, jnp.int32(0))
    seen = jnp.asarray([0.3, -1.0, 2.0, 0.1])
    law = qr_dqn.return_law(CONFIG, state, seen)
    assert law.atoms.shape == law.mass.shape == (SPACES.actions.n, QUANTILES)
    assert np.allclose((law.atoms * law.mass).sum(axis=1), qr_dqn.action_values(CONFIG, state, seen), atol=1e-12)
    assert np.allclose(law.mass.sum(axis=1), 1)
