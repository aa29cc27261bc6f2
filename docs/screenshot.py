"""Makes the README's picture: chapter 02 in JupyterLab, as a reader sees it. Run `python -m docs.screenshot`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.browser.chromium import launch_chromium
from tests.browser.jupyter import serve_jupyter
from tests.browser.lab_page import open_lab_page

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "chapters" / "ch02_dynamic_programming" / "ch02_dynamic_programming.ipynb"
LAB = "value-iteration-contraction"


def main() -> None:
    """Open the chapter, run it, move the sweep to where values have met the walls, judge, and take the picture."""
    with (
        launch_chromium() as browser,
        tempfile.TemporaryDirectory() as folder,
        serve_jupyter(Path(folder)) as server,
        open_lab_page(browser, server.url, server.add(NOTEBOOK)) as lab,
    ):
        lab.page.set_viewport_size({"width": 1240, "height": 1000})
        lab.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
        lab.run_all()
        lab.wait_idle()
        lab.show_cell(f'explore("{LAB}")')
        lab.press(lab.page.get_by_role("slider", name="Sweep", exact=True), "ArrowRight", 12)
        lab.page.get_by_role("button", name="Verdict over 20 seeds").first.click()
        lab.page.wait_for_function("() => document.querySelector('.rlbook-badge').innerText.includes('n = 20')")
        lab.show_cell(f'explore("{LAB}")')
        lab.page.wait_for_timeout(1_000)
        lab.page.screenshot(path=ROOT / "docs" / "chapter02.png")


if __name__ == "__main__":
    main()
