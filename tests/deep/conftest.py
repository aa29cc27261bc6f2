"""What tests of the deep frame share."""

from __future__ import annotations

import pytest


@pytest.fixture
def double_precision():
    """float64 in JAX, so that a derivation can be compared to its last digits."""
    jax = pytest.importorskip("jax", reason="the extra `deep` is not installed")
    slowly = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)  # these programs run for less time than they compile
    with jax.enable_x64(True):
        yield
    jax.config.update("jax_disable_most_optimizations", slowly)
