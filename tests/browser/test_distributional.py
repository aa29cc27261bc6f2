"""Chapter 08 as a student meets it: a law that moves under the fingers, and a race of metrics."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from rlbook.chapters.ch08_distributional.contraction_race import ContractionRace, RaceParameters, RaceView
from rlbook.chapters.ch08_distributional.moving_law import MovingLaw, MovingParameters, MovingView
from rlbook.lab import Context, Lab
from rlbook.registry import find_lab

from .test_chapters import LabPage, OpenNotebook, finish, slider

pytestmark = pytest.mark.browser

PLOT = "document.querySelector('.rlbook-figure[data-revision] .js-plotly-plot')"
TITLE_IS = f"title => {PLOT}?._fullLayout?.title?.text === title"
# Places and heights of all traces, from what plotly made of them.
DRAWN = f"() => {PLOT}._fullData.map(trace => [Array.from(trace.x), Array.from(trace.y)])"
# Titles of the figure and of its axes that leave it, or that lie over each other. The box of a line is higher than its
# letters, by which the upper one may stand out.
MISPLACED = f"""() => {{
    const plot = {PLOT}, box = plot.getBoundingClientRect();
    const titles = Array.from(plot.querySelectorAll('.infolayer .g-gtitle text, .infolayer [class*="title"] > text'))
        .filter(title => title.textContent).map(title => [title.textContent, title.getBoundingClientRect()]);
    const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
    const cut = titles.filter(([, at]) => at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 5
        || at.bottom > box.bottom + 1).map(([text]) => `cut: ${{text}}`);
    const over = titles.flatMap(([text, at], i) => titles.slice(i + 1).filter(([, other]) => !apart(at, other))
        .map(([other]) => `${{text}} over ${{other}}`));
    return titles.length > 1 ? [...cut, ...over] : ['no titles'];
}}"""


@cache
def figure_of(lab: Lab[Any, Any], parameters: Any, view: Any) -> go.Figure:
    """What the page must show, computed here and not read from the notebook's kernel."""
    return lab.figure(lab.run(parameters, range(lab.preview_seeds), Context()), view)


def opened(lab_page: OpenNotebook, name: str) -> LabPage:
    lab = lab_page(["from rlbook import explore", f'explore("{name}")'])
    lab.run_all()
    lab.page.wait_for_function(f"() => {PLOT}?._fullLayout?.title?.text")
    return lab


def assert_drawn(lab: LabPage, expected: go.Figure) -> None:
    """The title and all numbers on the page are those of this figure, or will be within 20 seconds."""
    lab.page.wait_for_function(TITLE_IS, arg=expected.layout.title.text, timeout=20_000)
    latest = time.monotonic() + 20
    while not is_drawn(lab, expected) and time.monotonic() < latest:  # titles do not tell all values
        lab.page.wait_for_timeout(100)
    assert is_drawn(lab, expected)


def is_drawn(lab: LabPage, expected: go.Figure) -> bool:
    drawn = lab.page.evaluate(DRAWN)
    return len(drawn) == len(expected.data) and all(
        same(axis, list(right[key]))
        for found, right in zip(drawn, expected.data, strict=True)
        for axis, key in zip(found, "xy", strict=True)
    )


def same(found: list[Any], wanted: list[Any]) -> bool:
    if any(isinstance(each, str) for each in wanted):
        return found == wanted
    numbers = [np.array(each, dtype=float) for each in (found, wanted)]
    return numbers[0].shape == numbers[1].shape and np.allclose(*numbers, rtol=1e-9, atol=0, equal_nan=True)


def test_the_law_follows_quick_sweeps_and_the_discount(lab_page: OpenNotebook) -> None:
    """Defects: histogram and quantile function of different sweeps; a law of a discount that was passed, or
    a slider that stops where its parameter may not stand."""
    lab = opened(lab_page, "moving-law")
    moving, first = MovingLaw(), MovingParameters()
    lab.press(slider(lab, "Sweep"), "ArrowRight", 10, interval_ms=25)
    assert_drawn(lab, figure_of(moving, first, MovingView(sweep=13)))
    lab.press(slider(lab, "Discount"), "ArrowLeft", 6, interval_ms=25)
    reached = float(slider(lab, "Discount").get_attribute("aria-valuetext") or "nan")
    assert reached < first.discount
    expected = figure_of(moving, MovingParameters(discount=reached), MovingView(sweep=13))
    assert_drawn(lab, expected)
    lab.page.wait_for_timeout(700)  # nothing older may come later
    assert_drawn(lab, expected)
    finish(lab, "ch08")


def test_the_law_is_shown_in_the_representation_that_is_chosen(lab_page: OpenNotebook) -> None:
    """Defect: masses drawn at places that belong to another representation."""
    lab = opened(lab_page, "moving-law")
    for name in ("categorical", "expectiles", "particles", "quantiles"):
        lab.page.get_by_label("Representation", exact=True).select_option(name)
        assert_drawn(lab, figure_of(MovingLaw(), MovingParameters(representation=name), MovingView()))
    finish(lab, "ch08-representations")


@pytest.mark.parametrize(
    ("name", "control", "field"),
    [
        ("contraction-race", "Discount", "discount"),
        ("heavy-tails", "Tail", "tail"),
        ("iqn-quantiles", "Wind", "wind"),
        ("convex-scoring", "Level", "level"),
        ("risk-measures", "Level", "level"),
        ("battery-arbitrage", "Risk weight", "risk_weight"),
        ("joint-return", "Discount", "discount"),
        ("joint-contraction", "Discount", "discount"),
    ],
)
def test_figures_follow_ten_quick_moves_and_fit_their_place(
    lab_page: OpenNotebook, name: str, control: str, field: str
) -> None:
    """Defects: a figure of a value that was passed; titles and axes cut at the edge, or over one another."""
    lab = opened(lab_page, name)
    assert lab.page.evaluate(MISPLACED) == []
    declared = find_lab(name)
    lab.press(slider(lab, control), "ArrowLeft", 10, interval_ms=25)
    reached = float(slider(lab, control).get_attribute("aria-valuetext") or "nan")
    assert reached < getattr(declared.Parameters(), field)
    chosen = declared.Parameters(**{field: reached})
    result = declared.run(chosen, range(declared.preview_seeds), Context())
    expected = declared.figure(declared.stamp(result, chosen), declared.make_view(result))
    assert_drawn(lab, expected)
    lab.page.wait_for_timeout(700)  # nothing older may come later
    assert_drawn(lab, expected)
    assert lab.page.evaluate(MISPLACED) == []
    finish(lab, f"ch08-{name}")


def test_the_race_shows_the_metric_that_is_chosen(lab_page: OpenNotebook) -> None:
    """Defects: a chosen metric that is not the one held against its modulus; distances that lose their unit."""
    lab = opened(lab_page, "contraction-race")
    race = ContractionRace()
    lab.page.get_by_label("Metric", exact=True).select_option("Gaussian MMD")
    ring = lab.page.get_by_role("radio", name="ring").or_(lab.page.get_by_role("button", name="ring", exact=True))
    ring.first.click()
    chosen = RaceParameters(metric="Gaussian MMD", world="ring")
    assert_drawn(lab, figure_of(race, chosen, RaceView()))
    lab.page.get_by_role("checkbox", name="Absolute", exact=True).focus()
    lab.page.keyboard.press("Space")
    lab.page.wait_for_function(f"() => {PLOT}._fullLayout.yaxis.title.text === 'largest distance'")
    assert_drawn(lab, figure_of(race, chosen, RaceView(absolute=True)))
    finish(lab, "ch08-race")
