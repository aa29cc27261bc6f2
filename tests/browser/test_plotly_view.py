"""PlotlyView in a real page: what is drawn, not what Python believes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from .jupyter import JupyterServer
from .lab_page import LabPage, open_lab_page
from .measure import measure_slider

pytestmark = pytest.mark.browser

SET_UP = """
import ipywidgets
import plotly.graph_objects as go
from IPython.display import display
from rlbook.widgets.plotly_view import PlotlyView

def bars(n, **layout):
    return go.Figure(go.Bar(y=list(range(1, n + 1))), layout={"title": f"{n} bars", **layout})
"""
SLIDER_AND_FIGURE = """
slider = ipywidgets.IntSlider(value=20, min=1, max=60)
first = PlotlyView(bars(20), alt_text="Twenty bars, each one higher than the last.", height=300)
slider.observe(lambda change: first.show(bars(change.new)), "value")
display(slider, first)
"""
FIVE_MORE = """
more = [PlotlyView(bars(k), height=200) for k in range(2, 7)]
display(*more)
"""
CELLS = {
    "burst": "burst = PlotlyView(bars(1)); display(burst)",
    "burst, shown": "for n in range(2, 61): burst.show(bars(n))",
    "slow": "slow = PlotlyView(bars(1), height=200); display(slow)",
    "slow, shown": "import time; slow.show(bars(2)); time.sleep(0.15); slow.show(bars(3)); None",
    "two views": "double = PlotlyView(bars(3)); display(double); display(double); double.show(bars(4)); None",
    "hidden": "display(ipywidgets.Accordion([PlotlyView(bars(5), height=200)], titles=['open']))",
    "removed": "display(PlotlyView(bars(6), height=200))",
    "broken": "broken = PlotlyView(bars(7), height=200); display(broken); broken.figure = '{'; broken.revision = 2",
    "broken, shown": "broken.show(bars(8)); None",
    "empty": "empty = PlotlyView(height=200); display(empty)",
    "empty, shown": "empty.show(bars(9)); None",
    "away": "away = PlotlyView(bars(10), height=200); display(away)",
    "away, shown": "away.show(bars(11)); None",
    "own colours": "display(PlotlyView(bars(9, font_color='#ff0000', height=240)))",
    "told": "told = PlotlyView(bars(2), alt_text='Two.'); display(told); told.show(bars(3), alt_text='Three.'); None",
}


@pytest.fixture(scope="module")
def six(chromium: Browser, jupyter_server: JupyterServer) -> Iterator[LabPage]:
    """A page with a slider and six figures; its tests leave the figures as the slider has them."""
    notebook = jupyter_server.add([SET_UP, SLIDER_AND_FIGURE, FIVE_MORE])
    with open_lab_page(chromium, jupyter_server.url, notebook) as lab:
        lab.run_all()
        lab.wait_painted(6)
        lab.wait_idle()
        yield lab


@pytest.fixture(scope="module")
def cells(chromium: Browser, jupyter_server: JupyterServer) -> Iterator[LabPage]:
    """A page whose cells, one for each test, are run by their tests."""
    notebook = jupyter_server.add([SET_UP, *CELLS.values()])
    with open_lab_page(chromium, jupyter_server.url, notebook) as lab:
        lab.run_cell(0)
        lab.wait_idle()
        yield lab


def run(lab: LabPage, cell: str) -> Locator:
    """Run one of CELLS; return the figures in its output."""
    index = 1 + list(CELLS).index(cell)
    lab.run_cell(index)
    lab.wait_idle()
    return lab.page.locator(".jp-NotebookPanel .jp-CodeCell").nth(index).locator(".rlbook-figure")


def shown(figure: Locator) -> tuple[str, int]:
    """The title and the number of bars in the SVG that the reader sees."""
    return figure.locator(".gtitle").text_content() or "", figure.locator(".bars .point").count()


def width(figure: Locator) -> int:
    return int(figure.locator(".main-svg").first.get_attribute("width") or 0)


def text_colour(figure: Locator) -> str:
    return figure.locator(".gtitle").evaluate("title => getComputedStyle(title).fill")


def expect_bars(figure: Locator, n: int) -> None:
    expect(figure.locator(".gtitle")).to_have_text(f"{n} bars")
    expect(figure.locator(".bars .point")).to_have_count(n)


def test_six_figures_load_plotly_once(six: LabPage) -> None:
    """Prevents: a copy of plotly.js for each figure, 5 MB and two seconds each."""
    assert six.page.evaluate("() => rlbookPlotly.loads") == 1
    assert 1_000_000 < six.received_bytes < 7_000_000
    assert [shown(six.figures.nth(k)) for k in range(6)] == [
        ("20 bars", 20),
        *((f"{k} bars", k) for k in range(2, 7)),
    ]


def test_a_slider_step_redraws_the_figure_in_place(six: LabPage) -> None:
    """Prevents: a new plot beside the old one, and a figure that keeps showing the former value."""
    before = six.revision()
    six.press(0, "ArrowRight")
    expect_bars(six.figures.first, 21)
    expect(six.figures.first).to_have_attribute("data-revision", str(before + 1))
    assert six.figures.first.locator(".main-svg .cartesianlayer").count() == 1
    six.drag(0, -40)
    expect(six.figures.first.locator(".gtitle")).not_to_have_text("21 bars")
    value = int(six.page.locator(".widget-readout").first.inner_text())
    assert value < 21
    expect_bars(six.figures.first, value)


def test_the_last_of_twenty_quick_steps_is_what_stands(six: LabPage) -> None:
    """Prevents: drawings that overtake each other, and a queue that the kernel still works off a second later."""
    six.page.locator(".noUi-handle").first.press("Home")
    expect_bars(six.figures.first, 1)
    six.press(0, "ArrowRight", times=20, interval_ms=10)
    six.wait_idle(timeout_ms=1000)
    expect_bars(six.figures.first, 21)


def test_the_measure_sees_every_press(six: LabPage) -> None:
    """Prevents: benchmarks that time the wrong element, or take the drawing of one press for that of the next."""
    measured = measure_slider(six, presses=4, repeats=5, quiet_ms=200)
    assert len(measured.latencies_ms) == 4
    assert 0 < min(measured.latencies_ms) <= measured.median_ms <= measured.p95_ms <= max(measured.latencies_ms)
    assert measured.settle_ms > 0
    assert 1 <= measured.drawings_while_held <= 5
    assert 100 < measured.received_bytes_per_press < 100_000


def test_the_figure_fits_its_cell_and_follows_its_width(six: LabPage) -> None:
    """Prevents: figures of plotly's fixed 700 pixels, cut off or lost in a wide page."""
    figure = six.figures.first
    six.page.set_viewport_size({"width": 900, "height": 900})
    expect(figure.locator(".main-svg").first).to_have_attribute("width", str(figure.evaluate("el => el.clientWidth")))
    six.page.set_viewport_size({"width": 1280, "height": 900})
    expect(figure.locator(".main-svg").first).to_have_attribute("width", str(figure.evaluate("el => el.clientWidth")))
    assert figure.locator(".main-svg").first.get_attribute("height") == "300"


