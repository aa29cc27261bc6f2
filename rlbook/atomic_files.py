"""Files that are either whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

_SUFFIX = ".part"
_DAY = 86400.0


@contextmanager
def replacing(target: Path, partial: Path | None = None) -> Iterator[IO[bytes]]:
    """A stream whose content takes the place of `target` when the block ends; after an error `target` is as it was.

    partial: the folder of the unfinished file, on the same disk as `target`; None means the target's own. Raises
    OSError, after removing the unfinished file.
    """
    folder = target.parent if partial is None else partial
    unfinished = folder / f"{_host()}-{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
    try:
        with open(unfinished, "xb") as stream:
            yield stream
            _sync(stream)
        os.replace(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(target: Path, content: bytes, partial: Path | None = None) -> None:
    """Put `content` at `target`, replacing what is there; whoever is killed on the way leaves `target` as it was.

    partial, errors: see `replacing`.
    """
    with replacing(target, partial) as stream:
        stream.write(content)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Put several files in place, each atomically, and none before all of them are on the disk; raises OSError."""
    with ExitStack() as opened:
        for target, content in contents.items():
            stream = opened.enter_context(replacing(target))
            stream.write(content)
            _sync(stream)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a loss of power, where the system offers that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove unfinished files whose writer is gone: a dead process of this machine, or anyone after a day."""
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            if _abandoned(path):
                path.unlink(missing_ok=True)
        except OSError:
            # Another process swept it first, or it belongs to somebody else: not this reader's concern.
            continue


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _abandoned(path: Path) -> bool:
    if time.time() - path.stat().st_mtime > _DAY:
        return True
    written = re.fullmatch(rf"(.+)-(\d+)-[0-9a-f]+{re.escape(_SUFFIX)}", path.name)
    # On Windows, signal 0 is not a question but an event.
    if written is None or written[1] != _host() or os.name != "posix":
        return False
    try:
        os.kill(int(written[2]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64] or "host"
