"""Keeps what a lab found as files that need no rlbook to be read: a page, a netCDF file, and the verdict as JSON."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbook.atomic_files import write_together
from rlbook.cli.terminal import json_text
from rlbook.errors import RlbookError
from rlbook.lab import Lab

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.verdict import Verdict


def prepare(folder: Path) -> None:
    """Make `folder` when missing and see that it can be written, before anything is computed; raises RlbookError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise _not_there(folder, error) from None


def save_run(
    lab: Lab[Any, Any], result: xr.Dataset, verdict: Verdict, summary: dict[str, Any], folder: Path
) -> tuple[Path, Path, Path]:
    """Write `<lab>.html`, `<lab>.nc` and `<lab>.json` into `folder`, each whole, and none before all can be.

    summary: the plain values of the JSON file, which is written as `--json` prints them. Returns the three paths;
    raises RlbookError where the folder cannot be written.
    """
    from rlbook.figures.html import page

    shown, data, judged = (folder / f"{lab.name}.{suffix}" for suffix in ("html", "nc", "json"))
    contents = {
        shown: page(lab, result, verdict).encode(),
        data: bytes(result.drop_encoding().to_netcdf(engine="h5netcdf")),
        judged: (json_text(summary) + "\n").encode(),
    }
    try:
        write_together(contents)
    except OSError as error:
        raise _not_there(folder, error) from None
    return shown, data, judged


def _not_there(folder: Path, error: OSError) -> RlbookError:
    why = error.strerror or str(error)
    return RlbookError(f"nothing can be saved in {str(folder)!r}: {why}; choose another folder with --save")
