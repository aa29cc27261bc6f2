"""What results are kept under: an edit that can move a number must show, one that cannot must not."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from rlbook import provenance
from rlbook.errors import RlbookError
from rlbook.registry import labs

from .import_probe import loaded_by_a_run

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "__init__.py": "",
    "lab.py": """
import numpy as np
from typing import TYPE_CHECKING
from . import helper
from fakebook.deep.below import depth
import fakebook.aliased as other
from fakebook.lazy import wanted

if TYPE_CHECKING:
    from fakebook.types_only import Shape

DATA = "table.csv"

def run():
    from .inside import inner
    import icu_helper
    return inner() + other.value
""",
    "helper.py": "from importlib import import_module\nTABLE = {'a': 'fakebook.by_table'}\nimport_module(TABLE['a'])\n",
    "by_table.py": "x = 1\n",
    "aliased.py": "from fakebook.star import *\nvalue = 2\n",
    "star.py": "import fakebook\nfakebook.dotted.y\n",
    "dotted.py": "y = 3\n",
    "inside.py": "from importlib import import_module\n\ndef inner():\n    return import_module('fakebook.literal')\n",
    "literal.py": "import importlib\n\nX = importlib.import_module(f'.plugins.{1}', 'fakebook')\n",
    "plugins/__init__.py": "",
    "plugins/one.py": "one = 1\n",
    "deep/__init__.py": "",
    "deep/below.py": "from ..up import top\nfrom ...nothing import at_all\ndepth = top\n",
    "up.py": "top = 1\n",
    "lazy/__init__.py": (
        "from typing import TYPE_CHECKING\nfrom importlib import import_module\n\nif TYPE_CHECKING:\n"
        "    from fakebook.lazy.wanted_home import wanted\n    from fakebook.lazy.unwanted_home import unwanted\n\n"
        "def __getattr__(name):\n    return getattr(import_module('fakebook.lazy.unwanted_home'), name)\n"
    ),
    "lazy/wanted_home.py": "wanted = 1\n",
    "lazy/unwanted_home.py": "unwanted = 1\n",
    "types_only.py": "Shape = int\n",
    "unrelated.py": "z = 1\n",
    "table.csv": "1,2\n",
    "other.csv": "3,4\n",
}
REACHED = {
    "__init__.py", "lab.py", "helper.py", "by_table.py", "aliased.py", "star.py", "dotted.py", "inside.py",
    "literal.py", "plugins/__init__.py", "plugins/one.py", "deep/__init__.py", "deep/below.py", "up.py",
    "lazy/__init__.py", "lazy/wanted_home.py", "table.csv",
}  # fmt: skip


@pytest.fixture
def fakebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "fakebook"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    provenance.forget()
    yield root
    provenance.forget()


@pytest.mark.parametrize("name", FILES)
def test_an_edit_changes_the_digest_exactly_when_the_lab_reaches_the_file(fakebook: Path, name: str) -> None:
    """Numba runs the old code when a callee in another file changes; results must not be kept that way."""
    before = provenance.source_digest("fakebook.lab")
    (fakebook / name).write_text(FILES[name] + "# edited\n")
    provenance.forget()
    assert (provenance.source_digest("fakebook.lab") != before) == (name in REACHED)


def test_a_module_moved_elsewhere_changes_the_digest(fakebook: Path) -> None:
    before = provenance.source_digest("fakebook.unrelated")
    (fakebook / "renamed.py").write_text(FILES["unrelated.py"])
    assert provenance.source_digest("fakebook.renamed") != before


def test_circular_imports_end(fakebook: Path) -> None:
    (fakebook / "unrelated.py").write_text("import fakebook.unrelated\nfrom fakebook import unrelated\n")
    assert set(provenance.sources("fakebook.unrelated")) == {"fakebook", "fakebook.unrelated"}


def test_nothing_is_imported_on_the_way(fakebook: Path) -> None:
    provenance.source_digest("fakebook.lab")
    assert not [name for name in sys.modules if name.startswith("fakebook.")]


@pytest.mark.parametrize("name", ["__main__", "no_such_module", "fakebook.no_such"])
def test_a_module_without_sources_is_a_sentence(fakebook: Path, name: str) -> None:
    assert not provenance.traceable(name)
    with pytest.raises(RlbookError, match=f"module '{name}' has no source file"):
        provenance.source_digest(name)


def test_versions_name_what_moves_numbers_and_more_where_it_is_used(fakebook: Path) -> None:
    import numpy

    usual = provenance.library_versions()
    assert f"python {sys.version_info.major}.{sys.version_info.minor}, " in usual
    assert f"numpy {numpy.__version__}" in usual
    assert "plotly" not in usual
    assert "gymnasium" not in usual
    (fakebook / "unrelated.py").write_text("def f():\n    import gymnasium\n")
    assert "gymnasium 1" in provenance.library_versions("fakebook.unrelated")
    assert provenance.library_versions("fakebook.lab") == usual


def test_commands_and_widgets_move_no_number() -> None:
    reached = {name for lab in labs().values() for name in provenance.sources(type(lab).__module__)}
    assert "rlbook.lab" in reached
    assert not [name for name in reached if name.startswith(("rlbook.cli", "rlbook.widgets", "rlbook.store"))]


@pytest.fixture(scope="module")
def fresh_processes() -> Iterator[ProcessPoolExecutor]:
    """Every call runs in a process of its own that has imported other people's libraries, and nothing of ours.

    Those libraries are half of what a probe costs, and a process is forked off one that has them already.
    """
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["numba", "plotly.graph_objects", "pydantic", "scipy.optimize", "xarray"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        with ProcessPoolExecutor(1, mp_context=forking, max_tasks_per_child=1) as pool:
            yield pool


@pytest.mark.parametrize("name", labs())
def test_all_that_a_run_really_imports_is_among_the_sources_of_its_lab(
    fresh_processes: ProcessPoolExecutor, name: str
) -> None:
    """The sources are found without running anything; an import that is missed would keep stale results alive."""
    module = type(labs()[name]).__module__
    before, loaded = fresh_processes.submit(loaded_by_a_run, module, type(labs()[name]).__name__).result()
    assert before == []
    # Importing a chapter's package by its path may bring in siblings of the lab that it does not use.
    assert set(loaded) <= set(provenance.sources(module))
