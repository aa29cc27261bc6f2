"""Compiles kernels and JAX programs before they are needed, so that the first slider is not slow."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from rlbook import kernel as kernels
from rlbook.cli.warming_programs import labs_to_run, run_lab
from rlbook.errors import RlbookError
from rlbook.processes import cores, processes


@dataclass(frozen=True)
class Warmed:
    """How many kernels are ready, of how many labs programs were compiled, the seconds it took, the kernels' folder."""

    kernels: int
    labs: int
    seconds: float
    folder: Path


def warm(packages: tuple[ModuleType, ...], progress: Callable[[float, str], None], jobs: int | None = None) -> Warmed:
    """Compile every kernel that the packages' modules define and the cache lacks; forget those of old sources.

    Then the JAX programs of their labs, where JAX is installed and they are not on the disk (`warming_programs`).

    progress: called with the fraction done, in [0, 1], and a kernel or lab that is ready. jobs: how many processes
    compile, by default one for each core: Numba compiles one function at a time in a process. Raises RlbookError where
    no folder of the reader's can be written, so that all would be lost when this process ends, and for jobs below 1.
    """
    if jobs is not None and jobs < 1:
        raise RlbookError(f"jobs is {jobs}, but at least one process has to compile; leave it out for one per core")
    began = time.perf_counter()
    folder = kernels.cache_folder()
    if folder.parent.name != "kernels":
        raise RlbookError(
            "no folder for compiled kernels can be written, so they would be lost; set RLBOOK_CACHE to one"
        )
    progress(0.0, "importing")
    for package in packages:
        for name in _modules(package):
            _import(name)
    every = [kernel.name for kernel in kernels.all_kernels()]
    labs = labs_to_run(packages)
    total = len(every) + len(labs)
    with processes(min(jobs or cores(), len(every))) as pool:
        compiling = {pool.submit(_compile, name): name for name in every}
        for done, future in enumerate(as_completed(compiling), start=1):
            future.result()
            progress(done / total, compiling[future].removeprefix("rlbook."))
    kernels.forget_old_caches()
    if labs:
        # In fresh processes: those before hold what compiling left, and labs run kernels, all of which are ready now.
        with processes(min(jobs or cores(), len(labs))) as pool:
            running = {pool.submit(run_lab, type(lab).__module__, type(lab).__name__): lab.name for lab in labs}
            for done, future in enumerate(as_completed(running), start=len(every) + 1):
                future.result()
                progress(done / total, running[future])
    return Warmed(len(every), len(labs), time.perf_counter() - began, folder)


def _compile(name: str) -> None:
    kernels.named(name).compile()


def _modules(package: ModuleType) -> Iterator[str]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield module.name


def _import(name: str) -> None:
    """Import a module; one for hardware or extras that are not installed has no kernels to offer here."""
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rlbook":
            raise
