"""The index of the run store: which file holds which key, in SQLite, rebuilt from the files whenever it is in doubt.

Rollback journal, not WAL: WAL needs shared memory, which network file systems do not give. Every operation opens its
own connection. That makes it safe in any thread, and it carries the promise that nothing finished is lost: a writer
first moves its file into place and only then opens the index, so a rebuild, which scans the folders after it has made
the new index, sees every file whose row it might have missed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rlbook.store.files import Kind

T = TypeVar("T")

BUSY_SECONDS = 60.0
_VERSION = 1
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
_TABLE = "CREATE TABLE entries (key TEXT PRIMARY KEY, kind TEXT NOT NULL, place TEXT NOT NULL)"
_BATCH = 500  # SQLite's oldest limit on the values of one statement is 999


@dataclass(frozen=True)
class Entry:
    """One row: the SHA-256 of a key, the kind of its file, and the file's path below the root; keys may share one."""

    key: str
    kind: Kind
    place: str


class Index:
    """Key to file, for the store at `root`; `scan` lists the entries of all intact files there."""

    def __init__(self, root: Path, scan: Callable[[], Iterable[Entry]]) -> None:
        self.root = root
        self.path = root / "index.sqlite"
        self._scan = scan

    def find(self, keys: Sequence[str]) -> dict[str, str]:
        """The place of each of `keys` that the store holds."""

        def work(connection: sqlite3.Connection) -> dict[str, str]:
            found: dict[str, str] = {}
            for start in range(0, len(keys), _BATCH):
                batch = keys[start : start + _BATCH]
                marks = ",".join("?" * len(batch))
                found.update(connection.execute(f"SELECT key, place FROM entries WHERE key IN ({marks})", batch))
            return found

        return self._do(work)

    def places(self, kind: Kind) -> list[str]:
        """The places of all files of one kind, sorted."""

        def work(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute("SELECT DISTINCT place FROM entries WHERE kind = ? ORDER BY place", (kind,))
            return [place for (place,) in rows]

        return self._do(work)

    def add(self, entries: Sequence[Entry]) -> list[str]:
        """Enter files that are in place; returns the places of those whose keys other files hold already."""

        def work(connection: sqlite3.Connection) -> list[str]:
            kept, superseded = set(), set()
            with _transaction(connection):
                for entry in entries:
                    row = connection.execute("SELECT place FROM entries WHERE key = ?", (entry.key,)).fetchone()
                    if row is not None and row[0] != entry.place and (self.root / row[0]).is_file():
                        superseded.add(entry.place)
                    else:
                        kept.add(entry.place)
                        _insert(connection, entry)
            return sorted(superseded - kept)

        return self._do(work)

    def drop(self, place: str, still_damaged: Callable[[], bool]) -> bool:
        """Forget a file if, with all writers held off, it is still damaged; returns whether it was forgotten."""

        def work(connection: sqlite3.Connection) -> bool:
            with _transaction(connection):
                if not still_damaged():
                    return False
                (self.root / place).unlink(missing_ok=True)
                connection.execute("DELETE FROM entries WHERE place = ?", (place,))
                return True

        return self._do(work)

    def rebuild(self) -> int:
        """Make the index anew from the files; returns how many keys it holds."""

        def work(connection: sqlite3.Connection) -> int:
            self._fill(connection, even_if_current=True)
            (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
            return int(count)

        return self._do(work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        for attempt in (1, 2):
            try:
                with self._open() as connection:
                    return work(connection)
            except sqlite3.DatabaseError as error:
                if attempt == 2 or not _says_damaged(error):
                    raise
                self._discard_damaged()
        raise AssertionError("unreachable: the second attempt returns or raises")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            # What a loss of power takes from the index, a rebuild gives back.
            connection.execute("PRAGMA synchronous=NORMAL")
            if _version(connection) != _VERSION:
                self._fill(connection, even_if_current=False)
            yield connection

    def _fill(self, connection: sqlite3.Connection, even_if_current: bool) -> None:
        with _transaction(connection, "EXCLUSIVE"):
            # Another process may have built it while this one waited for the lock.
            if _version(connection) == _VERSION and not even_if_current:
                return
            connection.execute("DROP TABLE IF EXISTS entries")
            connection.execute(_TABLE)
            for entry in self._scan():
                _insert(connection, entry)
            connection.execute(f"PRAGMA user_version={_VERSION}")

    def _discard_damaged(self) -> None:
        # One process at a time: a second one would discard the index that the first has just rebuilt. An SQLite file
        # serves as the lock because it works wherever the index itself does.
        with closing(sqlite3.connect(self.root / "lock.sqlite", timeout=BUSY_SECONDS, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            if self._sound():
                return
            # The journal first: left alone, it would be rolled back into the new index.
            self.path.with_name(self.path.name + "-journal").unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _sound(self) -> bool:
        try:
            with self._open() as connection:
                connection.execute("SELECT key, kind, place FROM entries LIMIT 1").fetchall()
                return connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.DatabaseError as error:
            if _says_damaged(error):
                return False
            raise


def _insert(connection: sqlite3.Connection, entry: Entry) -> None:
    connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (entry.key, entry.kind, entry.place))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _says_damaged(error: sqlite3.DatabaseError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
