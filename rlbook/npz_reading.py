"""Reading arrays from an `.npz` that somebody else wrote: nothing is executed, no header is believed unchecked.

Before anything is allocated, a member's header must agree with the size of the member, the size with what its
compressed bytes can hold, and all of them together with the file itself.
"""

from __future__ import annotations

import ast
import math
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 2**30  # room for tens of millions of transitions, and not enough to bring a laptop down
MAX_HEADER_BYTES = 10_000
MOST_NAMES_LISTED = 20
MAX_INFLATION = 1032  # the most that deflate can expand a byte to (zlib's technical details)
NUMBERS = "biuf"
NUMBERS_AND_TEXT = "biufU"
_MAGIC = b"\x93NUMPY"
# Version 3.0 differs in names of structured fields only, and those are refused.
_LENGTH_FIELDS: Mapping[tuple[int, int], str] = MappingProxyType({(1, 0): "<H", (2, 0): "<I"})
_PLAIN_TYPE = re.compile(r"[<>|][biufU][0-9]{1,9}")
_CHUNK = 2**20


class NpzFile:
    """The arrays of one `.npz`, checked before they are read; a context manager.

    path: a regular file. max_bytes: the most that all arrays read from it may take together, as stored. Raises
    MDPError with a sentence for whatever is wrong with the file.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> None:
        self.path = Path(path)
        self._left = self._max_bytes = max_bytes
        if not self.path.exists():
            raise MDPError(f"file {str(path)!r} does not exist; check the path")
        if not self.path.is_file():
            raise MDPError(f"{str(path)!r} is not a file; give the path of an .npz file")
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError):
            raise self._error("is not an .npz file, or is cut short; save it again") from None
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None
        self._claimed = sum(member.file_size for member in self._zip.infolist())
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            key = member.filename.removesuffix(".npy")
            if key in self._members:
                self.close()
                raise self._error(f"holds {key!r} twice; save it again")
            self._members[key] = member
        if sum(member.compress_size for member in self._members.values()) > self.path.stat().st_size:
            self.close()
            raise self._error("has members that overlap; no program that saves arrays writes such a file")

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._zip.close()

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._members)

    def listing(self) -> str:
        """What the file holds, for errors: names are the writer's, so what does not print is left out."""
        names = ["".join(filter(str.isprintable, name)) for name in sorted(self._members)]
        return ", ".join(names[:MOST_NAMES_LISTED]) + (", ..." if len(names) > MOST_NAMES_LISTED else "") or "nothing"

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def read(self, key: str, kinds: str = NUMBERS, most: int = sys.maxsize) -> NDArray[Any]:
        """The array under `key`, in native byte order.

        kinds: letters of the dtypes allowed. most: the most bytes that this array may take.
        """
        if key not in self._members:
            raise self._error(f"lacks {key!r}; it holds: {self.listing()}")
        member = self._members[key]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
            raise self._error(f"holds {key!r} encrypted or in an unusual compression; save it with numpy.savez")
        try:
            with self._zip.open(member) as stream:
                return self._read_member(stream, member, key, kinds, most)
        except MDPError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, OverflowError, ValueError):
            raise self._error(f"is damaged at {key!r}; save it again") from None
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from None

    def _read_member(self, stream: IO[bytes], member: zipfile.ZipInfo, key: str, kinds: str, most: int) -> NDArray[Any]:
        shape, column_major, dtype, header_bytes = self._header(stream, key, kinds)
        size = math.prod(shape) * dtype.itemsize
        expected = member.compress_size * (MAX_INFLATION if member.compress_type == zipfile.ZIP_DEFLATED else 1)
        if size + header_bytes != member.file_size or member.file_size > expected:
            raise self._error(f"says that {key!r} has shape {shape}, which does not fit its size; save it again")
        if size > self._left:
            raise self._error(
                f"needs more than {self._max_bytes} bytes of memory for its arrays; if you trust it, raise max_bytes, "
                f"as in Python: FiniteMDP.load(path, max_bytes={self._claimed})"
            )
        if size > most:
            raise self._error(f"has {size} bytes at {key!r}, where at most {most} make sense")
        self._left -= size
        flat = np.empty(size, dtype=np.uint8)
        target, filled = flat.data, 0
        while filled < size:
            piece = stream.read(min(_CHUNK, size - filled))
            if not piece:
                raise EOFError
            target[filled : filled + len(piece)] = piece
            filled += len(piece)
        # numpy counts on booleans being 0 or 1, which bytes from outside need not be.
        array = flat != 0 if dtype.kind == "b" else flat.view(dtype) if size else np.empty(0, dtype=dtype)
        array = array.reshape(shape, order="F" if column_major else "C")
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _header(self, stream: IO[bytes], key: str, kinds: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
        magic = stream.read(8)
        version = (magic[6], magic[7]) if len(magic) == 8 else (0, 0)
        if magic[:6] != _MAGIC or version not in _LENGTH_FIELDS:
            raise self._error(f"holds {key!r} in a format that is not numpy's; save it with numpy.savez")
        field = _LENGTH_FIELDS[version]
        prefix = stream.read(struct.calcsize(field))
        (length,) = struct.unpack(field, prefix)
        if length > MAX_HEADER_BYTES:
            raise self._error(f"has a header of {length} bytes at {key!r}; arrays of numbers need less than 200")
        text = stream.read(length)
        try:
            fields = ast.literal_eval(text.decode("latin1"))
            shape, column_major, written = fields["shape"], fields["fortran_order"], fields["descr"]
            if len(text) != length or len(fields) != 3 or not isinstance(column_major, bool):
                raise ValueError
            if not isinstance(shape, tuple) or any(type(side) is not int or side < 0 for side in shape):
                raise ValueError
            # numpy's own parser also reads object types and what Python 2 wrote; plain types are all that is wanted.
            plain = isinstance(written, str) and _PLAIN_TYPE.fullmatch(written)
            dtype = np.dtype(written) if plain else None
        except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError):
            raise self._error(f"has a malformed header at {key!r}; save it again") from None
        if dtype is None or dtype.kind not in kinds:
            raise self._error(f"holds {key!r} as {written!r}, which is not read from files; save it as plain numbers")
        return shape, column_major, dtype, 8 + len(prefix) + length

    def _error(self, what: str) -> MDPError:
        return MDPError(f"file {str(self.path)!r} {what}")
