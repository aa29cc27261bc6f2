"""The `kernel` decorator: compiled functions with a cache that cannot go stale, and one lane for parallel ones.

A kernel is a nogil Numba function of plain arrays and scalars. Three traps, each seen, are closed here once:

- Numba's cache does not notice that a *callee in another file* changed and silently runs the old code; so the cache
  folder carries a digest of every source file of the book. Kernels defined elsewhere are not cached at all.
- The cache does not tell the serial from the parallel version of one function, and would load either for both; so each
  variant has a folder of its own.
- Numba raises where neither the package nor the home folder can be written; then a temporary folder is used.
- Two Python threads inside parallel kernels end the process under Numba's workqueue layer; so every parallel kernel
  enters through one lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
from numba import types

from rlbook.caches import cache_base
from rlbook.errors import RlbookError

Signature = tuple[Any, ...]

boolean, float64 = types.boolean, types.float64
int8, int32, int64 = types.int8, types.int32, types.int64
uint8, uint32, uint64 = types.uint8, types.uint32, types.uint64

# OpenMP threads that spin while they wait are quick alone, but on a machine that is busy otherwise (a browser drawing
# beside the kernel, say) each parallel region then waits for a thread that has no core: sleeping was 2 to 3 times
# faster there. This is read when Numba first starts its threads; a reader's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_KEPT_CACHES = 4


class _Process:
    """What kernels need to know of the process they run in."""

    def __init__(self) -> None:
        self.lane = threading.RLock()
        self.threads_started = False
        self.forked_after_threads = False

    def forked(self) -> None:
        """In a forked child: the lane may have been held by a thread that is gone, and so are Numba's threads."""
        self.lane = threading.RLock()
        self.forked_after_threads = self.threads_started


_state = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.forked)
_kernels: dict[str, Kernel] = {}


def reads(dtype: Any, ndim: int = 1) -> types.Array:
    """The type of a contiguous array that a kernel only reads, as `FiniteMDP` stores them."""
    return types.Array(dtype, ndim, "C", readonly=True)


def writes(dtype: Any, ndim: int = 1) -> types.Array:
    """The type of a contiguous array that belongs to the caller and may be written."""
    return types.Array(dtype, ndim, "C")


class Kernel:
    """A kernel that Python calls: a compiled dispatcher, its one signature, and whether it is parallel."""

    def __init__(self, function: Callable[..., Any], signature: Signature, parallel: bool, cached: bool = True) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}{'[parallel]' if parallel else ''}"
        self.signature = signature
        self.parallel = parallel
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        with _cache_folder_set("parallel" if parallel else "serial"):
            cached = cached and _is_ours(function)
            self.dispatcher = numba.njit(nogil=True, cache=cached, parallel=parallel)(function)

    def __call__(self, *arguments: Any) -> Any:
        if not self.parallel:
            return self.dispatcher(*arguments)
        if _state.forked_after_threads:
            raise RlbookError(
                f"{self.name} cannot run here: this process was forked after parallel kernels had run, and their "
                "threads do not survive that; start worker processes with multiprocessing's 'spawn' method"
            )
        with _state.lane:
            _state.threads_started = True
            return self.dispatcher(*arguments)

    def compile(self) -> None:
        """Compile for the declared signature, or load it from the cache."""
        self.dispatcher.compile(self.signature)


def kernel(*signature: Any, parallel: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Compile a function of plain arrays and scalars, lazily, for exactly the argument types given.

    `signature` lists the argument types (`reads(float64)`, `writes(int32)`, `float64`, ...): `rlbook warm` compiles for
    them, and a test checks that no other version ever arises. Within other kernels call `that_kernel.dispatcher`, or
    better share an `inline` function. There is no fastmath: it assumes no infinity, which breaks maxima that start at
    -inf, and reordered sums over indexed reads were many times slower where vector gathers are slow.
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        made = Kernel(function, signature, parallel)
        _kernels[made.name] = made
        return made

    return decorate


def kernel_of_functions(*signature: Any, parallel: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """As `kernel`, for a body that calls functions which a reader gave: compiled for this process alone.

    The cache could not tell that such a function changed, so there is none; and `rlbook warm` has nothing to compile
    before the functions are there, so these kernels are not among `all_kernels`.
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        return Kernel(function, signature, parallel, cached=False)

    return decorate


def inline(function: Callable[..., Any]) -> Any:
    """A helper that kernels call; compiled with its caller, so it needs no signature and no cache of its own."""
    return numba.njit(nogil=True, inline="always")(function)


def all_kernels() -> Iterator[Kernel]:
    """Every kernel of the modules imported so far."""
    yield from list(_kernels.values())


def named(name: str) -> Kernel:
    """The kernel of this `Kernel.name`; its module is imported if it has not been."""
    if name not in _kernels:
        import_module(name.partition("[")[0].rpartition(".")[0])
    return _kernels[name]


@cache
def kernel_sources_digest() -> str:
    """SHA-256, shortened, of all source files in the rlbook packages, and of Numba's version."""
    import rlbook

    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    for folder in _package_folders(rlbook):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: the user's cache, else a folder that lasts as long as this process."""
    folder = cache_base() / "kernels" / kernel_sources_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        import atexit

        temporary = Path(tempfile.mkdtemp(prefix="rlbook-kernels-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return temporary


def forget_old_caches() -> None:
    """Remove the compiled kernels of sources that no longer exist, but for the few most recent."""
    folder = cache_folder()
    if folder.parent.name != "kernels":
        return
    others = [path for path in folder.parent.iterdir() if path != folder and path.is_dir()]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_KEPT_CACHES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def _is_ours(function: Callable[..., Any]) -> bool:
    """Whether the digest covers the function's source: a kernel from elsewhere could go stale in the cache."""
    return function.__module__.startswith("rlbook.") and not function.__module__.startswith("rlbook.deep.")


def _package_folders(package: Any) -> list[Path]:
    import importlib.util

    folders = [Path(package.__file__).parent]
    for part in ("tabular", "chapters"):
        spec = importlib.util.find_spec(f"rlbook.{part}")
        if spec is not None and spec.submodule_search_locations:
            folders.append(Path(next(iter(spec.submodule_search_locations))))
    return folders


class _cache_folder_set:
    """While a function is decorated, Numba takes its cache folder from the configuration; others keep theirs."""

    def __init__(self, variant: str) -> None:
        self._variant = variant

    def __enter__(self) -> None:
        self._before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(cache_folder() / self._variant)

    def __exit__(self, *_: object) -> None:
        numba.config.CACHE_DIR = self._before
