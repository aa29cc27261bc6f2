"""The unrolled generator is JAX's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp

from rlbook.deep.threefry import fold_in, integer_below, uniform

SEEDS = (0, 2**32 - 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_are_jaxs_own(seed):
    """Prevents numbers that change when somebody draws with `jax.random` from the same key."""
    key = jax.random.key(np.uint32(seed))
    for n in (0, 1, 77, 2**31 - 1, 2**32 - 1):
        n = np.uint32(n)
        expected = jax.random.key_data(jax.random.fold_in(key, n))
        assert np.array_equal(jax.random.key_data(fold_in(key, n)), expected)
        assert np.array_equal(jax.random.key_data(jax.jit(fold_in)(key, n)), expected)


@pytest.mark.parametrize("shape", [(), (3, 5)])
def test_numbers_are_jaxs_own(shape):
    for seed in SEEDS:
        key = jax.random.key(np.uint32(seed))
        assert np.array_equal(uniform(key, shape), jax.random.uniform(key, shape))
        ours, theirs = uniform(key, shape, -0.05, 0.05), jax.random.uniform(key, shape, minval=-0.05, maxval=0.05)
        assert np.allclose(ours, theirs, rtol=0, atol=1e-8)
        assert np.all((ours >= np.float32(-0.05)) & (ours < np.float32(0.05)))


def test_many_keys_at_once():
    keys = jax.random.split(jax.random.key(0), 100)
    assert np.array_equal(jax.vmap(uniform)(keys), jax.vmap(jax.random.uniform)(keys))


def test_keys_of_another_kind_are_passed_on():
    """Prevents a crash, or other numbers, where somebody prefers another generator."""
    key = jax.random.key(3, impl="rbg")
    assert np.array_equal(jax.random.key_data(fold_in(key, 5)), jax.random.key_data(jax.random.fold_in(key, 5)))
    assert np.array_equal(uniform(key, (3,)), jax.random.uniform(key, (3,)))


def test_whole_numbers_are_all_drawn():
    drawn = np.asarray(jax.vmap(lambda key: integer_below(key, 6))(jax.random.split(jax.random.key(0), 6_000)))
    counts = np.bincount(drawn)
    assert drawn.dtype == np.int32
    assert len(counts) == 6
    assert np.all(np.abs(counts - 1_000) < 4.5 * np.sqrt(6_000 * 5 / 36))
    assert int(jnp.float32(1 - 2**-23) * 10) == 9
