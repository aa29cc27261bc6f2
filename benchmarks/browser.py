"""What a reader waits for in JupyterLab, in a real browser: first figure, six labs on a page, and a slider's figure."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.report import Row, publish
from tests.browser.chromium import MISSING, find_chromium, launch_chromium
from tests.browser.jupyter import serve_jupyter
from tests.browser.lab_page import LabPage, open_lab_page
from tests.browser.measure import measure_slider

LABS = {
    "value-iteration-contraction": ("Discount", "ArrowLeft", "ArrowRight"),
    "icu-sepsis-optimal": ("Discount", "ArrowLeft", "ArrowRight"),
}
Opened = Callable[..., AbstractContextManager[LabPage]]
IMPORT = "from rlbook import explore"


def main() -> None:
    """Measure, print and keep; needs Chromium or Chrome."""
    if find_chromium() is None:
        print(f"browser: skipped, {MISSING}")
        return
    rows: list[Row] = []
    with (
        launch_chromium() as browser,
        tempfile.TemporaryDirectory() as folder,
        serve_jupyter(Path(folder)) as server,
    ):

        @contextmanager
        def opened(*cells: str) -> Iterator[LabPage]:
            with open_lab_page(browser, server.url, server.add([IMPORT, *cells])) as lab:
                lab.run_cell(0)
                lab.wait_idle()
                yield lab

        for name, (label, key, back) in LABS.items():
            rows += _one_lab(opened, name, label, key, back)
        rows += _six_labs(opened)
    publish("browser", rows, ("jupyterlab", "ipywidgets", "plotly", "anywidget"))


def _one_lab(opened: Opened, name: str, label: str, key: str, back: str) -> list[Row]:
    with opened(f'explore("{name}")') as lab:
        began = time.perf_counter()
        lab.run_cell(1)
        lab.wait_painted(1)
        first = time.perf_counter() - began
        lab.wait_idle()
        lab.page.wait_for_timeout(1000)
        slider = lab.page.get_by_role("slider", name=label, exact=True)
        lab.press(slider, key)  # warms up
        lab.page.wait_for_timeout(1000)
        moved = measure_slider(lab, slider, key=key, back=back)
        return [
            Row(f"{name}: first figure after running the cell", "rlbook", first, "s", 3),
            Row(f"{name}: slider to painted figure, median", "rlbook", moved.median_ms, "ms"),
            Row(f"{name}: slider to painted figure, 95th percentile", "rlbook", moved.p95_ms, "ms", 80),
            Row(f"{name}: settled after 30 repeats in a second", "rlbook", moved.settle_ms, "ms", 150),
            Row(f"{name}: received per press", "rlbook", moved.received_bytes_per_press / 1e3, "kB"),
        ]


def _six_labs(opened: Opened) -> list[Row]:
    names = [*LABS, "averages-converge"] * 2
    # One cell with six outputs: JupyterLab draws cells only when they come into view, and here all must be drawn.
    together = "from IPython.display import display\n" + "\n".join(f'display(explore("{name}"))' for name in names)
    with opened(together) as lab:
        before = lab.received_bytes
        began = time.perf_counter()
        lab.run_all()
        lab.wait_painted(len(names))
        took = time.perf_counter() - began
        lab.wait_idle()
        loads = lab.page.evaluate("() => window.rlbookPlotly.loads")
        return [
            Row("six labs on one page: all painted after running all cells", "rlbook", took, "s", 5),
            Row("six labs on one page: received in all", "rlbook", (lab.received_bytes - before) / 1e6, "MB", 7),
            Row("six labs on one page: plotly.js loaded", "rlbook", loads, "x", 1),
        ]


if __name__ == "__main__":
    main()
