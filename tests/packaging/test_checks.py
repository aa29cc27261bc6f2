"""`.ci/check.py` and `.ci/run`: no failure gets lost, and the last word counts all tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_under_test", ROOT / ".ci" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STEPS = ["ruff check", "ruff format --check", "mypy", "pytest -m not serial", "pytest -m serial"]


class Process:
    """Stands in for a process beside the others."""

    def __init__(self, code: int) -> None:
        self.code = code

    def wait(self) -> int:
        return self.code

    def poll(self) -> int:
        return self.code


class Warming(Process):
    """Stands in for the process that compiles kernels."""

    failing = 0

    def __init__(self, command: list[str], cwd: Path) -> None:
        assert command[-2:] == ["rlbook", "warm"]
        super().__init__(self.failing)


@pytest.mark.parametrize("failing", [None, "rlbook warm", *STEPS])
def test_each_failure_reaches_the_exit_code(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str | None
) -> None:
    """Prevents: `make test` that is green because the last of its commands was."""
    ran: list[str] = []

    def run(module: str, *arguments: str, **settings: str) -> int:
        ran.append(" ".join([module, *arguments[:2]]))
        return int(ran[-1] == failing)

    def start_behind(module: str, *arguments: str, log: Path, **settings: str) -> Process:
        log.touch()
        return Process(run(module, *arguments))

    monkeypatch.setattr(check, "run", run)
    monkeypatch.setattr(check, "start_behind", start_behind)
    monkeypatch.setattr(check, "mypy", lambda: run("mypy"))
    monkeypatch.setattr(check.subprocess, "Popen", Warming)
    monkeypatch.setattr(Warming, "failing", int(failing == "rlbook warm"))
    monkeypatch.setattr(check.sys, "argv", ["check.py"])
    assert check.main() == int(failing is not None)
    assert ran == STEPS
    before = failing is not None and "pytest" not in failing
    assert ("FAILED before pytest: " in capsys.readouterr().out) == before


def test_arguments_go_to_one_pytest(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: `make test ARGS="-k name"` that fails because no test of that name is serial, or runs it twice."""
    ran: list[tuple[str, ...]] = []

    def run(*command: str) -> int:
        ran.append(command)
        return 5 if command[0] == "pytest" else 0

    monkeypatch.setattr(check, "run", run)
    monkeypatch.setattr(check, "mypy", lambda: 0)
    monkeypatch.setattr(check.subprocess, "Popen", Warming)
    monkeypatch.setattr(check.sys, "argv", ["check.py", "-k", "name"])
    assert check.main() == 5
    assert ran[2:] == [("pytest", "-k", "name")]


SETTINGS = '[tool.pytest.ini_options]\nmarkers = ["serial: alone"]\n'
ALONE = "import pytest\n@pytest.mark.serial\ndef test_alone(): assert {alone}\n"
SHARED = """
import os, pytest
def test_shared():
    assert os.environ["PYTEST_XDIST_WORKER"] and os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.nice(0) == 19
def test_skipped(): pytest.skip("why not")
def test_either(): {either}
"""


@pytest.mark.parametrize(
    ("alone", "either", "code", "outcomes"),
    [
        ("True", "...", 0, "3 passed, 1 skipped"),
        ("False", "...", 1, "2 passed, 1 skipped, 1 failed"),
        ("True", "os._exit(0)", 1, "2 passed, 1 skipped, 1 failed"),
        (None, "...", 5, "2 passed, 1 skipped"),
    ],
    ids=["all is well", "a serial test fails", "a process dies", "none is serial"],
)
def test_two_runs_of_pytest_count_as_one(
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    alone: str | None,
    either: str,
    code: int,
    outcomes: str,
) -> None:
    """Prevents: a failure or a count that the second run hides, a dead process, and a mark that nothing bears."""
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "test_shared.py").write_text(SHARED.format(either=either))
    if alone is not None:
        (tmp_path / "test_alone.py").write_text(ALONE.format(alone=alone))
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check.os, "sched_getaffinity", lambda _: {0, 1})
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    assert check.all_tests() == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"rlbook: {outcomes} in 0.")


def test_mypy_runs_again_after_a_change_and_only_then(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Prevents: a verdict about yesterday's sources, and one that is kept after a failure."""
    for name in ("setup.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in check.package_folders().values():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    layouts: list[list[str]] = []
    codes = iter([1, 0, 0])

    def run(module: str, *arguments: str, folder: Path) -> int:
        layouts.append(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")))
        return next(codes)

    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "run", run)
    (tmp_path / ".mypy_cache").mkdir()
    assert check.mypy() == 1
    assert check.mypy() == 0
    assert check.mypy() == 0
    assert len(layouts) == 2
    (tmp_path / "tabular" / "new.py").touch()
    assert check.mypy() == 0
    assert "rlbook/tabular/new.py" in layouts[2]
    assert not [path for path in layouts[2] if not path.startswith("rlbook/")]


class Machine:
    """A PATH that holds a few real tools and stand-ins for `make`, `apt-get`, `sudo` and a browser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for tool in ("bash", "dirname", "id", "mktemp", "tail", "rm"):
            os.symlink(shutil.which(tool) or tool, folder / tool)
        self.stand_in("make", "echo make $*; exit 7")

    def stand_in(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def ci(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bash", ROOT / ".ci" / "run"],
            env={"PATH": str(self.folder)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_ci_runs_make_test_and_hands_its_code_on(machine: Machine) -> None:
    """Prevents: CI that installs what is there already, or is green whatever the tests say."""
    machine.stand_in("chromium", "")
    machine.stand_in("apt-get", "echo must not run >&2")
    done = machine.ci()
    assert (done.returncode, done.stdout, done.stderr) == (7, "make test\n", "")


def test_ci_installs_chromium_where_there_is_none(machine: Machine) -> None:
    """Prevents: browser tests that are skipped in CI for ever."""
    machine.stand_in("sudo", 'shift; exec "$@"')
    machine.stand_in("apt-get", f'[ "$1" = update ] || : > "{machine.folder}/chromium"; PATH=/bin:/usr/bin\n'
                     f'[ "$1" = update ] || chmod +x "{machine.folder}/chromium"')  # fmt: skip
    done = machine.ci()
    assert (done.returncode, done.stdout, done.stderr) == (7, "make test\n", "")
    assert (machine.folder / "chromium").exists()


def test_ci_goes_on_and_says_so_when_chromium_cannot_be_installed(machine: Machine) -> None:
    """Prevents: a CI that ends, or keeps silent, because one package could not be fetched."""
    machine.stand_in("sudo", 'shift; exec "$@"')
    machine.stand_in("apt-get", "echo E: no such mirror >&2; exit 100")
    done = machine.ci()
    assert (done.returncode, done.stdout) == (7, "make test\n")
    assert "Chromium could not be installed (E: no such mirror); the browser tests will be skipped" in done.stderr
