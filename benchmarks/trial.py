"""One solver on one MDP, in a process of its own with limits of time and memory, so that none can harm the others.

Processes are forked: they share the MDP's arrays with the parent, which must not run a kernel itself (forked threads
are dead threads). This needs Linux or macOS.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import DoesNotApply, Solver
from rlbook.errors import RlbookError
from rlbook.mdp import FiniteMDP

SLOW = 10.0  # seconds from which one repetition is enough


@dataclass(frozen=True)
class Limits:
    """What a solver may take.

    build, call: seconds for building the model, and for each call. compiling: seconds more for the first call. memory:
    bytes beyond those of the parent. repetitions: timed calls after the first; with 0 of
    them the values are those of the first.
    """

    build: float = 90.0
    call: float = 60.0
    compiling: float = 30.0
    memory: float = 0.6 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    repetitions: int = 5


@dataclass
class Outcome:
    """What came of it: seconds of each timed call, the values found, (S,), and a remark; or how it failed.

    at_least: seconds that the solver needs at least, where it was stopped for taking so long.
    """

    seconds: list[float] = field(default_factory=list)
    failure: str = ""
    at_least: float = 0.0
    values: NDArray[np.float64] | None = None
    detail: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None


def attempt(solver: Solver, mdp: FiniteMDP, tol: float, limits: Limits) -> Outcome:
    """Let a solver warm up and repeat; a failure is part of the outcome and raises nothing."""
    try:
        version(solver.package)
    except PackageNotFoundError:
        return Outcome(failure="not installed")
    outcome = Outcome()
    build, call = ("building its model", limits.build), ("a call", limits.call)
    stages = [build, ("a call", limits.call + limits.compiling), *[build, call] * limits.repetitions]

    def take(message: Any) -> bool:
        if isinstance(message, float):
            outcome.seconds.append(message)
            return len(outcome.seconds) < limits.repetitions and message <= SLOW
        return True

    failure, last = in_process(lambda send: _repeat(solver, mdp, tol, limits.repetitions, send), stages, take, limits)
    if isinstance(last, tuple):
        outcome.values, outcome.detail = last
    outcome.failure = failure
    outcome.at_least = limits.call if failure.startswith("a call") else 0.0
    return outcome


def _repeat(solver: Solver, mdp: FiniteMDP, tol: float, repetitions: int, send: Callable[[Any], None]) -> None:
    runner = solver.prepare(mdp, tol)
    runner.ready()
    send("ready")
    runner.solve()
    send("warm")
    for _ in range(repetitions):
        runner.ready()
        send("ready")
        started = time.perf_counter()
        runner.solve()
        took = time.perf_counter() - started
        send(took)
        if took > SLOW:
            break
    send((runner.values(), runner.detail()))


def in_process(
    work: Callable[[Callable[[Any], None]], None],
    stages: list[tuple[str, float]],
    take: Callable[[Any], bool],
    limits: Limits,
) -> tuple[str, Any]:
    """Run `work` in a forked process; return why it failed ("" if it did not) and the last thing that it sent.

    stages: what is waited for, one message each, and for how many seconds; one more message ends it. take: called with
    each message; where it returns False, the next message is the last.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_guarded, args=(work, there, limits.memory), daemon=True)
    process.start()
    there.close()
    waiting = [*stages, ("handing over the result", 60.0)]
    try:
        while waiting:
            what, seconds = waiting.pop(0)
            if not here.poll(seconds):
                return f"{what} took more than {limits.call if what == 'a call' else seconds:.0f} s", None
            message = here.recv()
            if isinstance(message, BaseException):
                return _said(message), None
            if not take(message):
                waiting = waiting[-1:]
        return "", message
    except EOFError:
        process.join()
        return f"the process ended with code {process.exitcode}", None
    finally:
        process.kill()
        process.join()
        here.close()


def _guarded(work: Callable[[Callable[[Any], None]], None], pipe: Connection, memory: float) -> None:
    """In the child: limit the memory, keep the solver's prints away from the table, and report what goes wrong."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    _limit_memory(memory)
    try:
        work(pipe.send)
    except BaseException as error:
        try:
            pipe.send(error)
        except Exception:  # not every exception can be pickled
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
    os._exit(0)  # peers' threads and exit handlers are none of ours


def _limit_memory(memory: float) -> None:
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # no such file on macOS, where the limit is not enforced either
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + int(memory)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _said(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, (DoesNotApply, RlbookError)):
        return str(error)
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return text if len(text) < 120 else text[:117] + "..."
