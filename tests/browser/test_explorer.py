"""The explorer in JupyterLab: what a reader does with keyboard and mouse, and what then stands on the page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Locator

from .lab_page import LabPage

pytestmark = pytest.mark.browser

OpenNotebook = Callable[[Path | Sequence[str]], LabPage]

REPOSITORY = str(Path(__file__).resolve().parents[2])
IMPORT = f"import sys; sys.path.insert(0, {json.dumps(REPOSITORY)})\nfrom rlbook.widgets.explorer import explore"
# Takes half a second per run once it is on the page.
SLOW = """from tests.widgets.fake_labs import PowersLab
lab = PowersLab()
explorer = explore(lab)
PowersLab.seconds = 0.5
explorer"""
QUICK = "from tests.widgets.fake_labs import PowersLab\nexplore(PowersLab())"

# What plotly drew, after all defaults: heights of the bars and their colours.
BARS = """() => {
    const bars = document.querySelector('.rlbook-figure .js-plotly-plot')?._fullData?.[0];
    return bars ? [...bars.y] : [];
}"""
BARS_ARE = f"""([discount, sweeps]) => {{
    const y = ({BARS})();
    return y.length === sweeps && y.every((value, k) => Math.abs(value - discount ** k) < 1e-9);
}}"""
COLOURED = """() => {
    const bars = document.querySelector('.rlbook-figure .js-plotly-plot')?._fullData?.[0];
    return bars ? bars.marker.color.indexOf('#d55e00') : -1;
}"""


def opened(lab_page: OpenNotebook, cell: str) -> LabPage:
    lab = lab_page([IMPORT, cell])
    lab.run_all()
    lab.wait_idle()
    lab.wait_painted()
    return lab


def handle(lab: LabPage, name: str) -> Locator:
    return lab.page.get_by_role("slider", name=name, exact=True)


def shown(lab: LabPage, name: str) -> float:
    """The number that a slider's readout shows."""
    return float(handle(lab, name).get_attribute("aria-valuetext") or "nan")


def wait_for_bars(lab: LabPage, discount: float, sweeps: int = 12) -> None:
    lab.page.wait_for_function(BARS_ARE, arg=[discount, sweeps], timeout=10_000)


def finish(lab: LabPage) -> None:
    assert lab.errors == []
    assert lab.output_errors() == []


def test_keyboard_and_drag_change_the_drawing(lab_page: OpenNotebook) -> None:
    """Defect: Python's state moves while the page keeps the old figure, or the other way round."""
    lab = opened(lab_page, QUICK)
    wait_for_bars(lab, 0.5)
    lab.press(handle(lab, "Discount"), "ArrowRight", 5)
    wait_for_bars(lab, 0.55)
    assert shown(lab, "Discount") == 0.55
    lab.drag(handle(lab, "Discount"), 40)
    lab.wait_idle()
    dragged = shown(lab, "Discount")
    assert dragged > 0.6
    wait_for_bars(lab, dragged)
    finish(lab)


def test_views_redraw_follow_and_play(lab_page: OpenNotebook) -> None:
    """Defect: the play button does nothing, or the sweep slider points past the sweeps of a shorter result."""
    lab = opened(lab_page, QUICK)
    lab.press(handle(lab, "Sweep"), "ArrowRight", 3)
    lab.page.wait_for_function(f"() => ({COLOURED})() === 3")
    assert "sweep 3" in (lab.figures.first.get_attribute("aria-label") or "")
    lab.page.get_by_role("button", name="Play or pause").click()
    lab.page.wait_for_function(f"() => ({COLOURED})() === 11", timeout=20_000)
    lab.press(handle(lab, "Discount"), "Home")
    lab.press(handle(lab, "Discount"), "ArrowRight", 5)
    wait_for_bars(lab, 0.05, sweeps=3)
    lab.page.wait_for_function(f"() => ({COLOURED})() === 2")
    lab.page.wait_for_function("() => document.querySelector('.rlbook-played .widget-readout').textContent === '2'")
    finish(lab)


def test_twenty_quick_moves(lab_page: OpenNotebook) -> None:
    """Defect: each move starts a run of half a second, and the reader waits ten seconds for the last."""
    lab = opened(lab_page, SLOW)
    lab.press(handle(lab, "Discount"), "ArrowRight", 20, interval_ms=30)
    began = time.monotonic()
    lab.wait_idle(timeout_ms=1000)
    wait_for_bars(lab, 0.7)
    assert time.monotonic() - began < 3
    assert shown(lab, "Discount") == 0.7
    # Nothing older may come later.
    lab.page.wait_for_timeout(1200)
    wait_for_bars(lab, 0.7)
    finish(lab)


