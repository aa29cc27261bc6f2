"""The algorithms by name."""

from __future__ import annotations

import importlib

from rlbook.deep.algorithm import Algorithm
from rlbook.errors import UnknownNameError

# Where each is; modules are loaded when they are asked for.
_MODULES = {name: name for name in ("dqn", "c51", "qr_dqn", "pqn", "stream_q")}


def names() -> tuple[str, ...]:
    """Names of all algorithms."""
    return tuple(_MODULES)


def algorithm(name: str) -> Algorithm:
    """The algorithm of this name; raises UnknownNameError with the nearest ones."""
    if name not in _MODULES:
        raise UnknownNameError("algorithm", name, _MODULES)
    found: Algorithm = importlib.import_module(f"rlbook.deep.{_MODULES[name]}").ALGORITHM
    return found
