"""The reader's own copies of the chapters: made when missing, kept up to date, never overwritten once changed.

Beside the copies lies `.rlbook-chapters.json` with the SHA-256 of each notebook as it was copied. A copy that still has
that digest is the book's and follows the book; any other is the reader's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlbook.atomic_files import write_atomically
from rlbook.errors import RlbookError

RECORD = ".rlbook-chapters.json"


@dataclass(frozen=True)
class Copies:
    """What happened to the notebooks, each named by its path below the folder, with "/".

    outdated: changed by the reader while the book has a newer version; left as they are.
    """

    made: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()


def is_source(folder: Path) -> bool:
    """Whether `folder` holds the chapters' own sources, as in a clone, rather than copies."""
    return (folder / "__init__.py").is_file()


def copy_chapters(source: Path, folder: Path) -> Copies:
    """Bring the notebooks of the chapters in `source` into `folder`, which is made when missing.

    Raises RlbookError where `folder` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _copy(source, folder)
    except OSError as error:
        raise RlbookError(
            f"the chapters cannot be copied into {str(folder)!r}: {error.strerror or error}; "
            "choose another folder with --dir"
        ) from None


def _copy(source: Path, folder: Path) -> Copies:
    record = _read_record(folder)
    before = dict(record)
    made, updated, outdated = [], [], []
    for name, notebook in _notebooks(source):
        content, copy = notebook.read_bytes(), folder / name
        newest, copied = _digest(content), record.get(name)
        if not copy.exists() and not copy.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            made.append(name)
        elif (present := _digest(copy.read_bytes())) == newest:
            record[name] = newest
            continue
        elif present == copied:
            updated.append(name)
        else:
            if newest != copied:
                outdated.append(name)
            continue
        write_atomically(copy, content)
        record[name] = newest
        # Written at once: a copy without a record would count as the reader's.
        _write_record(folder, record)
    if record != before:
        _write_record(folder, record)
    return Copies(tuple(made), tuple(updated), tuple(outdated))


def _notebooks(source: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(source.glob("*/*.ipynb")):
        if not path.parent.name.startswith("."):
            yield path.relative_to(source).as_posix(), path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(folder: Path) -> dict[str, str]:
    """The record; empty where it is missing or damaged, so that every copy counts as the reader's."""
    try:
        content = json.loads((folder / RECORD).read_bytes())
        return {str(name): str(digest) for name, digest in content["copied"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_record(folder: Path, record: dict[str, str]) -> None:
    text = json.dumps({"copied": record}, indent=1, sort_keys=True)
    write_atomically(folder / RECORD, text.encode())
