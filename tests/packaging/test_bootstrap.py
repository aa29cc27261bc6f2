"""The set-up behind `make`: what it installs, when it does nothing, and what it says when it cannot go on.

The clones here hold the project's Makefile and set-up with a package of three lines, so that no network is needed.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKEND = """
import os, time, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    while os.path.exists("slow"):
        open("building", "w").close()
        time.sleep(0.02)
    name = "rlbook-0.1.0-py3-none-any.whl"
    files = {
        "rlbook_small.py": "import sys\\ndef main(): print('rlbook', *sys.argv[1:])\\n",
        "rlbook-0.1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: rlbook\\nVersion: 0.1.0\\n"
        "Provides-Extra: book\\nProvides-Extra: deep\\nProvides-Extra: test\\n" + open("needs.txt").read(),
        "rlbook-0.1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "rlbook-0.1.0.dist-info/entry_points.txt": "[console_scripts]\\nrlbook = rlbook_small:main\\n",
        "rlbook-0.1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


class Clone:
    """A small clone; `make` runs in it without any of the reader's own pip settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir(parents=True)
        for name in ("Makefile", ".ci/bootstrap.py", ".ci/failures.py"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "pyproject.toml").write_text(PROJECT)
        (folder / "backend.py").write_text(BACKEND)
        for name in ("constraints.txt", "setup.py", "needs.txt"):
            (folder / name).touch()

    @property
    def log(self) -> str:
        return (self.folder / ".venv" / "setup.log").read_text()

    @property
    def pip_runs(self) -> int:
        return self.log.count("-m pip install")

    def environment(self, **settings: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE", "PYTHON"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PATH": path} | settings

    def command(self, python: str | Path, *goals: str) -> list[str]:
        return ["make", "--no-print-directory", f"PYTHON={python}", *goals]

    def make(self, *goals: str, python: str | Path = sys.executable, **settings: str) -> tuple[int, str, str]:
        """Exit code, stdout, and the lines of stderr that say what is wrong, joined."""
        done = subprocess.run(
            self.command(python, *(goals or ("lab",))),
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, "\n".join(x for x in done.stderr.splitlines() if "error:" in x)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "a clone")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that is set up; tests that use it leave it set up."""
    clone = Clone(tmp_path_factory.mktemp("made") / "a clone")
    assert clone.make()[0] == 0, clone.log
    return clone


def pretender(folder: Path, before: str) -> Path:
    """A Python that runs `before` first, to pass for one that is older or lacks a module."""
    lines = f"import sys, runpy\n{before}\nsys.argv = sys.argv[1:]\nsys.path.insert(0, '.ci')\n"
    (folder / "start.py").write_text(lines + "runpy.run_path(sys.argv[0], run_name='__main__')\n")
    script = folder / "python-pretender"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\nexec "{sys.executable}" "{folder}/start.py" "$@"\n'
    )
    script.chmod(0o755)
    return script


def test_make_lab_passes_port_and_arguments_on(made: Clone) -> None:
    """Prevents: `make lab PORT=9999 ARGS=--no-browser` that ignores either."""
    code, said, _ = made.make("lab", "PORT=9999", "ARGS=--no-browser")
    assert (code, said.strip()) == (0, "rlbook lab --dir my-chapters --port 9999 -- --no-browser")


@pytest.mark.serial
def test_a_second_start_runs_no_pip_and_is_quick(made: Clone) -> None:
    """Prevents: a start that installs again, or that goes by file times, which every `git clone` renews."""
    before = made.pip_runs
    for path in made.folder.glob("*.t*"):
        path.touch()
    started = time.perf_counter()
    assert made.make()[0] == 0
    assert time.perf_counter() - started < 5.0
    assert made.pip_runs == before


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "setup.py"])
def test_a_changed_file_installs_again_in_place(made: Clone, name: str) -> None:
    """Prevents: a pin that changed with `git pull` and never reaches the reader."""
    kept = made.folder / ".venv" / "kept"
    kept.touch()
    before = made.pip_runs
    with (made.folder / name).open("a") as file:
        file.write("# changed\n")
    assert made.make()[0] == 0
    assert made.pip_runs == before + 1
    assert kept.exists()


def test_more_extras_are_added_and_fewer_do_nothing(made: Clone) -> None:
    """Prevents: `make lab` and `make test` undoing each other at every turn."""
    (made.folder / ".ci" / "check.py").touch()
    before = made.pip_runs
    assert made.make("test")[0] == 0
    assert ".[book,deep,test]" in made.log
    assert made.make("lab")[0] == 0
    assert made.pip_runs == before + 1


def test_a_package_that_went_away_is_installed_again(made: Clone) -> None:
    """Prevents: a stamp that vouches for what a reader's own `pip uninstall` removed."""
    subprocess.run(
        [made.folder / ".venv/bin/python", "-m", "pip", "uninstall", "-q", "-y", "rlbook"],
        env=made.environment(),
        check=True,
    )
    assert made.make()[0] == 0
    assert (made.folder / ".venv" / "bin" / "rlbook").exists()


