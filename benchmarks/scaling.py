"""Time from 1e4 to 1e7 states: a queueing network of two stations, stored, and as functions of state and action.

The work per state stays the same: discount 0.95, costs scaled to one range, a gap of 1e-3. Shown is the slope of log
time over log states (1 is linear; the goal is 1.1 at most), over all sizes that ran.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.queue_functions import queue_functions
from benchmarks.report import Row, publish
from benchmarks.trial import SLOW, Limits, in_process
from rlbook import make

GAP = 1e-3
GOAL = 1.1
STATES = (10_000, 100_000, 1_000_000, 10_000_000)
REPETITIONS = 3


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    parser.add_argument("--states", action="append", type=int, help=f"repeatable; usually {STATES}")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="one only; repeatable")
    chosen = parser.parse_args(arguments)
    rows: list[Row] = []
    for family in chosen.family or FAMILIES:
        points = []
        for states in chosen.states or STATES:
            seconds, remark = _seconds(family, states)
            print(f"{family}, {states} states: {seconds} s {remark}", file=sys.stderr, flush=True)
            rows.append(Row(f"queueing network, {states:.0e} states", f"rlbook, {family}", seconds, "s", None, remark))
            if seconds is not None:
                points.append((states, seconds))
        if len(points) > 1:
            slope = float(np.polyfit(*np.log(np.array(points)).T, 1)[0])
            what = f"slope of log time, {points[0][0]:.0e} to {points[-1][0]:.0e} states"
            rows.append(Row(what, f"rlbook, {family}", slope, "", GOAL))
    publish("scaling", rows, ("scipy",))


def _parameters(states: int) -> dict[str, Any]:
    room = round(states**0.5) - 1
    return {"room": room, "holding_cost": 10.0 / room, "discount": 0.95}


def _stored(states: int) -> Callable[[], Any]:
    mdp = make("queue-network", stations=2, **_parameters(states))
    return lambda: mdp.replace(discount=mdp.discount)  # nothing kept from the last call


def _matrix_free(states: int) -> Callable[[], Any]:
    return queue_functions(**_parameters(states))


# Each makes, for a number of states, a function that gives a model of which nothing is known yet.
FAMILIES: dict[str, Callable[[int], Callable[[], Any]]] = {"stored": _stored, "matrix-free": _matrix_free}


def _seconds(family: str, states: int) -> tuple[float | None, str]:
    taken: list[float] = []

    def take(message: Any) -> bool:
        if isinstance(message, float):
            taken.append(message)
            return len(taken) < REPETITIONS and message <= SLOW
        return True

    stages = [("building its model", 300.0), *[("a call", 300.0)] * (1 + REPETITIONS)]
    failure, last = in_process(lambda send: _repeat(family, states, send), stages, take, Limits(call=300.0))
    if not taken:
        return None, failure
    return float(np.median(taken)), failure or f"{last}, {len(taken)} repetitions"


def _repeat(family: str, states: int, send: Callable[[Any], None]) -> None:
    from rlbook.tabular import modified_policy_iteration, solve

    fresh = FAMILIES[family](states)
    method = solve if family == "stored" else modified_policy_iteration
    send("built")
    method(fresh(), GAP)
    send("warm")
    for _ in range(REPETITIONS):
        model = fresh()
        started = time.perf_counter()
        solution = method(model, GAP)
        took = time.perf_counter() - started
        send(took)
        if took > SLOW:
            break
    send(f"{solution.method}, {solution.reason}")


if __name__ == "__main__":
    main(sys.argv[1:])
