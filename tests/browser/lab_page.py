"""A notebook open in JupyterLab in a real browser, and what a reader does with it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, WebSocket

ARTIFACTS = Path(__file__).resolve().parents[2] / ".artifacts"
FIGURE = ".jp-NotebookPanel .rlbook-figure"
SLIDER = ".jp-NotebookPanel .noUi-handle"
LIGHT = "JupyterLab Light"
_TIMEOUT_MS = 60_000

# Cells run before the kernel is connected are lost without a word, although the page already calls it idle.
_CONNECT = """async () => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
}"""
_KERNEL_IDLE = "() => jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
_RUN_ALL = "() => { window.rlbookRun = jupyterapp.commands.execute('notebook:run-all-cells') }"
_RUN_CELL = """index => {
    jupyterapp.shell.currentWidget.content.activeCellIndex = index;
    window.rlbookRun = jupyterapp.commands.execute('notebook:run-cell');
}"""
_SHOW_CELL = """async text => {
    const notebook = jupyterapp.shell.currentWidget.content;
    const at = notebook.widgets.findIndex(cell =>
        cell.model.type === 'code' && cell.model.sharedModel.getSource().includes(text));
    if (at < 0) throw new Error(`no code cell holds ${text}`);
    notebook.activeCellIndex = at;
    await notebook.scrollToItem(at, 'start');
}"""
_PAINTED = "([figure, least]) => document.querySelectorAll(`${figure}[data-revision]`).length >= least"
_RAN = """() => {
    const done = () => { window.rlbookRun = undefined };
    window.rlbookRun?.then(done, done);
    return window.rlbookRun === undefined;
}"""


class LabPage:
    """One notebook in one tab. Open one with `open_lab_page`; the tab is `page`, for whatever is not here.

    received_bytes and sent_bytes count what the websockets carried; errors collects the console's errors and the
    exceptions that nothing caught.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.received_bytes = 0
        self.sent_bytes = 0
        self.errors: list[str] = []
        page.set_default_timeout(_TIMEOUT_MS)
        page.on("websocket", self._count)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        self._connect()

    def _count(self, socket: WebSocket) -> None:
        def received(payload: str | bytes) -> None:
            self.received_bytes += len(payload)

        def sent(payload: str | bytes) -> None:
            self.sent_bytes += len(payload)

        socket.on("framereceived", received)
        socket.on("framesent", sent)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _connect(self) -> None:
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-CodeCell")
        self.page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
        self.page.evaluate(_CONNECT)
        self._wait_for_splash()
        self.wait_idle()

    def _wait_for_splash(self) -> None:
        # It lies over the page, in screenshots and under the mouse, while JupyterLab starts or changes its theme.
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    @property
    def figures(self) -> Locator:
        """The root elements of the figures in the notebook, in reading order."""
        return self.page.locator(FIGURE)

    @property
    def sliders(self) -> Locator:
        """The handles of the sliders in the notebook, in reading order."""
        return self.page.locator(SLIDER)

    def run_all(self) -> None:
        """Start all cells and return at once; `wait_idle` waits for them."""
        self.page.evaluate(_RUN_ALL)

    def run_cell(self, index: int) -> None:
        """Start the cell at `index`, text cells counted, and return at once."""
        self.page.evaluate(_RUN_CELL, index)

    def show_cell(self, text: str) -> None:
        """Bring the first code cell whose source holds `text` into view; JupyterLab attaches far cells only then."""
        self.page.evaluate(_SHOW_CELL, text)

    def wait_idle(self, timeout_ms: float = _TIMEOUT_MS) -> None:
        """Wait until the cells that were started have run and the kernel has nothing to do."""
        self.page.wait_for_function(_RAN, timeout=timeout_ms)
        self.page.wait_for_function(_KERNEL_IDLE, timeout=timeout_ms)

    def wait_painted(self, figures: int = 1, timeout_ms: float = _TIMEOUT_MS) -> None:
        """Wait until at least that many figures stand on the screen."""
        self.page.wait_for_function(_PAINTED, arg=[FIGURE, figures], timeout=timeout_ms)

    def revision(self, figure: int = 0) -> int:
        """Return the number of the drawing that is on the screen, 0 before the first."""
        return int(self.figures.nth(figure).get_attribute("data-revision") or 0)

    def press(self, slider: int | Locator, key: str = "ArrowRight", times: int = 1, interval_ms: float = 0) -> None:
        """Focus a slider and press a key on it, `interval_ms` apart; 30 times at 33 ms is a key held for a second."""
        handle = self.sliders.nth(slider) if isinstance(slider, int) else slider
        handle.focus()
        for press in range(times):
            if press and interval_ms:
                self.page.wait_for_timeout(interval_ms)
            self.page.keyboard.down(key)
        self.page.keyboard.up(key)

    def drag(self, slider: int | Locator, pixels: float, steps: int = 10) -> None:
        """Drag a slider's handle by `pixels` to the right, with `steps` mouse moves on the way."""
        handle = self.sliders.nth(slider) if isinstance(slider, int) else slider
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        if box is None:
            raise RuntimeError("the slider's handle is not visible, so it cannot be dragged")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=steps)
        self.page.mouse.up()

    def set_theme(self, name: str) -> None:
        """Switch JupyterLab's theme, "JupyterLab Light" or "JupyterLab Dark" for example, and wait until it is on."""
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=name)
        self._wait_for_splash()

    def reload(self) -> None:
        """Save the notebook and load the page again; the kernel lives on."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.page.reload()
        self._connect()

    def output_errors(self) -> list[str]:
        """Return the tracebacks and the stderr that the cells show."""
        outputs = '.jp-NotebookPanel .jp-OutputArea-output[data-mime-type="application/vnd.jupyter.{}"]'
        return self.page.locator(f"{outputs.format('error')}, {outputs.format('stderr')}").all_inner_texts()

    def screenshot(self, name: str) -> Path:
        """Store the page as `.artifacts/NAME.png` in the repository, which git ignores; return the file."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def close(self) -> None:
        """Shut down the kernel, which would outlive the page."""
        self.page.evaluate("() => window.jupyterapp?.shell.currentWidget?.sessionContext.shutdown()")


@contextmanager
def open_lab_page(browser: Browser, server_url: str, notebook: str) -> Iterator[LabPage]:
    """Open a notebook (a path that `JupyterServer.add` returned) in a fresh tab, connected to its kernel."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        # A workspace of its own: JupyterLab would reopen the tabs of the last visit.
        lab = LabPage(context.new_page(), f"{server_url}/lab/workspaces/{uuid.uuid4().hex}/tree/{notebook}")
        if lab.page.evaluate("() => document.body.dataset.jpThemeName") != LIGHT:
            lab.set_theme(LIGHT)  # the server remembers the theme of whoever was here before
        try:
            yield lab
        finally:
            lab.close()
    finally:
        context.close()
