"""A pool of threads that works off numbered jobs, with progress and cancel; the jobs release Python's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rlbook.errors import ParameterError
from rlbook.processes import cores
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOOK_EVERY = 0.05  # seconds between reports of progress


def work_off(
    job: Callable[[int], None],
    count: int,
    workers: int | None,
    cancel: NDArray[np.uint8],
    fraction_done: Callable[[], float],
    progress: Callable[[float], None] | None,
) -> None:
    """Call job(0) .. job(count - 1), each in one of `workers` threads, until all are done or `cancel` is set.

    progress is called in this thread with what `fraction_done` says. What a job or `progress` raises sets `cancel`,
    and is raised here once the threads have ended.
    """
    if workers is not None and not is_whole(workers, 1):
        raise ParameterError(f"workers is {workers!r}, but it is a whole number of threads, at least 1, or None")
    threads = min(workers or cores(), count)
    if threads == 1 and progress is None:
        for place in range(count):
            if cancel[0]:
                return
            job(place)
        return
    pending = iter(range(count))
    lock = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not cancel[0]:
                with lock:
                    place = next(pending, None)
                if place is None:
                    return
                job(place)
        except BaseException as error:
            failures.append(error)
            cancel[0] = 1

    team = [threading.Thread(target=work, name=f"rlbook learner {number}", daemon=True) for number in range(threads)]
    for thread in team:
        thread.start()
    try:
        for thread in team:
            while thread.is_alive():
                thread.join(_LOOK_EVERY)
                if progress is not None:
                    progress(fraction_done())
    except BaseException:
        cancel[0] = 1
        raise
    finally:
        for thread in team:
            thread.join()
    if failures:
        raise failures[0]
    if progress is not None and not cancel[0]:
        progress(fraction_done())  # short jobs may have ended before anybody looked
