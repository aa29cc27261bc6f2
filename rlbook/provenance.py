"""What a lab's numbers follow from besides its parameters and seed: its own sources, the libraries, the device.

The sources of a lab are found without running anything: the imports in its module, those inside functions included,
and theirs in turn. Editing a function in another file therefore changes the digest, and editing a module that the lab
does not reach does not.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rlbook import module_sources
from rlbook.errors import RlbookError

# Distributions whose version may move a number, by the name under which sources import or look them up.
ALWAYS = ("numpy", "numba", "scipy")
WHERE_USED = {
    "jax": ("jax", "jaxlib"),
    "equinox": ("equinox",),
    "optax": ("optax",),
    "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy"),
    "sympy": ("sympy",),
    "gymnasium": ("gymnasium",),
    "icu-sepsis": ("icu-sepsis",),
}


@dataclass(frozen=True)
class Provenance:
    """sources: SHA-256 of all sources; versions: "name version" pairs joined by ", "; device: see `device`."""

    sources: str
    versions: str
    device: str


@dataclass(frozen=True)
class _Trace:
    files: dict[str, Path]
    outside: frozenset[str]


def traceable(module_name: str) -> bool:
    """Whether the module's sources can be followed: not those of a notebook, a prompt or a script."""
    return module_name != "__main__" and module_sources.locate(module_name) is not None


@cache
def provenance(module_name: str) -> Provenance:
    """What the numbers of a lab defined in `module_name` follow from; raises RlbookError where it has no sources."""
    return Provenance(source_digest(module_name), library_versions(module_name), device())


@cache
def source_digest(module_name: str) -> str:
    """SHA-256, in hexadecimal, over the sources that `module_name` reaches, itself included; taken once per process.

    Reached are modules of rlbook but for its commands and widgets, modules of the module's own top package, the
    packages they lie in, and data files beside them that they name. Raises RlbookError where there is no source file.
    """
    digest = hashlib.sha256()
    for name, path in sorted(sources(module_name).items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def sources(module_name: str) -> dict[str, Path]:
    """The files behind `source_digest`, by module name (data files as "package/file name")."""
    return dict(_trace(module_name).files)


@cache
def library_versions(module_name: str | None = None) -> str:
    """Python and the libraries that move numbers, as "name version" pairs.

    module_name: also count the libraries that this module's sources use, such as JAX.
    """
    used = _trace(module_name).outside if module_name else frozenset()
    names = {*ALWAYS, *(name for key, names in WHERE_USED.items() if key in used for name in names)}
    pairs = [f"python {sys.version_info.major}.{sys.version_info.minor}"]
    for name in sorted(names):
        try:
            pairs.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(pairs)


def device() -> str:
    """What computes: "cpu" and the machine's architecture."""
    return f"cpu {platform.machine().lower() or 'unknown'}"


def forget() -> None:
    """Read all sources again at the next question, as a new process would."""
    for cached in (provenance, source_digest, library_versions, _trace, module_sources.read):
        cached.cache_clear()


@cache
def _trace(module_name: str) -> _Trace:
    if not traceable(module_name):
        raise RlbookError(
            f"module {module_name!r} has no source file to follow; put the lab into a module of a package, "
            "so that its results can be kept"
        )
    inside = ("rlbook", module_name.partition(".")[0])
    files: dict[str, Path] = {}
    outside: set[str] = set()
    waiting = [module_name]
    while waiting:
        for name in module_sources.reached(waiting.pop(), inside):
            if name in files:
                continue
            module = module_sources.read(name)
            if module is None:
                continue
            files[name] = module.path
            files |= {f"{module.package}/{path.name}": path for path in module.data}
            outside |= {wanted.partition(".")[0] for wanted in module.imports} | module.words
            waiting += module.imports
    return _Trace(files, frozenset(outside))
