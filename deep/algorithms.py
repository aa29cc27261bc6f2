"""The algorithms by name; JAX is loaded when one is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rlbook.errors import UnknownNameError

if TYPE_CHECKING:
    from rlbook.deep.algorithm import Algorithm

_MODULES = ("dqn", "c51", "qr_dqn", "pqn", "stream_q")  # each is named like its algorithm


def names() -> tuple[str, ...]:
    """Names of all algorithms."""
    return _MODULES


def algorithm(name: str) -> Algorithm:
    """The algorithm of this name; raises UnknownNameError with the nearest ones."""
    if name not in _MODULES:
        raise UnknownNameError("algorithm", name, _MODULES)
    found: Algorithm = importlib.import_module(f"rlbook.deep.{name}").ALGORITHM
    return found
