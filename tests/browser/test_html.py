"""An exported page in a real browser, opened as a file with the network off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rlbook.figures.html import write_html
from rlbook.running import judge, run_lab
from rlbook.store import RunStore

from ..core.fake_lab import UniformMean

pytestmark = pytest.mark.browser

LAB = UniformMean()
DRAWS = 12


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("html")
    store = RunStore(folder / "store")
    chosen = {"draws": DRAWS}
    result = run_lab(LAB, chosen, seeds=12, store=store)
    return write_html(LAB, result, folder / "page.html", judge(LAB, chosen, seeds=12, store=store))


@pytest.fixture(params=["light", "dark"])
def opened(request: pytest.FixtureRequest, chromium: Browser, exported: Path) -> Iterator[Page]:
    """The page, drawn; fails at the end if the browser complained."""
    context = chromium.new_context(
        offline=True, color_scheme=request.param, viewport={"width": 1024, "height": 768}, reduced_motion="reduce"
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(exported.as_uri())
    expect(page.locator("#figure")).to_have_attribute("data-frame", "0", timeout=20_000)
    yield page
    context.close()
    assert complaints == []


def drawn(page: Page) -> list[float]:
    """What plotly has on the screen, not what the page was given."""
    points: list[float] = page.evaluate("() => Array.from(document.getElementById('figure')._fullData[0].y)")
    assert page.locator("#figure svg .trace").count() == 1
    return points


def wait_for(page: Page, draw: int, dots: bool = False, centred: bool = False) -> list[float]:
    frame = (draw * 2 + dots) * 2 + centred
    expect(page.locator("#figure")).to_have_attribute("data-frame", str(frame))
    return drawn(page)


def test_the_slider_redraws_by_keyboard(opened: Page) -> None:
    slider = opened.get_by_role("slider", name="draw", exact=True)
    slider.focus()
    first = wait_for(opened, 0)
    opened.keyboard.press("ArrowRight")
    second = wait_for(opened, 1)
    assert (len(first), len(second)) == (1, 2)
    assert second[0] == first[0]
    opened.keyboard.press("End")
    assert len(wait_for(opened, DRAWS - 1)) == DRAWS
    expect(slider).to_have_attribute("aria-valuetext", str(DRAWS - 1))
    expect(opened.locator("#figure")).to_have_attribute("aria-label", f"The first {DRAWS} draws as lines.")
    expect(opened.locator("figcaption")).to_have_text(f"The first {DRAWS} draws as lines.")


def test_the_last_of_many_quick_moves_is_shown(opened: Page) -> None:
    opened.get_by_role("slider", name="draw", exact=True).focus()
    for key in ["ArrowRight"] * 11 + ["ArrowLeft"] * 9:
        opened.keyboard.press(key)
    assert len(wait_for(opened, 2)) == 3


def test_nothing_offers_to_upload_the_figure(opened: Page) -> None:
    opened.locator("#figure").hover()
    expect(opened.locator("[data-title='Zoom'], [aria-label='Zoom']")).to_have_count(1)
    assert "Share" not in opened.locator("#figure .modebar").inner_html()


def test_choices_and_toggles_redraw(opened: Page) -> None:
    plain = wait_for(opened, 0)
    opened.get_by_label("centred").check()
    centred = wait_for(opened, 0, centred=True)
    assert centred[0] == pytest.approx(plain[0] - 0.5)
    opened.get_by_label("marks").select_option("dots")
    wait_for(opened, 0, dots=True, centred=True)
    assert opened.evaluate("() => document.getElementById('figure')._fullData[0].mode") == "markers"


def test_play_runs_to_the_end_and_can_be_paused(opened: Page) -> None:
    opened.get_by_role("button", name="Play draw").click()
    opened.get_by_role("button", name="Pause draw").click()
    expect(opened.get_by_role("button", name="Play draw")).to_be_visible()
    opened.get_by_role("button", name="Play draw").click()
    expect(opened.locator("#figure")).to_have_attribute("data-frame", str((DRAWS - 1) * 4), timeout=15_000)
    expect(opened.get_by_role("button", name="Play draw")).to_be_visible()


def test_the_page_fits_a_laptop_and_follows_the_colour_scheme(opened: Page) -> None:
    for width in (1280, 1024, 720):
        opened.set_viewport_size({"width": width, "height": 800})
        opened.wait_for_function(
            "() => Math.abs(document.querySelector('#figure .main-svg').clientWidth"
            " - document.getElementById('figure').clientWidth) <= 1"
        )
        assert opened.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    dark = opened.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    ink = opened.evaluate("() => getComputedStyle(document.querySelector('#figure .gtitle')).fill")
    brightness = sum(int(part) for part in ink[4:-1].split(",")) / 3
    assert (brightness > 128) == dark


def test_the_colour_scheme_can_change_while_the_page_is_open(opened: Page) -> None:
    def ink() -> str:
        return str(opened.evaluate("() => getComputedStyle(document.querySelector('#figure .gtitle')).fill"))

    before = ink()
    dark = opened.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    opened.emulate_media(color_scheme="light" if dark else "dark")
    opened.wait_for_function(
        "before => getComputedStyle(document.querySelector('#figure .gtitle')).fill !== before", arg=before
    )
