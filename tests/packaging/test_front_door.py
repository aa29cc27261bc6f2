"""`import rlbook`: quick, complete, and right whichever folder it is found in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rlbook

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"numba", "plotly", "xarray", "pydantic", "sympy", "jax", "scipy", "gymnasium", "ipywidgets", "pandas", "numpy"}


def run_python(code: str, folder: Path) -> str:
    """What a fresh interpreter prints in `folder`."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_rlbook_loads_nothing_heavy(tmp_path: Path) -> None:
    """Prevents: half a second of imports before `rlbook --help` says its first word."""
    loaded = json.loads(run_python("import rlbook, sys, json; print(json.dumps(list(sys.modules)))", tmp_path))
    assert "rlbook" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


@pytest.mark.parametrize("name", sorted(set(rlbook.__all__) - {"__version__"}))
def test_every_public_name_resolves(name: str) -> None:
    """Prevents: a name in `__all__` whose home moved."""
    assert getattr(rlbook, name) is getattr(sys.modules[rlbook._EXPORTS[name]], name)
    assert name in dir(rlbook)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known() -> None:
    """Prevents: `hasattr(rlbook, ...)` ending in an ImportError."""
    with pytest.raises(AttributeError, match=r"no attribute 'FinitMDP'; public names: .*FiniteMDP"):
        _ = rlbook.FinitMDP


def test_the_table_of_exports_is_what_all_says() -> None:
    """Prevents: a lazy name that `from rlbook import *` forgets."""
    assert sorted([*rlbook._EXPORTS, "__version__"]) == sorted(rlbook.__all__)


@pytest.fixture
def small_clone(tmp_path: Path) -> Path:
    """The front door in a clone of its own, beside folders that hold one marked module each."""
    root = tmp_path / "clone"
    (root / "rlbook").mkdir(parents=True)
    for name in ("__init__.py", "_clone.py"):
        shutil.copy(ROOT / "rlbook" / name, root / "rlbook" / name)
    (root / "pyproject.toml").touch()
    for folder in ("tabular", "deep", "widgets", "chapters", "tests", "benchmarks"):
        (root / folder).mkdir()
        (root / folder / "__init__.py").write_text("MARK = 'small clone'\n")
    return root


@pytest.mark.parametrize("folder", ["tabular", "deep", "widgets", "chapters"])
def test_a_clone_root_as_current_folder_uses_its_own_folders(small_clone: Path, folder: str) -> None:
    """Prevents: the core of one clone running with the kernels of another, or with none."""
    code = f"import rlbook.{folder} as found; print(found.MARK, found.__name__)"
    assert run_python(code, small_clone).strip() == f"small clone rlbook.{folder}"


@pytest.mark.parametrize("name", ["rlbook.tests", "rlbook.rlbook", "rlbook.benchmarks"])
def test_nothing_else_of_a_clone_root_becomes_importable(small_clone: Path, name: str) -> None:
    """Prevents: second copies of modules through a `__path__` that simply holds the root."""
    code = f"import importlib.util, rlbook; print(importlib.util.find_spec({name!r}))"
    assert run_python(code, small_clone).strip() == "None"


def test_outside_a_clone_nothing_is_added(small_clone: Path) -> None:
    """Prevents: an installed rlbook that takes a neighbour in site-packages called `tabular` for its own."""
    (small_clone / "pyproject.toml").unlink()
    code = "import rlbook, sys; print(any(type(f).__name__ == 'FolderFinder' for f in sys.meta_path))"
    assert run_python(code, small_clone).strip() == "False"
