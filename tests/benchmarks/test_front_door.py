"""`python -m benchmarks`."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import __main__ as front_door
from benchmarks import gpu, report
from rlbook.errors import RlbookError


def test_without_a_device_the_gpu_benchmark_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Prevents: a name that the front door does not know, and a traceback in the midst of all other benchmarks."""

    def missing() -> None:
        raise RlbookError("CuPy is not here")

    monkeypatch.setattr(gpu, "cupy_with_device", missing)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    assert front_door.main() == 0
    assert "gpu: skipped, there is no device to measure on: CuPy is not here" in capsys.readouterr().err


def test_every_part_of_the_learning_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path) -> None:
    """Prevents a part that breaks unseen, since benchmarks run seldom."""
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "learning", "--quick"])
    assert front_door.main() == 0
    said = capsys.readouterr().out
    for word in ("Gymnasium loop with numpy", "threads against one", "TD(0.9)", "draw and update", "replay figure"):
        assert word in said
    kept = json.loads((tmp_path / "learning_quick.json").read_text())
    assert all(row["median"] > 0 for row in kept["rows"])


def test_the_benchmark_of_fitted_q_runs(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path) -> None:
    """Prevents a race on two different problems, and a benchmark that breaks unseen."""
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fitted_q", "--quick"])
    assert front_door.main() == 0
    said = capsys.readouterr().out
    for word in ("fitted Q, 4,000 x 20 features", "limit of arithmetic", "limit of memory", "Ridge in a loop"):
        assert word in said


def test_the_benchmark_of_return_laws_runs(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path) -> None:
    """Prevents a projection that is no longer that of the peer, and a benchmark that breaks unseen."""
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "distributional", "--quick"])
    assert front_door.main() == 0
    said = capsys.readouterr().out
    for word in ("200 laws x 51 uneven atoms", "limit of memory", "against arrays once", "rlax, jitted"):
        assert word in said


def test_the_benchmark_of_deep_agents_runs(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path) -> None:
    """Prevents a benchmark that breaks unseen, and a slider that compiles."""
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "deep", "--quick"])
    assert front_door.main() == 0
    said = capsys.readouterr().out
    for word in ("rlbook, one seed", "8 seeds against one", "vmapped on", "an update", "QR-DQN", "0 compilations"):
        assert word in said