def test_the_theme_colours_the_figure_at_once(six: LabPage) -> None:
    """Prevents: black text on a black page after a change of theme, and a white box in a dark page."""
    light = text_colour(six.figures.first)
    six.set_theme("JupyterLab Dark")
    try:
        expect(six.figures.first.locator(".gtitle")).not_to_have_css("fill", light)
        dark = text_colour(six.figures.first)
        six.screenshot("plotly_view_dark")
    finally:
        six.set_theme("JupyterLab Light")
    expect(six.figures.first.locator(".gtitle")).to_have_css("fill", light)
    assert brightness(light) < 100 < 155 < brightness(dark)
    assert six.figures.first.locator(".main-svg").first.evaluate("svg => svg.style.background") == "rgba(0, 0, 0, 0)"


def brightness(colour: str) -> float:
    """The mean of red, green and blue of a computed colour, 0 to 255."""
    return sum(float(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3]) / 3


def test_a_reload_draws_again_without_running_a_cell(six: LabPage) -> None:
    """Prevents: empty outputs when a reader returns to a notebook whose kernel still runs."""
    before = [shown(six.figures.nth(k)) for k in range(6)]
    received = six.received_bytes
    six.reload()
    six.wait_painted(6)
    assert [shown(six.figures.nth(k)) for k in range(6)] == before
    assert six.page.evaluate("() => rlbookPlotly.loads") == 1
    assert six.received_bytes - received < 7_000_000
    six.press(0, "End")
    expect_bars(six.figures.first, 60)
    assert six.errors == []
    assert six.output_errors() == []


def test_a_burst_of_figures_is_one_drawing(cells: LabPage) -> None:
    """Prevents: sixty drawings, one after the other, of which a reader sees the last a second late."""
    figure = run(cells, "burst")
    expect_bars(figure, 1)
    figure.locator(".js-plotly-plot").evaluate(
        """plot => {
            window.drawings = 0;
            plot.on("plotly_afterplot", () => { drawings += 1 });
            const held = [];
            const requestFrame = window.requestAnimationFrame;
            window.requestAnimationFrame = callback => held.push(callback);
            window.release = () => {
                window.requestAnimationFrame = requestFrame;
                requestFrame(time => held.forEach(callback => callback(time)));
            };
        }"""
    )
    run(cells, "burst, shown")
    cells.page.wait_for_timeout(300)
    cells.page.evaluate("() => release()")
    expect(figure).to_have_attribute("data-revision", "60")
    expect_bars(figure, 60)
    assert cells.page.evaluate("() => drawings") == 1


