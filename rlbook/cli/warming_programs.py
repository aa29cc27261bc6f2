"""Compiles the JAX programs of labs before they are needed, by running what their sliders show first.

A program follows from an agent, its sizes and its world, so that only running a lab finds it. Each lab whose folder
uses `rlbook.deep` is run in another process, with its canonical parameters and as few seeds as a preview has; what JAX
compiles is kept on the disk (`rlbook.deep.compilation_cache`). A note beside the programs says of which sources they
are, so that nothing is run twice.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from rlbook import module_sources, provenance
from rlbook.atomic_files import write_atomically
from rlbook.caches import cache_base
from rlbook.lab import Context, Lab
from rlbook.registry import labs


def labs_to_run(packages: tuple[ModuleType, ...]) -> list[Lab[Any, Any]]:
    """Labs of these packages whose programs are not on the disk yet; none where JAX is not installed."""
    if any(find_spec(package) is None for package in ("jax", "equinox", "optax")):
        return []
    inside = tuple(f"{package.__name__}." for package in packages)
    own = [lab for lab in labs().values() if type(lab).__module__.startswith(inside)]
    folders = {_folder(lab) for lab in own}
    deep = {folder for folder in folders if any(map(_uses_jax, module_sources.submodules(folder)))}
    return [lab for lab in own if _folder(lab) in deep and not _is_ready(lab)]


def run_lab(module: str, name: str) -> None:
    """Run the lab of this class with few seeds, which compiles and keeps its programs, and note that it was done."""
    lab: Lab[Any, Any] = getattr(import_module(module), name)()
    for parameters in lab.canonical:
        lab.run(parameters, range(lab.preview_seeds), Context())
    note = _note(lab)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(note, _state(lab).encode())


def _is_ready(lab: Lab[Any, Any]) -> bool:
    note = _note(lab)
    return note.is_file() and note.read_text(encoding="utf-8") == _state(lab)


def _note(lab: Lab[Any, Any]) -> Path:
    return cache_base() / "programs" / f"{lab.name}.ready"


def _state(lab: Lab[Any, Any]) -> str:
    module = type(lab).__module__
    return f"{provenance.source_digest(module)} {provenance.library_versions(module)}\n"


def _folder(lab: Lab[Any, Any]) -> str:
    return type(lab).__module__.rpartition(".")[0]


def _uses_jax(module: str) -> bool:
    source = module_sources.read(module)
    return source is not None and any(name.split(".")[:2] == ["rlbook", "deep"] for name in source.imports)
