"""How long a reader waits: from a key press on a slider to the figure on the screen. Shared with the benchmarks."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from playwright.sync_api import Locator

from .lab_page import LabPage

_REPEAT_MS = 33

_WATCH = """figure => {
    const seen = { keys: [], paints: [] };
    const onKey = () => seen.keys.push(performance.now());
    window.addEventListener('keydown', onKey, { capture: true });
    let last = figure.dataset.revision;
    const observer = new MutationObserver(() => {
        if (figure.dataset.revision === last) return;
        last = figure.dataset.revision;
        seen.paints.push(performance.now());
    });
    observer.observe(figure, { attributeFilter: ['data-revision'] });
    window.rlbookWatch = {
        take: () => ({ keys: seen.keys.splice(0), paints: seen.paints.splice(0) }),
        painted: () => seen.paints.length,
        quiet: ms => performance.now() - Math.max(...seen.keys, ...seen.paints) > ms,
        stop() { observer.disconnect(); window.removeEventListener('keydown', onKey, { capture: true }); },
    };
}"""


@dataclass(frozen=True)
class SliderMeasurement:
    """Times in milliseconds: one latency per press, and how long after the last repeat the last drawing stood."""

    latencies_ms: tuple[float, ...]
    settle_ms: float
    drawings_while_held: int
    received_bytes_per_press: float

    @property
    def median_ms(self) -> float:
        """The median over the presses."""
        return statistics.median(self.latencies_ms)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile over the presses, interpolated."""
        return statistics.quantiles(self.latencies_ms, n=20, method="inclusive")[-1]


def measure_slider(
    lab: LabPage,
    slider: int | Locator = 0,
    figure: int = 0,
    *,
    key: str = "ArrowRight",
    back: str = "ArrowLeft",
    presses: int = 30,
    repeats: int = 30,
    quiet_ms: float = 300,
) -> SliderMeasurement:
    """Press `key` on a slider `presses` times, each once the figure has settled, then `repeats` times in a second.

    A latency runs from the keydown event in its capture phase to the change of ``data-revision``, which a view makes
    in the animation frame after its drawing: the frame that put the drawing on the screen is included. If a press
    draws several times, the first drawing counts; a figure counts as settled after `quiet_ms` without a drawing, which
    must be longer than the pause between a lab's preview and its verdict. Presses turn to `back` half-way, so a slider
    needs room for presses / 2 and for repeats steps. Raises playwright's TimeoutError where a press draws nothing.
    """
    page = lab.page
    page.evaluate(_WATCH, lab.figures.nth(figure).element_handle())
    latencies = []
    received = lab.received_bytes
    try:
        for number in range(presses):
            lab.press(slider, key if number < presses / 2 else back)
            page.wait_for_function("() => rlbookWatch.painted() > 0", timeout=10_000)
            page.wait_for_function("ms => rlbookWatch.quiet(ms)", arg=quiet_ms, timeout=10_000)
            seen = page.evaluate("() => rlbookWatch.take()")
            latencies.append(seen["paints"][0] - seen["keys"][0])
        received = lab.received_bytes - received
        lab.press(slider, key, times=repeats, interval_ms=_REPEAT_MS)
        page.wait_for_function("ms => rlbookWatch.quiet(ms)", arg=2 * quiet_ms, timeout=30_000)
        held = page.evaluate("() => rlbookWatch.take()")
    finally:
        page.evaluate("() => rlbookWatch.stop()")
    return SliderMeasurement(
        latencies_ms=tuple(latencies),
        settle_ms=held["paints"][-1] - held["keys"][-1],
        drawings_while_held=len(held["paints"]),
        received_bytes_per_press=received / presses,
    )
