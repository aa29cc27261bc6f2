"""A worker that only ever cares for the newest job: what a moving slider needs instead of a queue."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from rlbook.errors import Cancelled

_log = logging.getLogger(__name__)

_LINGER_SECONDS = 10.0


class Job(Protocol):
    """Work that can be asked to stop."""

    def run(self) -> None:
        """Do the work, in the worker's thread."""

    def cancel(self) -> None:
        """Ask `run` to stop soon, from any thread, before, during or after it."""


class LatestWins:
    """One job that runs and at most one that waits: a newer job takes the place of the waiting one.

    A running job that is superseded is cancelled once it has had `grace` seconds; so jobs quicker than that still
    finish while a slider is dragged, and the figure moves along instead of standing still until the end.
    The thread is a daemon, starts with the first job and ends when it had nothing to do for some seconds, so that
    forgotten explorers leave no threads behind. Every method is safe from any thread.
    """

    def __init__(self, name: str, *, grace: float = 0.0, linger: float = _LINGER_SECONDS) -> None:
        """name: of the thread; grace and linger (idle life of the thread) in seconds."""
        self._name = name
        self._grace = grace
        self._linger = linger
        self._changed = threading.Condition()
        self._waiting: Job | None = None
        self._running: Job | None = None
        self._began = 0.0
        self._deadline: threading.Timer | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        with self._changed:
            return self._running is not None or self._waiting is not None

    @property
    def alive(self) -> bool:
        """Whether the worker's thread exists just now."""
        with self._changed:
            return self._thread is not None

    def submit(self, job: Job) -> None:
        """Make `job` the newest and return at once; nothing happens after `close`."""
        with self._changed:
            if self._closed:
                return
            self._waiting = job
            if self._running is not None:
                self._supersede(self._running)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def cancel(self) -> bool:
        """Drop the waiting job and ask the running one to stop; returns whether there was any."""
        with self._changed:
            found = self._running is not None or self._waiting is not None
            self._waiting = None
            if self._running is not None:
                self._running.cancel()
            self._changed.notify_all()
            return found

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing runs or waits; returns False when `timeout` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running is None and self._waiting is None, timeout)

    def close(self) -> None:
        """Cancel everything and let the thread end; a job that ignores its cancel keeps it until it is done."""
        with self._changed:
            self._closed = True
            self.cancel()

    def _supersede(self, job: Job) -> None:
        left = self._grace - (time.monotonic() - self._began)
        if left <= 0:
            job.cancel()
        elif self._deadline is None:
            self._deadline = threading.Timer(left, job.cancel)
            self._deadline.daemon = True
            self._deadline.start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.run()
            except Cancelled:
                _log.debug("%s: a job was cancelled", self._name)
            except Exception:
                _log.exception("%s: a job failed", self._name)
            with self._changed:
                self._running = None
                if self._deadline is not None:
                    self._deadline.cancel()
                    self._deadline = None
                self._changed.notify_all()
            # An idle thread must not keep the last job, and all that hangs on it, alive.
            del job

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is not None, self._linger)
            if self._waiting is None:
                self._thread = None
                return None
            self._running, self._waiting = self._waiting, None
            self._began = time.monotonic()
            return self._running
