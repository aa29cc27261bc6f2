"""Runs every check of the project and ends with how many tests passed; arguments go to pytest.

ruff, then mypy while `rlbook warm` compiles the kernels that tests need, then pytest; a failure of one does not keep
the next from running, and the exit code is not 0 if any of them failed. pytest runs twice: over what is marked `serial`
in one process, and behind it, over all else in as many processes as there are cores, on what processor time the first
leaves. With arguments it runs once, in one process, as they say. Run this file with the Python of `.venv`.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
# Lets every other process go first, and becomes the module named. Where Linux shares the processor between sessions
# before it shares it inside of them, niceness counts inside of a session alone, but for a session's own.
STEP_BACK = """
import contextlib, os, pathlib, runpy, sys
os.nice(19)
with contextlib.suppress(OSError):
    pathlib.Path("/proc/self/autogroup").write_text("19")
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
MOST_PROCESSES = 8  # each imports, and loads the kernels, for itself, which takes time and up to 2 GB


def package_folders() -> dict[str, str]:
    """The map from import name to folder, as setup.py has it."""
    return dict(runpy.run_path(str(ROOT / "setup.py"))["FOLDERS"])


def sources_digest() -> str:
    """A digest of all that mypy's answer depends on: the sources, its settings, the pinned versions, the Python."""
    total = hashlib.sha256(sys.version.encode())
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    for folder in package_folders().values():
        files += sorted((ROOT / folder).rglob("*.py"))
    for file in files:
        total.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def mypy() -> int:
    """Type-check the package laid out as an install lays it out: mypy does not follow the editable finder."""
    cache = ROOT / ".mypy_cache"
    passed = cache / "passed"
    digest = sources_digest()
    if passed.is_file() and passed.read_text() == digest:
        print("mypy: nothing changed since it last passed", flush=True)
        return 0
    site = cache / "site"
    shutil.rmtree(site, ignore_errors=True)
    for name, folder in package_folders().items():
        shutil.copytree(
            ROOT / folder,
            site.joinpath(*name.split(".")),
            ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".*"),
            dirs_exist_ok=True,
        )
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache / "cache")]
    code = run("mypy", *settings, "-p", "rlbook", folder=site)
    if code == 0:
        passed.write_text(digest)
    return code


def run(module: str, *arguments: str, folder: Path | None = None, **settings: str) -> int:
    """Run `python -m module` with its output on ours, in the clone's root unless told; returns its exit code.

    settings: environment variables on top of ours.
    """
    print(f"$ {shlex.join([module, *arguments])}", flush=True)
    return subprocess.run(
        command(module, *arguments), cwd=folder or ROOT, env=os.environ | settings, check=False
    ).returncode


def start_behind(module: str, *arguments: str, log: Path, **settings: str) -> subprocess.Popen[bytes]:
    """Start `python -m module` in the clone's root on processor time that others leave; its output goes to `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", STEP_BACK, module, *arguments],
            cwd=ROOT,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def command(module: str, *arguments: str) -> list[str]:
    # -P: the current folder must not make `tabular` or `tests` importable under their bare names.
    return [sys.executable, "-P", "-m", module, *arguments]


def all_tests() -> int:
    """Run what is marked `serial`, and behind it the rest on all cores; say what came of both; return an exit code."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Worksteal keeps neighbours in one process, and with them what a file computes once for all of its tests.
    shared = ["-n", str(min(cores, MOST_PROCESSES)), "--dist", "worksteal"]
    began, total, parts = time.monotonic(), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        log, *reports = (Path(folder) / name for name in ("behind.log", "serial.xml", "behind.xml"))
        arguments = [
            ["-m", "serial", f"--junitxml={reports[0]}"],
            ["-m", "not serial", *shared, f"--junitxml={reports[1]}"],
        ]
        # One process for each core leaves no core for a second thread of BLAS in any of them.
        behind = start_behind("pytest", *arguments[1], log=log, OPENBLAS_NUM_THREADS="1")
        try:
            code = run("pytest", *arguments[0])
            print(f"$ {shlex.join(['pytest', *arguments[1]])}  # since the beginning; its output follows", flush=True)
            code = behind.wait() or code
        finally:
            if behind.poll() is None:
                os.killpg(behind.pid, signal.SIGTERM)
                behind.wait()
        print(log.read_text(errors="replace"), flush=True)
        for report, mark in zip(reports, ("serial", "not serial"), strict=True):
            tally, seconds = counted(report)
            total += tally
            parts.append(f"{tally.total()} {mark} in {seconds:.0f} s")
    outcomes = [f"{total[outcome]} {outcome}" for outcome in ("passed", "skipped", "failed") if total[outcome]]
    found = ", ".join(outcomes) or "nothing was tested"
    print(f"rlbook: {found} in {(time.monotonic() - began) / 60:.1f} min ({', '.join(parts)})", flush=True)
    return code


def counted(report: Path) -> tuple[Counter[str], float]:
    """How many tests passed, were skipped or failed, and in how many seconds, by pytest's own report.

    Where pytest died before it wrote one, nothing is counted.
    """
    if not report.is_file():
        return Counter(), 0.0
    suite = next(ElementTree.parse(report).iter("testsuite"))
    tests, skipped, failed, broken = (int(suite.get(name, 0)) for name in ("tests", "skipped", "failures", "errors"))
    outcomes = {"passed": tests - skipped - failed - broken, "skipped": skipped, "failed": failed + broken}
    return +Counter(outcomes), float(suite.get("time", 0))


def main() -> int:
    for name in ("PYTHONPATH", "MYPYPATH"):
        os.environ.pop(name, None)
    warming = subprocess.Popen([sys.executable, "-P", "-m", "rlbook", "warm"], cwd=ROOT)
    checks = {
        "ruff check": run("ruff", "check"),
        "ruff format": run("ruff", "format", "--check"),
        "mypy": mypy(),
        "rlbook warm": warming.wait(),
    }
    failed = [name for name, code in checks.items() if code != 0]
    if failed:
        print(f"rlbook: FAILED before pytest: {', '.join(failed)} (see above)", flush=True)
    code = run("pytest", *sys.argv[1:]) if sys.argv[1:] else all_tests()
    return code or (1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main())