def test_a_changed_file_without_registry_is_one_line_and_keeps_what_is_installed(made: Clone) -> None:
    """Prevents: a reader on a train who pulls, starts, and has no rlbook left."""
    kept = made.folder / ".venv" / "kept-offline"
    kept.touch()
    needs = made.folder / "needs.txt"
    with (made.folder / "constraints.txt").open("a") as file:
        file.write("# changed again\n")
    needs.write_text("Requires-Dist: surely-not-there\n")
    code, _, wrong = made.make()
    assert code != 0
    assert wrong.count("\n") == 0
    assert wrong.startswith("rlbook: error: no package registry that pip is set to use offers surely-not-there for")
    needs.write_text("")
    assert made.make()[0] == 0
    assert kept.exists()


def test_a_full_disk_is_one_line_and_a_rerun_recovers(made: Clone) -> None:
    """Prevents: a traceback out of a write that the disk refused."""
    log = made.folder / ".venv" / "setup.log"
    log.unlink()
    log.symlink_to("/dev/full")
    with (made.folder / "constraints.txt").open("a") as file:
        file.write("# changed once more\n")
    code, _, wrong = made.make()
    assert code != 0
    assert wrong.count("\n") == 0
    assert "error: no space left on the disk; free about" in wrong
    log.unlink()
    assert made.make()[0] == 0


def test_a_clone_that_moved_is_set_up_again(made: Clone, tmp_path: Path) -> None:
    """Prevents: scripts that point to where the clone used to be."""
    shutil.copytree(made.folder, tmp_path / "moved", symlinks=True)
    moved = copy.copy(made)
    moved.folder = tmp_path / "moved"
    assert moved.make()[0] == 0
    assert str(moved.folder) in (moved.folder / ".venv/bin/rlbook").read_text()


def test_too_old_a_python_is_one_line(clone: Clone, tmp_path: Path) -> None:
    """Prevents: a SyntaxError, or a pip error forty lines long, on a Python of 2019."""
    code, _, wrong = clone.make(python=pretender(tmp_path, "sys.version_info = (3, 8, 18, 'final', 0)"))
    assert code != 0
    assert wrong.count("\n") == 0
    assert wrong.startswith("rlbook: error: Python 3.8.18 at ")
    assert "is too old: rlbook needs 3.11 or newer; install one, or say where it is with PYTHON=" in wrong
    assert not (clone.folder / ".venv").exists()


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_no_venv_module_is_one_line(clone: Clone, tmp_path: Path, module: str) -> None:
    """Prevents: Debian's Python without python3-venv leaving half a `.venv` and a page of advice."""
    code, _, wrong = clone.make(python=pretender(tmp_path, f"sys.modules[{module!r}] = None"))
    assert code != 0
    assert wrong.count("\n") == 0
    assert "has no venv module; install it (Debian and Ubuntu: apt install python3." in wrong
    assert not (clone.folder / ".venv").exists()


def test_a_python_that_does_not_run_is_one_line(clone: Clone) -> None:
    """Prevents: PYTHON=nonsense falling back to another Python in silence."""
    code, _, wrong = clone.make(python="/nowhere/python")
    assert code != 0
    assert wrong.startswith("rlbook: error: PYTHON=/nowhere/python does not run; install Python 3.11 or newer")
    assert wrong.count("\n") == 0


def test_no_registry_is_one_line_and_a_rerun_recovers(clone: Clone) -> None:
    """Prevents: pip's wall of text, and a half-made `.venv` that the next run takes for whole."""
    (clone.folder / "needs.txt").write_text("Requires-Dist: surely-not-there\n")
    code, _, wrong = clone.make(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_NO_INDEX="0", PIP_RETRIES="0")
    assert code != 0
    assert wrong.count("\n") == 0
    assert wrong.startswith("rlbook: error: the package registry cannot be reached; check network, proxy and")
    (clone.folder / "needs.txt").write_text("")
    assert clone.make()[0] == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_rerun_recovers_from_an_interrupted_install(made: Clone, how: signal.Signals) -> None:
    """Prevents: ctrl-C, or a machine that went down, leaving a `.venv` that never works again."""
    with (made.folder / "constraints.txt").open("a") as file:
        file.write(f"# changed before {how.name}\n")
    (made.folder / "slow").touch()
    running = subprocess.Popen(
        made.command(sys.executable, "lab"),
        cwd=made.folder,
        env=made.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (made.folder / "building").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, how)
    assert running.wait(timeout=20) != 0
    (made.folder / "slow").unlink()
    (made.folder / "building").unlink()
    stamp = json.loads((made.folder / ".venv" / "rlbook-setup.json").read_text())
    assert bool(stamp) == (how is signal.SIGINT), "only a set-up that could still say so vouches for what is installed"
    assert made.make()[0] == 0


def test_a_rerun_recovers_from_a_half_made_folder(clone: Clone) -> None:
    """Prevents: a cut-off `.venv` with a stamp of zero bytes ending every later start."""
    (clone.folder / ".venv" / "bin").mkdir(parents=True)
    (clone.folder / ".venv" / "rlbook-setup.json").touch()
    assert clone.make()[0] == 0
    stamp = json.loads((clone.folder / ".venv" / "rlbook-setup.json").read_text())
    assert stamp["extras"] == ["book"]


@pytest.mark.parametrize("name", ["bootstrap.py", "failures.py"])
def test_the_set_up_keeps_to_the_syntax_of_python_3_6(name: str) -> None:
    """Prevents: a SyntaxError where a reader with an old Python should get a sentence."""
    source = (ROOT / ".ci" / name).read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__ import annotations" not in source
    assert "capture_output" not in source
