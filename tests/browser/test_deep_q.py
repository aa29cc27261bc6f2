"""Chapter 09 as a student meets it: an agent that learns before their eyes, and can be stopped."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Locator

from .conftest import OpenNotebook
from .lab_page import LabPage

pytestmark = pytest.mark.browser

WATCH = """from rlbook.deep.live_training import LiveTraining
from rlbook.widgets import watch_training

settings = {"seeds": 2, "steps": 900_000, "evaluations": 300, "learning_starts": 1_000}  # nobody waits for its end
watch = watch_training(LiveTraining("dqn", "CartPole-v1", **settings))
watch"""
ASK = "print(watch.problem or 'well')"
# Points of all curves that stand on the page.
POINTS = """() => document.querySelectorAll('.rlbook-figure .js-plotly-plot')[0]._fullData
    .flatMap(trace => Array.from(trace.y)).filter(Number.isFinite).length"""
SCENE = "() => document.querySelectorAll('.rlbook-figure .js-plotly-plot')[1]?._fullLayout?.title?.text ?? ''"


def button(lab: LabPage, name: str) -> Locator:
    return lab.page.get_by_role("button", name=name, exact=True)


def wait_for_points(lab: LabPage, least: int) -> None:
    lab.page.wait_for_function(f"least => ({POINTS})() >= least", arg=least, timeout=60_000)


def wait_for_rest(lab: LabPage) -> None:
    lab.page.wait_for_function(
        "() => Array.from(document.querySelectorAll('.rlbook-fields .widget-label'), each => each.textContent)"
        ".some(text => ['At rest', 'Done'].includes(text))"
    )


def opened(lab_page: OpenNotebook) -> LabPage:
    lab = lab_page([WATCH, ASK])
    lab.run_cell(0)
    lab.wait_idle()
    lab.wait_painted(2)
    return lab


def said(lab: LabPage) -> str:
    lab.run_cell(1)
    lab.wait_idle()
    return lab.page.locator(".jp-OutputArea-output").last.inner_text().strip()


def test_curves_grow_stop_keeps_them_and_the_agent_plays(lab_page: OpenNotebook) -> None:
    """Defects: curves that come at the end only, a stop that waits or empties them, an agent that stays untrained.

    And after ten quick clicks: an error, two trainings at once, or buttons that no longer do what they say.
    """
    lab = opened(lab_page)
    assert lab.page.evaluate(POINTS) == 0
    untrained = lab.page.evaluate(SCENE)
    assert untrained.startswith("Step 0 of ")
    assert button(lab, "Stop").is_disabled()
    button(lab, "Train").click()
    wait_for_points(lab, 3)
    before = lab.page.evaluate(POINTS)
    wait_for_points(lab, before + 3)
    asked = time.monotonic()
    button(lab, "Stop").click()
    wait_for_rest(lab)
    assert time.monotonic() - asked < 5  # two seconds and a busy machine
    kept = lab.page.evaluate(POINTS)
    assert kept >= before + 3
    lab.page.wait_for_timeout(700)
    assert lab.page.evaluate(POINTS) == kept  # nothing older or newer may come
    lab.page.wait_for_function(f"before => ({SCENE})() !== before", arg=untrained)
    button(lab, "Play or pause").click()
    lab.page.wait_for_function(f"() => Number(/^Step (\\d+) /.exec(({SCENE})())[1]) >= 3")
    button(lab, "Play or pause").click()
    scene = lab.figures.nth(1).get_attribute("aria-label") or ""
    assert "The cart is" in scene
    lab.screenshot("ch09-watched")
    for _ in range(5):
        for name in ("Train", "Stop"):
            button(lab, name).dispatch_event("click")
            lab.page.wait_for_timeout(50)
    wait_for_rest(lab)
    assert said(lab) == "well"
    assert lab.page.evaluate(POINTS) >= kept
    button(lab, "Begin anew").click()
    lab.page.wait_for_function(f"kept => ({POINTS})() < kept", arg=kept)
    wait_for_points(lab, 2)
    button(lab, "Stop").click()
    wait_for_rest(lab)
    assert said(lab) == "well"
    assert button(lab, "Train").is_enabled()
    assert lab.errors == []
    assert lab.output_errors() == []
