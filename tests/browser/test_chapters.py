"""The chapters as a student meets them: open, run, move sliders, and read what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator

from rlbook.chapters.ch02_dynamic_programming.contraction import (
    ContractionParameters,
    ValueIterationContraction,
    exact_values,
    world_mdp,
)
from rlbook.lab import Context

from .lab_page import LabPage

pytestmark = pytest.mark.browser

OpenNotebook = Callable[[Path | Sequence[str]], LabPage]

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
DYNAMIC_PROGRAMMING = CHAPTERS / "ch02_dynamic_programming" / "ch02_dynamic_programming.ipynb"

# What plotly drew in the figure that has a trace of this name: the cells of the grid, the error curve, the title.
PLOT = """name => Array.from(document.querySelectorAll('.rlbook-figure[data-revision] .js-plotly-plot'))
    .find(plot => plot._fullData?.some(trace => trace.name === name))"""
DRAWN = f"""name => {{
    const plot = ({PLOT})(name);
    const heat = plot._fullData.find(trace => trace.type === 'heatmap' && trace.hovertemplate);
    return {{
        cells: Array.from(heat.z, row => Array.from(row, value => Number.isFinite(value) ? value : null)),
        error: Array.from(plot._fullData.find(trace => trace.name === name).y),
    }};
}}"""
TITLE_HAS = f"([name, parts]) => parts.every(part => ({PLOT})(name)?._fullLayout.title.text.includes(part))"
ERROR, BARS, AVERAGE = "largest error", "computed", "predicted by the exact variance"


def opened(lab_page: OpenNotebook, name: str, lab_name: str, trace: str) -> LabPage:
    """A chapter, run top to bottom, at one of its labs."""
    lab = lab_page(CHAPTERS / name / f"{name}.ipynb")
    lab.run_all()
    lab.wait_idle()
    lab.show_cell(f'explore("{lab_name}")')
    lab.page.wait_for_function(f"name => ({PLOT})(name)", arg=trace)
    return lab


def slider(lab: LabPage, name: str) -> Locator:
    return lab.page.get_by_role("slider", name=name, exact=True).first


def wait_for_title(lab: LabPage, *parts: str, trace: str = ERROR) -> None:
    lab.page.wait_for_function(TITLE_HAS, arg=[trace, parts], timeout=10_000)


def expected(discount: float, sweep: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of the cells and errors, computed here and not read from the notebook's kernel."""
    lab = ValueIterationContraction()
    parameters = ContractionParameters(discount=discount)
    result = lab.run(parameters, [0], Context())
    mdp = world_mdp(parameters)
    assert mdp.layout is not None
    cells = np.full(mdp.layout.rows * mdp.layout.columns, np.nan)
    cells[list(mdp.layout.cell)] = result["values"].values[0, sweep]
    truth, _ = exact_values(mdp)
    errors = np.abs(result["values"].values[0] - truth).max(axis=1)
    return cells.reshape(mdp.layout.rows, mdp.layout.columns), errors / errors[0]


def assert_drawn(lab: LabPage, discount: float, sweep: int) -> None:
    """What is on the page is what these parameters say."""
    wait_for_title(lab, f"Sweep {sweep} ", f"discount {discount:g}")
    drawn = lab.page.evaluate(DRAWN, ERROR)
    cells, errors = expected(discount, sweep)
    shown = np.array([[np.nan if value is None else value for value in row] for row in drawn["cells"]])
    compared = ~np.isnan(shown)
    assert compared.sum() > 40
    np.testing.assert_allclose(shown[compared], cells[compared], atol=1e-12)
    drawn_errors = np.array([np.nan if value is None else value for value in drawn["error"]], dtype=float)
    np.testing.assert_allclose(drawn_errors[~np.isnan(drawn_errors)], errors[errors > 0], atol=1e-12)


def finish(lab: LabPage, name: str) -> None:
    assert lab.errors == []
    assert lab.output_errors() == []
    assert lab.screenshot(name).stat().st_size > 10_000


def test_dynamic_programming_follows_keyboard_drag_and_twenty_quick_moves(lab_page: OpenNotebook) -> None:
    """Defect: a figure that no longer shows what its sliders say."""
    lab = opened(lab_page, "ch02_dynamic_programming", "value-iteration-contraction", ERROR)
    assert_drawn(lab, 0.9, 0)

    lab.press(slider(lab, "Discount"), "ArrowLeft", 5)
    assert_drawn(lab, 0.85, 0)

    lab.press(slider(lab, "Sweep"), "ArrowRight", 3)
    assert_drawn(lab, 0.85, 3)

    lab.drag(slider(lab, "Discount"), -60)
    lab.wait_idle()
    dragged = float(slider(lab, "Discount").get_attribute("aria-valuetext") or "nan")
    assert dragged < 0.8
    assert_drawn(lab, dragged, 3)

    before = round(dragged * 100)
    lab.press(slider(lab, "Discount"), "ArrowRight", 20, interval_ms=25)
    lab.wait_idle(timeout_ms=1000)
    assert_drawn(lab, (before + 20) / 100, 3)
    lab.page.wait_for_timeout(500)
    assert_drawn(lab, (before + 20) / 100, 3)
    finish(lab, "ch02")


def test_the_control_turns_the_badge(lab_page: OpenNotebook) -> None:
    """Defects: a verdict that holds whatever happens; a shorter grid on the axes of the one before."""
    lab = opened(lab_page, "ch02_dynamic_programming", "value-iteration-contraction", ERROR)
    badge = lab.page.locator(".rlbook-badge").first
    assert "holds" in badge.inner_text()
    river = lab.page.get_by_role("radio", name="river").or_(lab.page.get_by_role("button", name="river", exact=True))
    river.first.click()  # the next lab has one as well
    lab.press(slider(lab, "Discount"), "End")
    wait_for_title(lab, "discount 1")
    lab.page.wait_for_function("() => document.querySelector('.rlbook-badge').innerText.includes('fails')")
    assert lab.page.evaluate(f"name => ({PLOT})(name)._fullLayout.yaxis.range", ERROR) == [0.5, -0.5]
    finish(lab, "ch02-control")


def test_real_data_are_drawn_with_the_published_averages(lab_page: OpenNotebook) -> None:
    lab = opened(lab_page, "ch02_dynamic_programming", "icu-sepsis-optimal", BARS)
    heights = lab.page.evaluate(f"name => Array.from(({PLOT})(name)._fullData[0].y)", BARS)
    np.testing.assert_allclose(heights, [0.78, 0.78, 0.88], atol=0.005)
    finish(lab, "ch02-icu-sepsis")


def test_welcome_runs_in_dark_and_answers(lab_page: OpenNotebook) -> None:
    """Defect: a first page with errors on the console, or a figure that cannot be read in the dark theme."""
    lab = opened(lab_page, "ch00_welcome", "averages-converge", AVERAGE)
    lab.set_theme("JupyterLab Dark")
    try:
        lab.show_cell('explore("averages-converge")')
        lab.press(slider(lab, "States"), "ArrowRight", 2)
        wait_for_title(lab, "7-state", trace=AVERAGE)
        finish(lab, "ch00-dark")
    finally:
        lab.set_theme("JupyterLab Light")
