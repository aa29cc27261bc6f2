"""One run on its way from parameters to a result that can be shown, with progress once it takes long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rlbook.errors import Cancelled, RlbookError
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters
from rlbook.verdict import Verdict

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.store import RunStore

_log = logging.getLogger(__name__)

PATIENCE = 0.5  # seconds of work before a progress bar shows
_PROGRESS_EVERY = 0.1  # seconds

Kind = Literal["preview", "verdict"]


@dataclass(frozen=True)
class Shown:
    """A result with what belongs to it; `partial` while its run goes on, `verdict` None until it is judged."""

    parameters: Parameters
    result: xr.Dataset
    partial: bool = False
    verdict: Verdict | None = None


class ProgressBar(Protocol):
    """Where a computation tells how far it is."""

    def progress(self, fraction: float, message: str) -> None:
        """Show how far the work is, in [0, 1]; called only for work over half a second."""

    def rest(self) -> None:
        """Take the progress away."""


class Computation:
    """A preview, or a verdict over the full budget of seeds; a `latest_wins.Job`."""

    def __init__(
        self,
        lab: Lab[Any, Any],
        parameters: Parameters,
        kind: Kind,
        bar: ProgressBar,
        deliver: Callable[[Shown], None],
        fail: Callable[[str], None],
        store: RunStore | None = None,
    ) -> None:
        """deliver: gets partial results, those for the first seeds, and the final one, unless cancelled.

        fail: gets an error's sentence.
        """
        self._lab = lab
        self._parameters = parameters
        self._kind = kind
        self._bar = bar
        self._deliver = deliver
        self._fail = fail
        self._store = store
        self._context = Context(on_progress=self._progress, on_partial=self._partial, on_seeds=self._seeds)
        self._lock = threading.Lock()
        self._bar_shown = False
        self._done = False
        self._last = (0.0, "")
        self._told = 0.0

    def cancel(self) -> None:
        """Ask the run to stop; what it still returns is not delivered."""
        self._context.cancel()

    def run(self) -> None:
        """Compute, deliver or fail; never raises an Exception."""
        timer = threading.Timer(PATIENCE, self._show_bar)
        timer.daemon = True
        timer.start()
        try:
            shown = self._compute()
            if not self._context.cancelled:
                self._deliver(shown)
        except Cancelled:
            _log.debug("%s: a %s was cancelled", self._lab.name, self._kind)
        except Exception as error:
            self._fail(sentence(error))
        finally:
            timer.cancel()
            with self._lock:
                self._done = True
                if self._bar_shown:
                    self._bar.rest()

    def _compute(self) -> Shown:
        lab, parameters = self._lab, self._parameters
        # The run store and its file formats are slow to import, and importing this package must not wait for them.
        from rlbook.running import preview, run_and_judge

        if self._kind == "preview":
            return Shown(parameters, preview(lab, parameters, self._context))
        result, verdict = run_and_judge(lab, parameters, store=self._store, context=self._context)
        return Shown(parameters, result, verdict=verdict)

    def _partial(self, partial: xr.Dataset) -> None:
        self._deliver(Shown(self._parameters, self._lab.stamp(partial, self._parameters), partial=True))

    def _seeds(self, result: xr.Dataset) -> None:
        if not self._context.cancelled:
            self._deliver(Shown(self._parameters, result))

    def _progress(self, fraction: float, message: str) -> None:
        with self._lock:
            self._last = (fraction, message)
            now = time.monotonic()
            if self._done or not self._bar_shown or now - self._told < _PROGRESS_EVERY:
                return
            self._told = now
            self._bar.progress(fraction, message)

    def _show_bar(self) -> None:
        with self._lock:
            if not self._done:
                self._bar_shown = True
                self._bar.progress(*self._last)


def sentence(error: Exception, what: str = "This lab") -> str:
    """Return an error as one sentence for readers; its traceback goes to the log, at debug level.

    what: the work that it ended.
    """
    _log.debug("shown to the reader as one sentence", exc_info=error)
    text = " ".join(str(error).split())
    if isinstance(error, RlbookError):
        return text
    name = type(error).__name__
    return f"{what} stopped with {name}: {text}" if text else f"{what} stopped with {name}."
