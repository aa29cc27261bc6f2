"""Every chapter folder is whole: a notebook without outputs that runs top to bottom, labs with controls, exercises."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import rlbook.chapters
from rlbook.environments import make
from rlbook.exercise import Exercise
from rlbook.figures.grid import terminal_states
from rlbook.registry import labs
from rlbook.tabular import bellman_backup

FOLDERS = sorted(path for path in Path(next(iter(rlbook.chapters.__path__))).glob("ch[0-9][0-9]_*") if path.is_dir())
SECONDS = 60
SECTIONS = ("## Is it true?", "## Exercises", "## Papers", "**You will learn**", "**Before you start**", "**Time**")

each_chapter = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def notebook_of(folder: Path) -> nbformat.NotebookNode:
    return nbformat.read(folder / f"{folder.name}.ipynb", as_version=4)


def module(folder: Path, name: str):
    return importlib.import_module(f"rlbook.chapters.{folder.name}.{name}")


def test_there_are_chapters():
    assert [folder.name[:4] for folder in FOLDERS][:1] == ["ch00"]
    assert len(FOLDERS) >= 2


@each_chapter
def test_notebook_is_stored_without_outputs_and_has_every_section(folder):
    notebook = notebook_of(folder)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for section in SECTIONS:
        assert section in text, section
    assert re.match(rf"# {folder.name[2:4]} · ", notebook.cells[0].source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    stored = (folder / f"{folder.name}.ipynb").read_text()
    assert json.loads(stored)["metadata"].keys() <= {"kernelspec", "language_info"}


@each_chapter
def test_labs_are_registered_and_shown(folder):
    notebook = notebook_of(folder)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    mine = [lab for lab in labs().values() if lab.chapter == int(folder.name[2:4])]
    assert {type(lab) for lab in mine} == set(module(folder, "labs").LABS)
    assert mine
    for lab in mine:
        assert lab.controls
        assert f'explore("{lab.name}")' in code
        assert re.search(rf'is_it_true\([^)]*"{lab.name}"', code)


@each_chapter
def test_exercises_are_asked_in_the_notebook(folder):
    exercises = module(folder, "exercises").EXERCISES
    assert exercises
    assert all(isinstance(exercise, Exercise) for exercise in exercises)
    code = "\n".join(cell.source for cell in notebook_of(folder).cells if cell.cell_type == "code")
    names = re.search(r"^([\w, ]+) = EXERCISES$", code, flags=re.MULTILINE)
    assert names is not None
    asked = names[1].split(", ")
    assert len(asked) == len(exercises)
    for name in asked:
        assert re.search(rf"^{name}\(", code, flags=re.MULTILINE), f"{name} is never answered"


@pytest.fixture(scope="module")
def warm_kernels():
    """Chapters are timed as a reader has them after `rlbook warm`: compiling depends on what else the machine does."""
    subprocess.run([sys.executable, "-m", "rlbook", "warm"], check=True, capture_output=True)


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.usefixtures("warm_kernels")
@each_chapter
def test_notebook_runs_top_to_bottom_in_time(folder, tmp_path, monkeypatch):
    """Prevents chapters that rot with their dependencies; with an empty run store, as a new reader has it.

    What JAX compiles for a notebook's own cells is no kernel to be warmed; it is on the disk when they run once more.
    """
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for attempt in ("first", "second"):
        monkeypatch.setenv("RLBOOK_HOME", str(tmp_path / attempt))
        notebook = notebook_of(folder)
        started = time.monotonic()
        NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
        took = time.monotonic() - started
        if took < SECONDS:
            break
    assert took < SECONDS
    said = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert "<td style='text-align:left'>NO</td>" not in said
    assert "Traceback" not in said
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")


def test_the_news_of_the_goal_travels_one_cell_per_sweep():
    """Prevents a sentence of chapter 02 that counts states which only paid for their own steps."""
    mdp = make("gridworld", slip=0.2, discount=0.9, step_reward=0.0)
    layout = mdp.layout
    assert layout is not None
    place = np.array([divmod(cell, layout.columns) for cell in layout.cell])
    ends = place[terminal_states(mdp)]
    away = (
        np.abs(place[:, None, :] - ends[None, :, :]).sum(axis=2).min(axis=1)
    )  # cells to the nearest end, walls or not
    v = np.zeros(mdp.n_states)
    for sweep in (1, 2, 3):
        v = bellman_backup(mdp, v)[0]
        assert away[np.flatnonzero(v)].max() <= sweep
    assert 4 <= np.count_nonzero(v) <= 12
