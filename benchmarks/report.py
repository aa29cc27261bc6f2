"""What every benchmark prints and keeps: one table, one JSON file, and the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / ".artifacts" / "benchmarks"
REPETITIONS = 5


@dataclass(frozen=True)
class Row:
    """One measurement: what, whose, the median and its unit, the goal where there is one, and a remark.

    A median of None stands for one that failed; the remark says how.
    """

    what: str
    who: str
    median: float | None
    unit: str
    goal: float | None = None
    remark: str = ""


def median_seconds(run: Callable[[], Any], repetitions: int = REPETITIONS) -> float:
    """Median time of a call, after one call that warms up compilers and caches."""
    run()
    taken = []
    for _ in range(repetitions):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def publish(name: str, rows: list[Row], packages: tuple[str, ...] = ()) -> None:
    """Print the table of a benchmark and write it, with machine and versions, as JSON."""
    record = {
        "benchmark": name,
        "machine": machine(),
        "versions": versions(packages),
        "rows": [asdict(r) for r in rows],
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{name} on {record['machine']}; {', '.join(f'{k} {v}' for k, v in record['versions'].items())}")
    for row in rows:
        goal = "" if row.goal is None else f"(goal {row.goal:g})"
        median = "-" if row.median is None else f"{row.median:.4g}"
        print(f"  {row.what:<58} {row.who:<38} {median:>10} {row.unit:<4} {goal:<14} {row.remark}")


def machine() -> str:
    """Processor and number of cores."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of Python, rlbook and the peers."""
    found = {"python": platform.python_version()}
    for package in ("rlbook", "numpy", "numba", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
