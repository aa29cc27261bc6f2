"""What tests of the deep frame share."""

from __future__ import annotations

import pytest


@pytest.fixture
def quick_compilation():
    """Programs that are compiled with little optimisation: most of these tests take longer to compile than to run.

    Only for programs that no test without this compiles as well: JAX would take the one for the other, and their last
    bits differ.
    """
    jax = pytest.importorskip("jax", reason="the extra `deep` is not installed")
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def double_precision(quick_compilation):
    """float64 in JAX, so that a derivation can be compared to its last digits."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="session")
def kept_programs():
    """What earlier runs compiled is taken from the disk, as it is for readers."""
    pytest.importorskip("jax", reason="the extra `deep` is not installed")
    from rlbook.deep.compilation_cache import keep_programs

    keep_programs()
