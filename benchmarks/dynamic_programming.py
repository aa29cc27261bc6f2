"""The race: every solver of rlbook and of its peers on nine MDPs, at the same accuracy.

Each solver runs in a process of its own (see `benchmarks.trial`) to a gap of 1e-3 (see `benchmarks.peers` for what each
library's tolerance means); its values are then held against bounds from rlbook that are a hundred times tighter, and
who is further off than the gap does not count. Shown is the median of five calls after one to warm up, or of one where
a call takes more than 10 seconds. Ratios compare `solve`, as it chooses by itself, with the best peer.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.instances import INSTANCES, Instance
from benchmarks.peers import PEERS, Solver, our_solvers, ours
from benchmarks.report import REPETITIONS, Row, publish
from benchmarks.trial import Limits, Outcome, attempt
from rlbook.errors import MissingExtraError
from rlbook.mdp import FiniteMDP

GAP = 1e-3
TIGHTER = 100.0
GOAL_LARGE, GOAL_SMALL, GOAL_MEAN = 5.0, 1.0, 10.0
RATIO = "best peer / rlbook solve"
_PATIENT = Limits(call=600.0, repetitions=0)  # for the bounds that all are held against


def main(arguments: Sequence[str] = ()) -> None:
    """Race, print and keep the tables."""
    chosen = _parse(arguments)
    limits = Limits(repetitions=chosen.repetitions)
    if chosen.quick:
        limits = replace(limits, call=10.0)
    if chosen.time_limit is not None:
        limits = replace(limits, build=chosen.time_limit, call=chosen.time_limit)
    mine = [solver for solver in our_solvers() if chosen.methods or solver.who == "rlbook solve"]
    solvers = [*mine, *(PEERS if chosen.peers else ())]
    rows: list[Row] = []
    ratios: list[float] = []
    for name in chosen.instance or INSTANCES:
        instance = INSTANCES[name]
        if chosen.quick:
            instance = replace(instance, title=f"{name}, small")
        try:
            mdp = instance.build(chosen.quick)
        except MissingExtraError as error:
            rows.append(Row(instance.title, "-", None, "s", None, str(error)))
            continue
        found = _race(instance, mdp, solvers, limits)
        rows += [entry.row for entry in found]
        ratio = _ratio(instance, found)
        if ratio is not None:
            rows.append(ratio)
            ratios += [ratio.median] if ratio.median is not None else []
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        rows.append(Row("geometric mean over instances", RATIO, mean, "x", GOAL_MEAN))
    name = "dynamic_programming" + ("_quick" if chosen.quick else "")
    publish(name, rows, ("scipy", "quantecon", "mdpsolver", "mdptoolbox-hiive"))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks dynamic_programming", description=__doc__)
    parser.add_argument("--instance", action="append", choices=INSTANCES, help="race on this one only; repeatable")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all runs")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="race against peers")
    parser.add_argument(
        "--methods", action=argparse.BooleanOptionalAction, default=True, help="race all methods, not only solve"
    )
    parser.add_argument("--time-limit", type=float, help="seconds for building a peer's model, and for each call")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="timed calls of each solver")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Entry:
    """A row of the race, and at how many seconds the solver was stopped (0 if it was not)."""

    solver: Solver
    row: Row
    stopped_at: float


def _race(instance: Instance, mdp: FiniteMDP, solvers: Sequence[Solver], limits: Limits) -> list[Entry]:
    """One row per solver, with the error that it made."""
    _say(f"{instance.title}: {mdp}, {mdp.nbytes / 1e6:.0f} MB")
    truth = attempt(ours("auto"), mdp, GAP / TIGHTER, _PATIENT)
    if truth.values is None:
        _say(f"  no bounds to hold the others against: {truth.failure}")
    found = []
    for solver in solvers:
        outcome = attempt(solver, mdp, GAP, limits)
        row = _row(instance, solver, outcome, truth, limits)
        _say(f"  {row.who:<38} {'-' if row.median is None else f'{row.median:.4g}'} {row.remark}")
        found.append(Entry(solver, row, outcome.at_least))
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _row(instance: Instance, solver: Solver, outcome: Outcome, truth: Outcome, limits: Limits) -> Row:
    if outcome.median is None or outcome.values is None:
        return Row(instance.title, solver.who, None, "s", None, outcome.failure)
    words = [outcome.detail] if outcome.detail else []
    median: float | None = outcome.median
    if truth.values is not None:
        error = float(np.abs(outcome.values - truth.values).max())
        words.append(f"error {error:.0e}")
        if not error <= GAP * (1 + 1 / TIGHTER):  # NaN fails too
            words.append(f"after {outcome.median:.4g} s: not accurate enough to count")
            median = None
    if len(outcome.seconds) < limits.repetitions:
        words.append(f"{len(outcome.seconds)} repetition")
    return Row(instance.title, solver.who, median, "s", None, ", ".join(words))


def _ratio(instance: Instance, found: list[Entry]) -> Row | None:
    """The best peer's time over that of `solve`; None without peers. Where all peers were stopped, a lower bound."""
    mine = next(entry.row.median for entry in found if entry.solver.who == "rlbook solve")
    peers = [entry for entry in found if not entry.solver.ours]
    if not peers:
        return None
    finished = [(entry.row.median, entry.row.who) for entry in peers if entry.row.median is not None]
    stopped = max(entry.stopped_at for entry in peers)
    ratio: float | None = None
    if mine is None:
        remark = "solve failed"
    elif finished:
        best, who = min(finished)
        ratio, remark = best / mine, f"best peer: {who}"
    elif stopped:
        ratio, remark = stopped / mine, f"at least: the peers that apply were stopped after {stopped:g} s"
    else:
        remark = "no peer solved it"
    return Row(instance.title, RATIO, ratio, "x", GOAL_LARGE if instance.large else GOAL_SMALL, remark)


if __name__ == "__main__":
    main(sys.argv[1:])
