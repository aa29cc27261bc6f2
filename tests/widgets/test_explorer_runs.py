"""Runs of an explorer that overtake one another, are watched, cancelled, or left behind."""

from __future__ import annotations

import threading
import time

import pytest

from rlbook.widgets.explorer import explore

from .fake_labs import DeafLab, LiveLab, Powers, PowersLab, SlowLab
from .panels import PATIENT, control, living


@pytest.mark.serial
def test_only_the_last_of_many_moves_counts() -> None:
    """Defect: slider events queue up, and the kernel computes for minutes what nobody waits for."""
    explorer = explore(SlowLab())
    lab = explorer.lab
    slider = control(explorer, "Discount")
    began = time.monotonic()
    for step in range(1, 21):
        slider.value = 0.5 + step / 100
    assert time.monotonic() - began < 0.5
    assert explorer.wait(PATIENT)
    assert lab.drawn == [0.5, 0.7]
    assert len(lab.runs) <= 6
    assert lab.stopped == lab.runs[1:-1]
    assert explorer.parameters == Powers(discount=0.7)
    explorer.close()


def test_a_run_that_ignores_its_cancel_never_comes_after_a_newer_one() -> None:
    """Defect: the slow result of an older position replaces the newer one."""
    explorer = explore(DeafLab())
    control(explorer, "Discount").value = 0.6
    time.sleep(0.1)
    control(explorer, "Discount").value = 0.7
    assert explorer.wait(PATIENT)
    assert explorer.lab.runs == [0.5, 0.6, 0.7]
    assert explorer.lab.drawn == [0.5, 0.7]
    explorer.close()


def test_moves_from_many_threads() -> None:
    """Defect: ipykernel's callbacks change threads, and two at once lose the later one or draw half a state."""
    explorer = explore(PowersLab())

    def move(first: int) -> None:
        for step in range(first, 40, 4):
            control(explorer, "Discount").value = 0.5 + step / 100

    threads = [threading.Thread(target=move, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert explorer.wait(PATIENT)
    assert explorer.problem == ""
    assert explorer.lab.parameters_of(explorer.result) == explorer.parameters
    assert explorer.lab.drawn[-1] == explorer.parameters.discount
    explorer.close()


def test_partial_results_are_drawn_while_the_run_goes_on() -> None:
    """Defect: a long run shows nothing until it is done."""
    explorer = explore(LiveLab())
    control(explorer, "Discount").value = 0.8
    end = time.monotonic() + PATIENT
    while explorer.lab.drawn[-1] != 0.8 and time.monotonic() < end:
        time.sleep(0.01)
    assert explorer.result.sizes["sweep"] == 2
    assert explorer.verdict is None
    assert explorer.wait(PATIENT)
    assert explorer.result.sizes["sweep"] == 12
    assert explorer.verdict is not None
    explorer.close()


def test_a_verdict_fills_in_seed_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: hundreds of replicates of which nothing is seen until the last, and nothing is kept after a Cancel."""
    explorer = explore(PowersLab())
    budget = explorer.lab.verdict_seeds
    monkeypatch.setattr(PowersLab, "seconds", 0.6)  # more than a chunk may take, so that seeds come one by one
    explorer.judge()
    end = time.monotonic() + PATIENT
    while (explorer.verdict is None or explorer.verdict.n < 3) and time.monotonic() < end:
        time.sleep(0.01)
    assert explorer.verdict is not None
    assert explorer.verdict.preview
    assert 3 <= explorer.verdict.n < budget
    explorer.cancel()
    assert explorer.wait(PATIENT)
    assert explorer.problem.startswith("Cancelled")
    assert explorer.verdict.n == explorer.result.sizes["seed"] < budget
    explorer.close()


@pytest.mark.parametrize("last", ["cancel", "wrong"])
def test_a_move_during_a_cancel_is_not_cancelled(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: a Cancel, or a value that is out of range, takes a newer valid move with it."""
    explorer = explore(PowersLab())
    exploration = explorer._exploration
    really_cancel = exploration._computing.cancel
    mover = threading.Thread(target=lambda: exploration.change({"discount": 0.7}))

    def cancel() -> bool:
        monkeypatch.setattr(exploration._computing, "cancel", really_cancel)
        mover.start()
        mover.join(0.2)
        return really_cancel()

    monkeypatch.setattr(PowersLab, "seconds", 0.4)
    monkeypatch.setattr(exploration._computing, "cancel", cancel)
    if last == "cancel":
        explorer.cancel()
    else:
        exploration.change({"discount": 2})
    mover.join(PATIENT)
    assert explorer.wait(PATIENT)
    assert explorer.parameters.discount == 0.7
    assert explorer.lab.parameters_of(explorer.result) == explorer.parameters
    assert explorer.problem == ""
    explorer.close()


def test_long_work_shows_progress_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: no way out of a long run; a bar that flickers at quick runs, or that stays when all is done."""
    explorer = explore(PowersLab())
    working = explorer._screen.working.layout
    control(explorer, "Discount").value = 0.6
    assert explorer.wait(PATIENT)
    assert working.visibility == "hidden"
    monkeypatch.setattr(PowersLab, "seconds", 60.0)
    control(explorer, "Discount").value = 0.7
    time.sleep(0.2)
    assert working.visibility == "hidden"
    end = time.monotonic() + PATIENT
    while working.visibility == "hidden" and time.monotonic() < end:
        time.sleep(0.02)
    assert working.visibility == "visible"
    control(explorer, "Cancel").click()
    assert explorer.wait(PATIENT)
    assert working.visibility == "hidden"
    assert explorer.problem.startswith("Cancelled")
    assert explorer.lab.drawn == [0.5, 0.6]
    explorer.close()


def test_close_ends_the_threads() -> None:
    """Defect: every cell that is run again leaves two threads and a computation in the kernel."""
    explorer = explore(SlowLab())
    control(explorer, "Discount").value = 0.6
    assert explorer._exploration.workers_alive
    before = living()
    explorer.close()
    assert len(before - living()) > 15
    end = time.monotonic() + PATIENT
    while explorer._exploration.workers_alive and time.monotonic() < end:
        time.sleep(0.01)
    assert not explorer._exploration.workers_alive
    assert explorer.lab.drawn == [0.5]
