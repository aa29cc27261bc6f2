"""What commands print, and how they end.

Results go to standard output, as text or JSON; sentences, progress and warnings go to standard error.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rlbook.errors import RlbookError

if TYPE_CHECKING:
    from rlbook.lab import Context

FINE, CLAIM_FAILS, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count
READER_GONE = 141  # 128 + SIGPIPE
CRASHED = 70  # EX_SOFTWARE: a defect must not look like a claim that was checked and fails

SECONDS_TO_REST = 3.0  # after Ctrl-C; what is not at rest by then is cut off, and nothing that was finished is lost

T = TypeVar("T")


def say(text: str) -> None:
    """Print to standard output; where nobody reads any more, end quietly, as other commands in a pipe do."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The interpreter flushes once more at its end, which must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(READER_GONE) from None


def json_text(value: Any) -> str:
    """One JSON value, valid for every parser: infinities and NaN become text, as verdicts write them."""
    return json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False)


def say_json(value: Any) -> None:
    """Print one JSON value; see `json_text`."""
    say(json_text(value))


def note(text: str) -> None:
    """Print a line to standard error."""
    with progress_paused():
        print(f"rlbook: {text}", file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be, the last one cut to the terminal's width; numbers stand right."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[place], int | None) for row in rows) for place in range(len(header))]
    most = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else None
    lines = []
    for row in [list(header), *cells]:
        padded = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        line = "  ".join(padded).rstrip()
        lines.append(line if most is None or len(line) <= most else line[: most - 3] + "...")
    return "\n".join(lines)


class Progress:
    """What moves a progress bar: call it with the fraction done, in [0, 1], and a message."""

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar

    def __call__(self, fraction: float, message: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(message, refresh=False)
            self._bar.update(fraction - self._bar.n)

    def tick(self) -> None:
        """Draw the bar again with the time passed so far."""
        if self._bar is not None:
            self._bar.refresh()


@contextmanager
def progress_bar(label: str, *, measured: bool = True) -> Iterator[Progress]:
    """A bar on standard error, where that is a terminal; it goes away at the end.

    measured: whether a fraction will be reported; else only the time is shown.
    """
    if not sys.stderr.isatty():
        yield Progress()
        return
    from tqdm import tqdm  # type: ignore[import-untyped]

    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} {postfix}" if measured else "{desc} {elapsed}"
    with tqdm(total=1.0, desc=label, bar_format=layout, miniters=0, file=sys.stderr, leave=False) as bar:
        yield Progress(bar)


@contextmanager
def progress_paused() -> Iterator[None]:
    """Within the block, a line can be printed without tearing a bar that is on the screen."""
    shown = sys.modules.get("tqdm")
    if shown is None:
        yield
        return
    with shown.tqdm.external_write_mode(file=sys.stderr):
        yield


def interruptible(work: Callable[[Context], T], label: str, farewell: str, *, measured: bool = True) -> T:
    """Do `work` so that Ctrl-C reaches it: through its context's cancel flag, which compiled code polls.

    The work has a thread of its own, since a signal reaches Python code only, never a running kernel. On Ctrl-C it gets
    some seconds to come to rest; then the process says `farewell` and ends with 130.
    """
    from rlbook.lab import Context

    # Not joined: in Python 3.11 a join that Ctrl-C interrupts takes a running thread for ended.
    done = threading.Event()
    ended: list[tuple[T | None, BaseException | None]] = []

    def target() -> None:
        try:
            ended.append((work(context), None))
        except BaseException as error:
            ended.append((None, error))
        finally:
            done.set()

    thread = threading.Thread(target=target, daemon=True)
    interrupted = False
    with progress_bar(label, measured=measured) as show:
        context = Context(on_progress=show)
        thread.start()
        try:
            _wait(done, show.tick)
        except KeyboardInterrupt:
            interrupted = True
            context.cancel()
            # Impatience is no new wish.
            with suppress(KeyboardInterrupt):
                done.wait(SECONDS_TO_REST)
    if interrupted:
        note(farewell)
        if not done.is_set():
            sys.stdout.flush()
            # An interpreter that ends beside running compiled code crashes: seen.
            os._exit(INTERRUPTED)
        raise SystemExit(INTERRUPTED)
    result, error = ended[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def ending(command: Callable[[], Any]) -> int:
    """Run a command; return its exit code, with a sentence on standard error where the input was bad."""
    with _short_warnings():
        try:
            command()
        except SystemExit as stop:
            return _code(stop)
        except KeyboardInterrupt:
            return INTERRUPTED
        except RlbookError as error:
            return _bad(" ".join(str(error).split()))
        except MemoryError as error:
            return _bad(f"too little memory ({error or 'the system gave no more'}); ask for something smaller")
        except OSError as error:
            where = f"{error.filename!r} " if error.filename is not None else ""
            return _bad(f"{where}cannot be used: {error.strerror or error}")
        except Exception:
            traceback.print_exc()
            note("this is a defect in rlbook or in a lab, not in what you typed; please report it with the lines above")
            return CRASHED
        return FINE


def fail(sentence: str) -> NoReturn:
    """End the command as one whose input was bad."""
    raise RlbookError(sentence)


def _bad(sentence: str) -> int:
    print(f"rlbook: error: {sentence}", file=sys.stderr, flush=True)
    return BAD_INPUT


def _code(stop: SystemExit) -> int:
    if stop.code is None:
        return FINE
    return stop.code if isinstance(stop.code, int) else _bad(str(stop.code))


def _wait(done: threading.Event, tick: Callable[[], None]) -> None:
    # In short turns, since on Windows no signal interrupts a long one.
    while not done.wait(0.2):
        tick()


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return value


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Warnings of rlbook itself as one line; those of libraries stay as they are."""
    usual = warnings.formatwarning

    def short(message: Any, category: type[Warning], *place: Any, **more: Any) -> str:
        if category.__module__.partition(".")[0] == "rlbook":
            return f"rlbook: warning: {message}\n"
        return usual(message, category, *place, **more)

    warnings.formatwarning = short
    try:
        yield
    finally:
        warnings.formatwarning = usual
