"""`python -m benchmarks`."""

from __future__ import annotations

import sys

import pytest

from benchmarks import __main__ as front_door
from benchmarks import gpu
from rlbook.errors import RlbookError


def test_without_a_device_the_gpu_benchmark_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Prevents: a name that the front door does not know, and a traceback in the midst of all other benchmarks."""

    def missing() -> None:
        raise RlbookError("CuPy is not here")

    monkeypatch.setattr(gpu, "cupy_with_device", missing)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    assert front_door.main() == 0
    assert "gpu: skipped, there is no device to measure on: CuPy is not here" in capsys.readouterr().err