def test_a_figure_that_arrives_during_a_slow_drawing_is_drawn_next(cells: LabPage) -> None:
    """Prevents: the last position of a slider lost, or drawn over, because the drawing before it was not done yet."""
    cells.page.evaluate(
        """async () => {
            const [[version, loading]] = rlbookPlotly.libraries;
            const { newPlot, react, purge } = await loading;
            const delays = [600];
            const slow = async (...figure) => {
                await new Promise(resolve => setTimeout(resolve, delays.shift() ?? 0));
                return react(...figure);
            };
            rlbookPlotly.libraries.set(version, Promise.resolve({ newPlot, purge, react: slow }));
            window.hurry = () => rlbookPlotly.libraries.set(version, loading);
        }"""
    )
    try:
        figure = run(cells, "slow")
        expect_bars(figure, 1)
        run(cells, "slow, shown")
        expect(figure).to_have_attribute("data-revision", "3")
        cells.page.wait_for_timeout(800)
        expect_bars(figure, 3)
    finally:
        cells.page.evaluate("() => hurry()")


def test_two_views_of_one_figure_stay_together(cells: LabPage) -> None:
    """Prevents: state kept on the model, so that a second view steals the drawing of the first."""
    figures = run(cells, "two views")
    expect_bars(figures.nth(0), 4)
    expect_bars(figures.nth(1), 4)


def test_a_figure_hidden_at_first_is_drawn_when_it_appears(cells: LabPage) -> None:
    """Prevents: a figure drawn 0 pixels wide in a closed tab, which stays so when the tab opens."""
    figure = run(cells, "hidden")
    cells.page.get_by_text("open", exact=True).click()
    expect_bars(figure, 5)
    assert width(figure) > 300


def test_a_removed_figure_is_purged(cells: LabPage) -> None:
    """Prevents: listeners and canvases of every earlier run of a cell, kept for the life of the page."""
    figure = run(cells, "removed")
    expect_bars(figure, 6)
    plot = figure.locator(".js-plotly-plot").element_handle()
    cells.page.evaluate("() => jupyterapp.commands.execute('notebook:clear-cell-output')")
    expect(figure).to_have_count(0)
    assert plot.evaluate("plot => plot._fullLayout === undefined")


def test_a_figure_that_cannot_be_drawn_says_so_and_recovers(cells: LabPage) -> None:
    """Prevents: an empty box without a word, and one bad figure that ends its view for good."""
    figure = run(cells, "broken")
    expect(figure).to_contain_text("This figure could not be drawn")
    assert "JSON" in cells.errors.pop()
    run(cells, "broken, shown")
    expect_bars(figure, 8)
    expect(figure).not_to_contain_text("could not be drawn")


def test_an_empty_view_waits_in_silence(cells: LabPage) -> None:
    """Prevents: an error in the place of a figure that is still being computed."""
    figure = run(cells, "empty")
    cells.page.wait_for_timeout(200)
    assert figure.inner_text() == ""
    assert figure.evaluate("el => el.clientHeight") == 200
    run(cells, "empty, shown")
    expect_bars(figure, 9)


def test_a_figure_that_left_the_page_comes_back_up_to_date(cells: LabPage) -> None:
    """Prevents: an old or squeezed drawing when JupyterLab takes a cell out of the page while it is scrolled away."""
    figure = run(cells, "away")
    expect_bars(figure, 10)
    figure.evaluate(
        """figure => {
            const home = figure.parentElement;
            window.putBack = () => home.append(figure);
            figure.remove();
        }"""
    )
    run(cells, "away, shown")
    cells.page.evaluate("() => putBack()")
    expect_bars(figure, 11)
    assert width(figure) > 300


def test_a_figure_keeps_the_colours_and_height_it_asks_for(cells: LabPage) -> None:
    """Prevents: a theme, or a default height, that overrules the author."""
    figure = run(cells, "own colours")
    expect_bars(figure, 9)
    assert text_colour(figure) == "rgb(255, 0, 0)"
    assert figure.locator(".main-svg").first.get_attribute("height") == "240"


def test_the_text_alternative_follows_the_figure(cells: LabPage) -> None:
    """Prevents: a screen reader that finds a nameless image, or hears of the figure before."""
    run(cells, "told")
    expect_bars(cells.page.get_by_role("img", name="Three.", exact=True), 3)
    assert cells.errors == []
    assert cells.output_errors() == []
