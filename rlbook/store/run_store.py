"""The run store: nothing is computed twice.

Results and verdicts are files named by the SHA-256 of their bytes, written whole or not at all, beside an index that is
rebuilt from them when it is missing or broken. Any number of processes may write at once. A result is known per seed,
under everything that its numbers follow from, so asking for 20 seeds where 8 are stored computes 12.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rlbook.atomic_files import sweep, sync_folder, write_atomically
from rlbook.store import files as store_files
from rlbook.store.files import FOLDERS, SUFFIXES, Kind, StoredFile, StoreError, StoreWarning
from rlbook.store.index import Entry, Index

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.verdict import Verdict

__all__ = ["RunKey", "RunStore", "StoreError", "StoreWarning", "StoredVerdict", "VerdictKey", "default_root"]

_PARTIAL = "partial"
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_UNREADABLE = (ValueError, TypeError, KeyError, OSError)


@dataclass(frozen=True)
class RunKey:
    """All that the numbers of one seed follow from.

    parameters: canonical JSON (`Parameters.canonical_json`); sources, versions, device: see `rlbook.provenance`.
    """

    lab: str
    parameters: str
    seed: int
    sources: str
    versions: str
    device: str

    def to_json(self) -> str:
        """The same text for the same key."""
        return store_files.canonical({"kind": "result", **asdict(self)})


@dataclass(frozen=True)
class VerdictKey:
    """All that a verdict follows from: a `RunKey` with all its seeds, in order."""

    lab: str
    parameters: str
    seeds: tuple[int, ...]
    sources: str
    versions: str
    device: str

    def to_json(self) -> str:
        """The same text for the same key."""
        return store_files.canonical({"kind": "verdict", **asdict(self)})


Key = TypeVar("Key", RunKey, VerdictKey)


@dataclass(frozen=True)
class StoredVerdict:
    """A verdict, what it was reached with, and when it was stored (UTC)."""

    key: VerdictKey
    verdict: Verdict
    stored: datetime


def default_root() -> Path:
    """The folder named by RLBOOK_HOME, else the platform's folder for user data."""
    chosen = os.environ.get("RLBOOK_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("rlbook", appauthor=False))


class RunStore:
    """Results and verdicts under `root` (default: `default_root()`); the folder is made at the first write.

    Safe in several threads and processes. Where the folder cannot be used, methods raise StoreError. A damaged or
    missing file gives a StoreWarning that names it, is dropped, and counts as not stored.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = default_root() if root is None else Path(root).expanduser().absolute()
        self._index = Index(self.root, self._scan)
        self._ready = False

    def __repr__(self) -> str:
        return f"RunStore({str(self.root)!r})"

    def get(self, key: RunKey) -> xr.Dataset | None:
        """The stored result of one seed, in memory, its dimension "seed" of length 1; None when there is none."""
        found = self.load([key])
        return found[0] if found else None

    def load(self, keys: Sequence[RunKey]) -> list[xr.Dataset]:
        """The stored results among `keys`, which differ in their seeds only; no seed twice, in no particular order."""
        with self._explained():
            found = []
            for content, those in self._contents(keys):
                dataset = store_files.unpack_results(content)
                places = {seed: place for place, seed in enumerate(dataset["seed"].values.tolist())}
                found.append(dataset.isel(seed=[places[key.seed] for key in those]))
        return found

    def put(self, key: RunKey, dataset: xr.Dataset) -> xr.Dataset:
        """Store the result of one seed; returns it exactly as `get` will give it."""
        return self.put_many([key], dataset)

    def put_many(self, keys: Sequence[RunKey], dataset: xr.Dataset) -> xr.Dataset:
        """Store the results of several seeds in one file; returns them exactly as `load` will give them.

        keys: differing in their seeds only; dataset: with these seeds as its coordinate "seed", in the same order.
        """
        shared = {"kind": "result", **asdict(keys[0])}
        del shared["seed"]
        file = store_files.pack_results(shared, [key.seed for key in keys], dataset)
        self._write(file)
        return store_files.unpack_results(file.content)

    def get_verdict(self, key: VerdictKey) -> Verdict | None:
        """The stored verdict; None when there is none."""
        with self._explained():
            for content, _ in self._contents([key]):
                return _stored_verdict(content).verdict
        return None

    def put_verdict(self, key: VerdictKey, verdict: Verdict) -> None:
        """Store a verdict with the present time."""
        values = verdict.model_dump(mode="json")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(store_files.pack_verdict(key.to_json(), values, now))

    def verdicts(self) -> list[StoredVerdict]:
        """All stored verdicts, the oldest first."""
        if not self.root.is_dir():
            return []
        with self._explained():
            intact = (self._content(place) for place in self._index.places("verdict"))
            found = [_stored_verdict(content) for content in intact if content is not None]
        return sorted(found, key=lambda each: (each.stored, each.key.lab, each.key.parameters))

    def rebuild(self) -> int:
        """Make the index anew from the files, dropping damaged ones with a warning; returns how many keys it holds."""
        with self._explained():
            self._prepare()
            return self._index.rebuild()

    def verify(self) -> list[Path]:
        """The damaged files, after reading all of them; nothing is changed."""
        with self._explained():
            return [path for kind in FOLDERS for path in self._files(kind) if _read_intact(path) is None]

    def _write(self, file: StoredFile) -> None:
        with self._explained():
            self._prepare()
            write_atomically(self.root / file.place, file.content, self.root / _PARTIAL)
            sync_folder(self.root / FOLDERS[file.kind])
            for place in self._index.add([Entry(key, file.kind, file.place) for key in file.key_digests]):
                (self.root / place).unlink(missing_ok=True)

    def _prepare(self) -> None:
        if self._ready and (self.root / _PARTIAL).is_dir():
            return
        for folder in (*FOLDERS.values(), _PARTIAL):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        sweep(self.root / _PARTIAL)
        self._ready = True

    def _contents(self, keys: Sequence[Key]) -> Iterator[tuple[bytes, list[Key]]]:
        """The bytes of each intact file that holds some of `keys`, and those that it holds."""
        if not keys or not self.root.is_dir():
            return
        by_digest = {store_files.digest(key.to_json()): key for key in keys}
        held: dict[str, list[Key]] = {}
        for key_digest, place in self._index.find(list(by_digest)).items():
            held.setdefault(place, []).append(by_digest[key_digest])
        for place, those in held.items():
            content = self._content(place)
            if content is not None:
                yield content, those

    def _content(self, place: str) -> bytes | None:
        path = self.root / place
        intact = _read_intact(path)
        if intact is None:
            if self._index.drop(place, lambda: _read_intact(path) is None):
                _warn(path)
                return None
            # Another process has just written it anew.
            intact = _read_intact(path)
        return None if intact is None else intact[1]

    def _scan(self) -> Iterator[Entry]:
        """An entry per key for all intact files; what is damaged is dropped, and so are second files of one key."""
        seen: set[str] = set()
        for kind in FOLDERS:
            for path in self._files(kind):
                intact = _read_intact(path)
                if intact is None:
                    path.unlink(missing_ok=True)
                    _warn(path)
                    continue
                new = {store_files.digest(key) for key in intact[0]} - seen
                if not new:
                    path.unlink(missing_ok=True)
                seen |= new
                for key_digest in new:
                    yield Entry(key_digest, kind, f"{FOLDERS[kind]}/{path.name}")

    def _files(self, kind: Kind) -> Iterable[Path]:
        return sorted((self.root / FOLDERS[kind]).glob(f"*{SUFFIXES[kind]}"))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the system says about the folder into a sentence with a way out."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise self._error(full=code == sqlite3.SQLITE_FULL, reason=str(error)) from error
        except OSError as error:
            raise self._error(full=error.errno in _FULL, reason=error.strerror or str(error)) from error

    def _error(self, full: bool, reason: str) -> StoreError:
        if full:
            return StoreError(
                f"the disk of the run store {str(self.root)!r} is full; free some space there, "
                "or set RLBOOK_HOME to a folder on another disk"
            )
        return StoreError(
            f"the run store {str(self.root)!r} cannot be used ({reason}); "
            "set RLBOOK_HOME to a folder that you may read and write"
        )


def _read_intact(path: Path) -> tuple[list[str], bytes] | None:
    """Keys and bytes of a file; None when it is missing, is not what it was written with, or holds no keys."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not store_files.intact(path.name, content):
        return None
    kind: Kind = "result" if path.suffix == SUFFIXES["result"] else "verdict"
    try:
        return store_files.keys_of(kind, content), content
    except _UNREADABLE:
        return None


def _warn(path: Path) -> None:
    warnings.warn(
        f"the stored file {str(path)!r} is damaged or missing; it has been dropped, and what it held will be "
        "computed again when it is needed",
        StoreWarning,
        stacklevel=2,
    )


def _stored_verdict(content: bytes) -> StoredVerdict:
    import json

    from rlbook.verdict import Verdict

    key, values, stored = store_files.unpack_verdict(content)
    fields = json.loads(key)
    del fields["kind"]
    fields["seeds"] = tuple(fields["seeds"])
    return StoredVerdict(VerdictKey(**fields), Verdict.model_validate(values), datetime.fromisoformat(stored))
