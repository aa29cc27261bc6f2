"""All labs that are installed: those of the chapters, and those of other distributions.

A chapter offers its labs by a module `labs` in its package with `LABS`, a tuple of lab classes or instances; another
distribution offers such a tuple, a lab class or a lab through an entry point of the group "rlbook.labs".
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from rlbook.errors import RlbookError, UnknownNameError
from rlbook.lab import Lab

GROUP = "rlbook.labs"

_lock = threading.RLock()
_found: tuple[Lab[Any, Any], ...] | None = None
_temporary: list[Lab[Any, Any]] = []


class RegistryWarning(UserWarning):
    """Labs of another distribution could not be loaded and are left out."""


def labs() -> dict[str, Lab[Any, Any]]:
    """Every lab by its name, ordered by chapter, then by name; the first call imports the chapters' labs.

    Raises RlbookError when two labs share a name. An entry point that cannot be loaded gives a RegistryWarning.
    """
    global _found
    with _lock:
        if _found is None:
            _found = (*_of_chapters(), *_of_entry_points())
        ordered = sorted((*_found, *_temporary), key=lambda lab: (lab.chapter, lab.name))
    named: dict[str, Lab[Any, Any]] = {}
    for lab in ordered:
        if lab.name in named:
            raise RlbookError(
                f"two labs are named {lab.name!r}, in {type(named[lab.name]).__module__} and {type(lab).__module__}; "
                "give one of them another name"
            )
        named[lab.name] = lab
    return named


def find_lab(name: str) -> Lab[Any, Any]:
    """The lab of this name; raises UnknownNameError with the nearest names."""
    known = labs()
    if name not in known:
        raise UnknownNameError("lab", name, known)
    return known[name]


@contextmanager
def registered(*temporary: type[Lab[Any, Any]] | Lab[Any, Any]) -> Iterator[None]:
    """Within the block, `labs` also lists these: for tests, and for trying out a lab that no package offers yet."""
    added = [_instance(lab) for lab in temporary]
    with _lock:
        _temporary.extend(added)
    try:
        yield
    finally:
        with _lock:
            for lab in added:
                _temporary.remove(lab)


def _of_chapters() -> Iterator[Lab[Any, Any]]:
    chapters = importlib.import_module(f"{__package__}.chapters")
    for chapter in pkgutil.iter_modules(chapters.__path__):
        name = f"{chapters.__name__}.{chapter.name}.labs"
        if chapter.ispkg and find_spec(name) is not None:
            module = importlib.import_module(name)
            if not hasattr(module, "LABS"):
                raise RlbookError(f"module {name} has no LABS; list its lab classes in LABS = (...)")
            yield from _instances(module.LABS)


def _of_entry_points() -> Iterator[Lab[Any, Any]]:
    for entry in entry_points(group=GROUP):
        try:
            yield from _instances(entry.load())
        # Whatever a stranger's module raises must not take the book down with it.
        except Exception as error:
            origin = f" of {entry.dist.name}" if entry.dist is not None else ""
            warnings.warn(
                f"the labs {entry.value!r}{origin} could not be loaded and are left out: "
                f"{type(error).__name__}: {error}",
                RegistryWarning,
                stacklevel=2,
            )


def _instances(offered: object) -> list[Lab[Any, Any]]:
    return [_instance(lab) for lab in (offered if isinstance(offered, tuple | list) else (offered,))]


def _instance(lab: object) -> Lab[Any, Any]:
    made = lab() if isinstance(lab, type) else lab
    if not isinstance(made, Lab):
        raise RlbookError(f"{lab!r} is offered as a lab, but is none; offer a subclass of rlbook.Lab")
    return made
