"""Training on the page, with a trainee whose news come when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rlbook.errors import ParameterError
from rlbook.lab import Context
from rlbook.widgets.training_watch import TrainingWatch, watch_training


class Reel:
    """Two frames that tell whose they are."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __len__(self) -> int:
        return 2

    def frame(self, n: int) -> tuple[dict[str, Any], str]:
        return {"data": [], "layout": {}}, f"{self.name}, frame {n}"


class Pupil:
    """It learns one thing each time that `teach` is released, ten in all, and counts what runs at once."""

    title = "a pupil"

    def __init__(self) -> None:
        self.learnt, self.begun, self.at_once = 0, 0, 0
        self.teach = threading.Semaphore(0)
        self.error: Exception | None = None
        self._alone = threading.Lock()

    @property
    def finished(self) -> bool:
        return self.learnt >= 10

    def train(self, context: Context) -> None:
        self.begun += 1
        self.at_once += not self._alone.acquire(blocking=False)
        try:
            while not self.finished:
                context.check()
                if self.error is not None:
                    raise self.error
                if self.teach.acquire(timeout=0.02):
                    self.learnt += 1
                    context.progress(self.learnt / 10, "")
                    context.publish(None)
        finally:
            self._alone.release()

    def begin_anew(self) -> None:
        self.learnt = 0

    def curves(self) -> tuple[dict[str, Any], str]:
        return {"data": [], "layout": {}}, f"learnt {self.learnt}"

    def episodes(self) -> dict[str, Reel]:
        return {name: Reel(name) for name in (f"best after {self.learnt}", f"other after {self.learnt}")}


@pytest.fixture
def watch() -> Iterator[TrainingWatch]:
    watch = watch_training(Pupil())
    yield watch
    watch.close()


def words(watch: TrainingWatch) -> str:
    return watch._curves.alt_text


def scene(watch: TrainingWatch) -> str:
    assert watch._player is not None
    assert watch._player.wait(10)
    return watch._player._view.alt_text


def until(reached: Any) -> None:
    tick = threading.Event()
    for _ in range(500):
        if reached():
            return
        tick.wait(0.02)
    raise AssertionError("it never came to that")


def test_curves_follow_and_a_stop_keeps_what_was_reached(watch: TrainingWatch) -> None:
    """Defect: curves that wait for the end, a stop that loses, an agent on screen that is not the newest."""
    pupil = watch.trainee
    assert words(watch) == "learnt 0"
    assert scene(watch) == "best after 0, frame 0"
    watch.train()
    pupil.teach.release(3)
    until(lambda: words(watch) == "learnt 3")
    assert watch.busy
    watch.stop()
    assert watch.wait(10)
    assert not watch.busy
    assert words(watch) == "learnt 3"
    assert scene(watch) == "best after 3, frame 0"
    watch.train()
    pupil.teach.release(7)
    assert watch.wait(10)
    assert words(watch) == "learnt 10"
    assert (watch._begin.disabled, watch._end.disabled, watch._state.value) == (True, True, "Done")
    assert pupil.begun == 2


def test_quick_clicks_run_one_training_at_a_time(watch: TrainingWatch) -> None:
    """Defect: two trainings at once, a second one beside the first, buttons that do not fit."""
    pupil = watch.trainee
    for _ in range(10):
        watch.train()
        watch.train()
        watch.stop()
    watch.begin_anew()
    pupil.teach.release(2)
    until(lambda: pupil.learnt == 2)
    assert (watch._begin.disabled, watch._end.disabled, watch._state.value) == (True, False, "Training")
    watch.stop()
    assert watch.wait(10)
    assert pupil.at_once == 0
    assert (watch._begin.disabled, watch._end.disabled, watch._state.value) == (False, True, "At rest")


def test_beginning_anew_forgets(watch: TrainingWatch) -> None:
    """Defect: curves that go on from the training before."""
    watch.train()
    watch.trainee.teach.release(10)
    assert watch.wait(10)
    watch.begin_anew()
    watch.trainee.teach.release(1)
    until(lambda: words(watch) == "learnt 1")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ParameterError("steps is 0; take more"), "steps is 0; take more"),
        (ValueError("<no>"), "Training stopped with ValueError: <no>"),
    ],
)
def test_an_error_is_a_sentence_and_the_curves_stay(watch: TrainingWatch, error: Exception, sentence: str) -> None:
    """Defect: a traceback in a thread that nobody sees, or curves that vanish with the error."""
    pupil = watch.trainee
    watch.train()
    pupil.teach.release(2)
    until(lambda: words(watch) == "learnt 2")
    pupil.error = error
    assert watch.wait(10)
    assert watch.problem == sentence
    assert "rlbook-problem" in watch._trouble.value
    assert "<no>" not in watch._trouble.value
    assert words(watch) == "learnt 2"
    pupil.error = None
    watch.train()
    until(lambda: watch.problem == "")


def test_another_agent_is_shown_when_it_is_chosen(watch: TrainingWatch) -> None:
    """Defect: a list of agents that moves nothing, or a frame of the agent before."""
    assert watch._player is not None
    watch._player._player.slider.value = 1
    assert scene(watch) == "best after 0, frame 1"
    watch._agent.value = "other after 0"
    assert scene(watch) == "other after 0, frame 0"
    assert repr(watch) == "a pupil: learnt 0"
