"""Epsilon-greedy actions and how epsilon falls."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import chisquare

from rlbook.deep.exploration import epsilon_greedy, falling

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_epsilon_falls_along_a_line_and_stays():
    """Prevents exploration that goes on falling, or rises again."""
    found = [float(falling(1.0, 0.2, 0.5, jnp.float32(progress))) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert np.allclose(found, [1.0, 0.6, 0.2, 0.2, 0.2])


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_actions_are_as_likely_as_they_should_be(epsilon):
    """Prevents an action that is never tried, and greedy actions that leave out ties or random ones."""
    draws = 20_000
    q = jnp.asarray([0.0, 2.0, 1.0, 2.0, -1.0])
    keys = jax.random.split(jax.random.key(0), draws)
    actions = jax.jit(jax.vmap(epsilon_greedy, (None, None, 0)))(q, epsilon, keys)
    assert actions.dtype == jnp.int32
    chance = np.full(5, epsilon / 5) + (1 - epsilon) * np.eye(5)[1]
    counts = np.bincount(actions, minlength=5)
    assert np.array_equal(counts > 0, chance > 0)
    if epsilon > 0:
        assert chisquare(counts, draws * chance).pvalue > 1e-3
