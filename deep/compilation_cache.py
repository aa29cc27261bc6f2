"""Compiled programs are kept on the disk: a second process has in a second what took the first one many."""

from __future__ import annotations

import os

import jax

from rlbook.caches import cache_base

_WORTH_KEEPING = 0.1  # seconds of compilation


def keep_programs() -> None:
    """Have JAX keep its programs beside the kernels, unless the caller of this process has said where, or has none.

    JAX's own settings win: JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE, or `jax.config`.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_base() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)
