"""A JupyterLab of one's own: a real server on copies of notebooks, with nothing of the user's configuration."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat

_START_SECONDS = 60
_STOP_SECONDS = 15


class JupyterServer:
    """JupyterLab on an empty folder, into which `add` puts notebooks. Make one with `serve_jupyter`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.notebooks = folder / "notebooks"
        self._numbers = itertools.count()

    def add(self, notebook: Path | Sequence[str]) -> str:
        """Copy a notebook with its folder, or make one of the given code cells; return its path for the server's URLs.

        Every call gives a new folder, so that one test never sees what another did to the same notebook.
        """
        folder = self.notebooks / f"{next(self._numbers):02d}"
        folder.mkdir(parents=True)
        if isinstance(notebook, Path):
            # Chapters read the files beside their notebook.
            shutil.copytree(notebook.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            return f"{folder.name}/{notebook.name}"
        cells = [nbformat.v4.new_code_cell(source) for source in notebook]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "cells.ipynb")
        return f"{folder.name}/cells.ipynb"


@contextmanager
def serve_jupyter(folder: Path) -> Iterator[JupyterServer]:
    """Run JupyterLab in `folder` (empty); everything it and its kernels write stays there, save compiled kernels.

    RuntimeError with the end of the server's log where it does not answer within a minute. On leaving, the server and
    its kernels are gone.
    """
    (folder / "notebooks").mkdir(parents=True)
    log = folder / "server.log"
    for _ in range(3):
        port = _free_port()
        process = _start(folder, port, log)
        try:
            if _wait_until_ready(process, port):
                yield JupyterServer(folder, f"http://127.0.0.1:{port}")
                return
        finally:
            _stop(process, port)
        if "already in use" not in log.read_text():
            break
    raise RuntimeError(f"JupyterLab did not start; the end of its log: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(folder: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_", "IPYTHON", "PYTEST"))}
    own = {
        "HOME": "home",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "RLBOOK_HOME": "rlbook",
    }
    # Kernels compiled by earlier runs are safe to share, and slow to make again.
    cache = inherited.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return inherited | {name: str(folder / part) for name, part in own.items()} | {"XDG_CACHE_HOME": cache}


def _start(folder: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    environment = _environment(folder)
    Path(environment["HOME"]).mkdir(exist_ok=True)
    settings = Path(environment["JUPYTER_CONFIG_DIR"]) / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    # Its question whether to fetch news lies over the notebook, and its answer needs the network.
    settings.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
        *(f"--ServerApp.root_dir={folder / 'notebooks'}", "--ServerApp.disable_check_xsrf=True"),
    ]
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=2):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen[bytes], port: int) -> None:
    if process.poll() is None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/shutdown", method="POST")
        try:
            # The server ends its kernels first; they live in process groups of their own.
            urllib.request.urlopen(request, timeout=_STOP_SECONDS).close()
            process.wait(_STOP_SECONDS)
        except (OSError, urllib.error.URLError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
