"""What gets installed: every module and every data file of the five folders, and nothing else."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = runpy.run_path(str(ROOT / "setup.py"))
FOLDERS: dict[str, str] = SETUP["FOLDERS"]
DATA = {".ipynb", ".js", ".css", ".json", ".npz", ".cu", ".md"}
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]
build_meta.build_wheel(folder)
build_meta.build_sdist(folder)
"""
IGNORED = shutil.ignore_patterns(
    ".venv", ".git", ".*cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist"
)


def shipped_files() -> Iterator[tuple[str, str]]:
    """Pairs of (path in an installation, path in the repository) of all that a reader needs."""
    for name, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            inner = path.relative_to(ROOT / folder)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
            if path.is_file() and not hidden and (path.suffix in DATA | {".py"} or path.name == "py.typed"):
                yield f"{name.replace('.', '/')}/{inner.as_posix()}", path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names inside the wheel and the sdist built from a copy of the clone, without the network."""
    base = tmp_path_factory.mktemp("built")
    clone = base / "clone"
    shutil.copytree(ROOT, clone, ignore=IGNORED)
    build = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(base)], cwd=clone, capture_output=True, text=True, check=False
    )
    assert build.returncode == 0, build.stderr
    (wheel,) = base.glob("*.whl")
    (sdist,) = base.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    return {"wheel": in_wheel, "sdist": in_sdist}


def test_every_folder_with_a_module_is_a_package() -> None:
    """Prevents: a new chapter without `__init__.py`, present in a clone and absent from every installation."""
    with_modules = {
        ".".join([name, *path.parent.relative_to(ROOT / folder).parts])
        for name, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
        if not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
    }
    assert with_modules == set(SETUP["packages"](str(ROOT)))


def test_the_package_list_follows_the_folders(tmp_path: Path) -> None:
    """Prevents: a list that is typed, or one that takes checkpoints and caches along."""
    for folder in [*FOLDERS.values(), "chapters/ch07_new", "rlbook/inner", "chapters/ch07_new/__pycache__"]:
        (tmp_path / folder).mkdir()
    for folder in [*FOLDERS.values(), "chapters/ch07_new"]:
        (tmp_path / folder / "__init__.py").touch()
    assert SETUP["packages"](str(tmp_path)) == sorted([*FOLDERS, "rlbook.chapters.ch07_new"])


def test_the_wheel_holds_every_file_under_its_import_name(distributions: dict[str, set[str]]) -> None:
    """Prevents: notebooks, scripts or data that work in a clone and are missing after `pip install`."""
    wanted = {installed for installed, _ in shipped_files()}
    assert wanted - distributions["wheel"] == set()
    assert any(name.startswith("rlbook/chapters/") and name.endswith(".ipynb") for name in wanted)
    assert any(name.endswith("/papers.json") for name in wanted)
    assert {f"{name.replace('.', '/')}/py.typed" for name in FOLDERS} <= wanted


def test_the_wheel_adds_one_name_to_site_packages(distributions: dict[str, set[str]]) -> None:
    """Prevents: a top-level `tabular`, `widgets` or `tests` that shadows somebody else's."""
    tops = {name.partition("/")[0] for name in distributions["wheel"]}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rlbook"}
    modules = {name for name in distributions["wheel"] if name.endswith(".py")}
    assert modules == {installed for installed, _ in shipped_files() if installed.endswith(".py")}


def test_the_sdist_holds_sources_tests_and_the_way_to_run_them(distributions: dict[str, set[str]]) -> None:
    """Prevents: an sdist from which neither the package nor its tests can be run."""
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    ways = {"pyproject.toml", "setup.py", "Makefile", "constraints.txt", ".ci/run", ".ci/bootstrap.py", "LICENSE"}
    assert (tests | ways | {stored for _, stored in shipped_files()}) - distributions["sdist"] == set()
    assert not [name for name in distributions["sdist"] if name.endswith(".pyc") or ".venv" in name]
