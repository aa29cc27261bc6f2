"""Fixtures of the browser tests: `chromium`, `jupyter_server`, `lab_page`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from .chromium import MISSING, find_chromium, launch_chromium
from .jupyter import JupyterServer, serve_jupyter
from .lab_page import LabPage, open_lab_page

# A busy machine is slow, not wrong.
expect.set_options(timeout=20_000)

OpenNotebook = Callable[[Path | Sequence[str]], LabPage]


# Playwright's synchronous interface keeps an event loop running in this thread, in which asyncio.run then refuses to
# work: it must not outlive this folder's tests.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A headless Chromium or Chrome; skips where none is installed."""
    if find_chromium() is None:
        pytest.skip(MISSING)
    with launch_chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def jupyter_server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """One JupyterLab for all browser tests; started only where there is a browser for it."""
    with serve_jupyter(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture
def lab_page(chromium: Browser, jupyter_server: JupyterServer) -> Iterator[OpenNotebook]:
    """A function that opens a copy of a notebook, or a notebook made of code cells, and returns its `LabPage`."""
    with ExitStack() as stack:

        def open_notebook(notebook: Path | Sequence[str]) -> LabPage:
            return stack.enter_context(open_lab_page(chromium, jupyter_server.url, jupyter_server.add(notebook)))

        yield open_notebook
