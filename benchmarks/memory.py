"""Peak memory of every method beyond the MDP itself, in a process of its own.

Measured is the highest resident memory of a second call less what the process held before it, so that compilers and
caches of the first call do not count. Shown is MDP and method together in units of the MDP's own arrays. The goal is
1.3 of them, plus the rows of one policy and eight vectors. Linux only: the kernel's record of the peak is reset.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.instances import INSTANCES
from benchmarks.peers import Solver, our_solvers
from benchmarks.report import Row, publish
from benchmarks.trial import Limits, in_process
from rlbook.errors import MissingExtraError
from rlbook.mdp import FiniteMDP

GAP = 1e-3
USUAL = ("random-sparse", "grid-0.999", "slow-chain")
GOAL, VECTORS = 1.3, 8
PATIENCE = 45.0  # seconds for a call; who needs longer is shown so
_TRANSITION_BYTES, _PAIR_BYTES = 12, 24  # next state and probability; row pointer, end of what continues, reward


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--instance", action="append", choices=INSTANCES, help=f"repeatable; usually {USUAL}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all runs")
    chosen = parser.parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists():
        print("memory: skipped, this needs Linux")
        return
    rows: list[Row] = []
    for name in chosen.instance or USUAL:
        try:
            mdp = INSTANCES[name].build(chosen.quick)
        except MissingExtraError as error:
            rows.append(Row(name, "-", None, "x", None, str(error)))
            continue
        print(f"{name}: {mdp}", file=sys.stderr, flush=True)
        rows += [_row(name, solver, mdp) for solver in our_solvers()]
    publish("memory_quick" if chosen.quick else "memory", rows, ("scipy",))


def goal(mdp: FiniteMDP) -> float:
    """Bytes of MDP and method that are well used, in units of the MDP's own."""
    row = mdp.n_transitions / mdp.n_pairs * _TRANSITION_BYTES + _PAIR_BYTES
    return GOAL + mdp.n_states * (row + 8 * VECTORS) / mdp.nbytes


def _row(name: str, solver: Solver, mdp: FiniteMDP) -> Row:
    stages = [("a call", PATIENCE)] * 2
    failure, extra = in_process(lambda send: _measure(solver, mdp, send), stages, lambda _: True, Limits(call=PATIENCE))
    what = f"{name}, MDP of {mdp.nbytes / 1e6:.0f} MB and method"
    if failure:
        return Row(what, solver.who, None, "x", round(goal(mdp), 2), failure)
    remark = f"{extra / 1e6:.1f} MB beyond the MDP"
    return Row(what, solver.who, 1 + extra / mdp.nbytes, "x", round(goal(mdp), 2), remark)


def _measure(solver: Solver, mdp: FiniteMDP, send: Callable[[Any], None]) -> None:
    runner = solver.prepare(mdp, GAP)
    runner.ready()
    runner.solve()
    send("warm")
    runner.ready()
    before = resident_after_cleaning()
    runner.solve()
    send("done")
    send(_status("VmHWM") - before)


def resident_after_cleaning() -> int:
    """Bytes resident once all that can be is given back; the record of the peak starts again from here."""
    gc.collect()
    with suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)  # freed blocks that it keeps would hide what is taken again
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    main(sys.argv[1:])