def test_the_kernel_answers_during_a_long_run(lab_page: OpenNotebook) -> None:
    """Defect: the kernel is busy until the run is over; or there is no way to stop it."""
    lab = opened(lab_page, SLOW.replace("0.5", "60"))
    lab.press(handle(lab, "Discount"), "ArrowRight")
    lab.wait_idle(timeout_ms=1000)
    cancel = lab.page.get_by_role("button", name="Cancel", exact=True)
    cancel.wait_for(state="visible")
    lab.press(handle(lab, "Sweep"), "ArrowRight", 2)
    lab.page.wait_for_function(f"() => ({COLOURED})() === 2", timeout=5000)
    cancel.click()
    cancel.wait_for(state="hidden")
    assert lab.page.get_by_role("alert").inner_text().startswith("Cancelled")
    wait_for_bars(lab, 0.5)
    finish(lab)


def test_a_lab_that_raises_at_first_is_a_sentence_on_the_page(lab_page: OpenNotebook) -> None:
    """Defect: the cell shows a traceback, or an empty panel that says nothing, and the sliders lead nowhere."""
    lab = lab_page([IMPORT, QUICK.replace("PowersLab()", "PowersLab(), discount=0.17")])
    lab.run_all()
    lab.wait_idle()
    alert = lab.page.get_by_role("alert")
    alert.wait_for(state="visible")
    assert alert.inner_text() == "This lab stopped with ZeroDivisionError: division by zero"
    lab.press(handle(lab, "Discount"), "ArrowRight", 3)
    wait_for_bars(lab, 0.2)
    alert.wait_for(state="hidden")
    assert shown(lab, "Sweep") == 0
    finish(lab)


def test_the_badge_the_reset_and_the_code(lab_page: OpenNotebook) -> None:
    """Defect: buttons that do nothing on the page although their callbacks work in Python."""
    lab = opened(lab_page, QUICK)
    badge = lab.page.locator(".rlbook-badge")
    assert "holds" in badge.inner_text()
    lab.press(handle(lab, "Discount"), "ArrowRight", 45)
    lab.page.wait_for_function("() => document.querySelector('.rlbook-badge').innerText.includes('fails')")
    assert "preview: 2 of 5 seeds" in badge.inner_text()
    lab.page.get_by_role("button", name="Verdict over 5 seeds").click()
    lab.page.wait_for_function("() => document.querySelector('.rlbook-badge').innerText.includes('n = 5')")
    lab.page.get_by_role("button", name="Reset", exact=True).click()
    wait_for_bars(lab, 0.5)
    assert shown(lab, "Discount") == 0.5
    lab.page.get_by_role("button", name="Copy as code").click()
    code = lab.page.get_by_role("textbox", name="Code that computes and draws what you see")
    assert "'discount': 0.5" in code.input_value()
    finish(lab)


def test_nothing_overlaps_or_is_cut(lab_page: OpenNotebook) -> None:
    """Defect: labels cut, controls over each other or wider than a laptop's notebook. The pictures are for people."""
    lab = opened(lab_page, QUICK)
    for theme in ("Light", "Dark"):
        lab.set_theme(f"JupyterLab {theme}")
        for width in (1280, 1024):
            lab.page.set_viewport_size({"width": width, "height": 900})
            lab.page.wait_for_timeout(500)
            lab.screenshot(f"explorer-{theme.lower()}-{width}")
            check_layout(lab)
    finish(lab)


def check_layout(lab: LabPage) -> None:
    explorer = lab.page.locator(".rlbook-explorer").bounding_box()
    assert explorer is not None
    parts = ".rlbook-fields > *, .rlbook-figure, .rlbook-views > *, .rlbook-badge, .rlbook-actions > .widget-button"
    boxes = [box for part in lab.page.locator(parts).all() if (box := part.bounding_box()) is not None]
    assert len(boxes) == 9
    for number, box in enumerate(boxes):
        assert box["x"] + box["width"] <= explorer["x"] + explorer["width"] + 1
        for other in boxes[:number]:
            assert apart(box, other), (box, other)
    cut = lab.page.locator(".rlbook-explorer .widget-label").evaluate_all(
        "labels => labels.filter(l => l.scrollWidth > l.clientWidth + 1).map(l => l.textContent)"
    )
    assert cut == []


def apart(one: FloatRect, other: FloatRect) -> bool:
    beside = one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
    above = one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
    return beside or above
