"""C51's projection and loss, against the tabular projection, a float64 derivation, rlax and finite differences."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, softmax

from rlbook.deep import c51
from rlbook.errors import ParameterError
from rlbook.tabular.distributional import categorical_projection
from tests.deep.losses import ROWS, SPACES, batch, gradient_error, network, plain, table

pytestmark = pytest.mark.usefixtures("double_precision")

ATOMS = 51
CONFIG = c51.Config(atoms=ATOMS, lowest=-10.0, highest=10.0, first_width=8, second_width=8)


@jax.jit
def whole_loss(online, target, given):
    return c51.loss(online, given, c51.targets(CONFIG, target, given))


@pytest.mark.parametrize("atoms", [2, 3, 51])
def test_the_projection_is_the_tabular_one(atoms):
    """Prevents mass that is lost beyond the ends, on an atom, or between the last two."""
    rng = np.random.default_rng(1)
    targets = np.linspace(-5, 5, atoms)
    places = np.concatenate([rng.normal(scale=5, size=(100, 40)), np.tile(targets, (4, 40))[:, :40]])
    places[:20, 0], places[:20, 1] = 5.0, -5.0
    mass = rng.dirichlet(np.ones(40), len(places))
    found = jax.jit(c51.projection)(places, mass, targets)
    assert np.abs(found - categorical_projection(places, mass, targets)).max() <= 1e-12
    single = jax.jit(c51.projection)(*map(np.float32, (places, mass, targets)))
    assert np.abs(single - categorical_projection(places, mass, targets)).max() <= 1e-5
    assert np.asarray(found).min() >= 0


def test_the_loss_is_that_of_its_definition():
    """Prevents the law of another action, and a cross-entropy whose sides are changed."""
    rng = np.random.default_rng(2)
    online, target, given = table(rng, ATOMS), table(rng, ATOMS), batch(rng)
    found, (entropy, mass) = whole_loss(online, target, given)
    logits, theirs, row = plain(online.rows, target.rows, given)
    atoms, laws, each = np.linspace(-10, 10, ATOMS), softmax(theirs, axis=2), []
    for i in range(ROWS):
        best = np.argmax(laws[i] @ atoms)
        m = categorical_projection(row.reward[i] + row.discount[i] * atoms[None], laws[i, best][None], atoms)[0]
        each.append(-m @ log_softmax(logits[i, row.action[i]]))
    assert np.abs(entropy - np.array(each)).max() <= 1e-9
    assert float(found) == pytest.approx(np.mean(row.weight * each), rel=1e-9)
    assert np.allclose(mass, softmax(logits[np.arange(ROWS), row.action], axis=1), atol=1e-12)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_loss_equals_that_of_rlax():
    rlax = pytest.importorskip("rlax", reason="rlax, the library whose losses are compared, is missing")
    rng = np.random.default_rng(3)
    online, target, given = table(rng, ATOMS), table(rng, ATOMS), batch(rng)
    _, (entropy, _) = whole_loss(online, target, given)
    atoms = c51.support(CONFIG)
    theirs = jax.vmap(rlax.categorical_q_learning, (None, 0, 0, 0, 0, None, 0))(
        atoms, online.rows, given.action, given.reward, given.discount, atoms, target.rows
    )
    assert np.abs(entropy - theirs).max() <= 1e-6


def test_the_gradient_is_that_of_finite_differences():
    """Prevents slopes that leak through the target or stop in the network."""
    rng = np.random.default_rng(4)
    online, target = (network(c51.LawNetwork, CONFIG, rng) for _ in range(2))
    given = batch(rng, rng.normal(size=(2, ROWS, 4)))
    m = jax.jit(c51.targets)(CONFIG, target, given)
    assert gradient_error(lambda online: c51.loss(online, given, m)[0], online) <= 1e-6


def test_the_return_law_is_what_its_values_are_means_of():
    """Prevents a drawn law that is not the learned one."""
    learned = network(c51.LawNetwork, CONFIG, np.random.default_rng(5))
    state = c51.State(learned, learned, None, jnp.int32(0))
    seen = jnp.asarray([0.3, -1.0, 2.0, 0.1])
    law = c51.return_law(CONFIG, state, seen)
    assert law.atoms.shape == law.mass.shape == (SPACES.actions.n, ATOMS)
    assert np.allclose(law.mass.sum(axis=1), 1, atol=1e-12)
    assert np.allclose((law.atoms * law.mass).sum(axis=1), c51.action_values(CONFIG, state, seen), atol=1e-12)
    assert (law.atoms[0, 0], law.atoms[0, -1]) == (CONFIG.lowest, CONFIG.highest)


def test_an_empty_range_is_refused():
    with pytest.raises(ParameterError, match=r"^lowest is 1\.0 and highest 1\.0"):
        c51.Config.parse({"lowest": 1.0, "highest": 1.0})
