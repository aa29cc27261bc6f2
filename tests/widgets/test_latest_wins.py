"""The worker behind sliders: what it drops, what it cancels, and that it leaves no thread behind."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from rlbook.widgets.latest_wins import LatestWins


@dataclass
class Recorded:
    """A job that takes `seconds`, and stops early when cancelled if it `heeds` that."""

    label: int
    done: list[int]
    seconds: float = 0.0
    heeds: bool = True
    began: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self.began.set()
        if self.heeds:
            if self.stop.wait(self.seconds):
                return
        else:
            time.sleep(self.seconds)
        self.done.append(self.label)

    def cancel(self) -> None:
        self.stop.set()


def test_a_slow_job_does_not_make_a_queue() -> None:
    """Defect: a hundred slider events become a hundred runs, and the kernel hangs."""
    done: list[int] = []
    worker = LatestWins("test")
    jobs = [Recorded(label, done, seconds=5) for label in range(100)]
    jobs[-1].seconds = 0
    for job in jobs:
        worker.submit(job)
    assert worker.wait(3)
    assert done == [99]
    assert sum(job.began.is_set() for job in jobs) <= 20
    worker.close()


def test_a_quick_job_may_finish_within_its_grace() -> None:
    """Defect: while a slider is dragged every run is cancelled and the figure stands still until the end."""
    done: list[int] = []
    worker = LatestWins("test", grace=5)
    first = Recorded(1, done, seconds=0.1)
    worker.submit(first)
    assert first.began.wait(2)
    worker.submit(Recorded(2, done))
    assert worker.wait(3)
    assert done == [1, 2]
    worker.close()


def test_grace_ends_by_itself() -> None:
    """Defect: the last event of a drag waits for a long run because nothing cancels that run later."""
    done: list[int] = []
    worker = LatestWins("test", grace=0.05)
    first = Recorded(1, done, seconds=30)
    worker.submit(first)
    assert first.began.wait(2)
    worker.submit(Recorded(2, done))
    assert worker.wait(3)
    assert done == [2]
    worker.close()


def test_a_grace_that_was_not_used_up_does_not_hit_the_next_job() -> None:
    """Defect: the timer of a finished job cancels its successor."""
    done: list[int] = []
    worker = LatestWins("test", grace=0.1)
    first, second = Recorded(1, done, seconds=0.02), Recorded(2, done, seconds=0.3)
    worker.submit(first)
    assert first.began.wait(2)
    worker.submit(second)
    assert worker.wait(3)
    assert done[-1] == 2
    assert not second.stop.is_set()
    worker.close()


def test_cancel_drops_what_waits_and_stops_what_runs() -> None:
    """Defect: Cancel ends one run only to begin the next."""
    done: list[int] = []
    worker = LatestWins("test", grace=30)
    first = Recorded(1, done, seconds=30)
    worker.submit(first)
    assert first.began.wait(2)
    worker.submit(Recorded(2, done))
    assert worker.cancel()
    assert worker.wait(3)
    assert done == []
    assert not worker.cancel()
    worker.close()


def test_a_failing_job_does_not_end_the_worker() -> None:
    """Defect: one exception and the explorer never answers again."""

    class Failing(Recorded):
        def run(self) -> None:
            raise ZeroDivisionError

    done: list[int] = []
    worker = LatestWins("test")
    worker.submit(Failing(1, done))
    assert worker.wait(3)
    worker.submit(Recorded(2, done))
    assert worker.wait(3)
    assert done == [2]
    worker.close()


def test_close_ends_the_thread_and_takes_no_more_jobs() -> None:
    """Defect: every re-run of a cell leaves a thread in the kernel."""
    done: list[int] = []
    worker = LatestWins("closing", linger=60)
    worker.submit(Recorded(1, done))
    assert worker.wait(3)
    assert worker.alive
    worker.close()
    assert _gone("closing")
    worker.submit(Recorded(2, done))
    assert worker.wait(1)
    assert done == [1]


def test_an_idle_thread_ends_and_comes_back() -> None:
    """Defect: forgotten explorers keep their threads; or an explorer is dead after a pause."""
    done: list[int] = []
    worker = LatestWins("lingering", linger=0.05)
    worker.submit(Recorded(1, done))
    assert _gone("lingering")
    worker.submit(Recorded(2, done))
    assert worker.wait(3)
    assert done == [1, 2]
    worker.close()


def test_wait_says_when_time_was_too_short() -> None:
    """Defect: a test that waits believes an unfinished result."""
    worker = LatestWins("test")
    job = Recorded(1, [], seconds=30)
    worker.submit(job)
    assert not worker.wait(0.05)
    worker.close()
    assert worker.wait(3)


def _gone(name: str) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if all(thread.name != name for thread in threading.enumerate()):
            return True
        time.sleep(0.01)
    return False
