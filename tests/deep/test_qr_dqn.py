"""QR-DQN's quantile loss, against a float64 derivation, rlax, finite differences and the quantiles of a law."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np

from rlbook.deep import qr_dqn
from tests.deep.losses import ROWS, SPACES, batch, gradient_error, plain, table

QUANTILES = 7
CONFIG = qr_dqn.Config(quantiles=QUANTILES, first_width=8, second_width=8)


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
    network, target, given = table(rng, QUANTILES), table(rng, QUANTILES), batch(rng)
    config = qr_dqn.Config(quantiles=QUANTILES, kappa=kappa)
    found, (each, q) = qr_dqn.loss(network, config, given, qr_dqn.targets(target, given))
    ours, theirs, row = (plain(x) for x in (network.rows, target.rows, given))
    expected = []
    for i in range(ROWS):
        best = np.argmax(theirs[i].mean(axis=1))
        expected.append(derived(ours[i, row.action[i]], row.reward[i] + row.discount[i] * theirs[i, best], kappa))
    assert np.allclose(each, expected, rtol=1e-5, atol=1e-6)
    assert float(found) == pytest.approx(np.mean(row.weight * expected), rel=1e-6)
    assert np.allclose(q, ours[np.arange(ROWS), row.action].mean(axis=1), atol=1e-5)


def test_the_loss_equals_that_of_rlax():
    rlax = pytest.importorskip("rlax", reason="rlax, the library whose losses are compared, is missing")
    rng = np.random.default_rng(2)
    network, target, given = table(rng, QUANTILES), table(rng, QUANTILES), batch(rng)
    _, (each, _) = qr_dqn.loss(network, CONFIG, given, qr_dqn.targets(target, given))
    tau = (jnp.arange(QUANTILES) + 0.5) / QUANTILES

    def one(q, a, r, d, target):
        return rlax.quantile_q_learning(q.T, tau, a, r, d, target.T, target.T, CONFIG.kappa)

    theirs = jax.vmap(one)(network.rows, given.action, given.reward, given.discount, target.rows)
    assert np.abs(np.asarray(each - theirs) / np.asarray(theirs)).max() <= 1e-6


def test_the_gradient_is_that_of_finite_differences():
    """Prevents slopes that leak through the target, or through the side on which an error lies."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        network, target = (qr_dqn.QuantileNetwork(CONFIG, SPACES, jax.random.key(n)) for n in range(2))
        given = batch(rng, rng.normal(size=(2, ROWS, 4)))
        y = qr_dqn.targets(target, given)
        assert gradient_error(lambda network: qr_dqn.loss(network, CONFIG, given, y)[0], network) <= 1e-6


def test_its_minimum_is_at_the_quantiles():
    """Prevents midpoints that are shifted. Each of n equal parts of the law 1, ..., n has its own place at its middle."""
    places = jnp.arange(1.0, QUANTILES + 1)
    slope = jax.grad(lambda theta: qr_dqn.quantile_huber_loss(theta[None], places[None], 1e-3)[0])
    below, above = slope(places - 0.4), slope(places + 0.4)
    assert np.all(below < 0)
    assert np.all(above > 0)


def test_the_return_law_is_what_its_values_are_means_of():
    """Prevents a drawn law that is not the learned one."""
    state = qr_dqn.init(CONFIG, SPACES, jax.random.key(0))
    seen = jnp.asarray([0.3, -1.0, 2.0, 0.1])
    law = qr_dqn.return_law(CONFIG, state, seen)
    assert law.atoms.shape == law.mass.shape == (SPACES.actions.n, QUANTILES)
    assert np.allclose((law.atoms * law.mass).sum(axis=1), qr_dqn.action_values(CONFIG, state, seen), atol=1e-6)
    assert np.allclose(law.mass.sum(axis=1), 1)
