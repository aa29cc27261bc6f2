"""Pytrees and named arrays in one file that is either whole or not there, and that runs no code when it is read."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rlbook.atomic_files import replacing
from rlbook.errors import RlbookError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER = "header"
_NAMES = "arrays"


class ArrayFileError(RlbookError):
    """A file of arrays is missing, broken, or of something else than what was asked for."""


def write(path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Put a header of plain values, and arrays by name, at `path`, atomically; raises ArrayFileError."""
    # An archive whose list of contents is damaged may still be an archive, of fewer arrays.
    told = json.dumps({**header, _NAMES: sorted(arrays)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            np.savez(stream, **{_HEADER: np.array(told)}, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise ArrayFileError(
            f"nothing can be written to {str(path)!r}: {error.strerror or error}; choose another folder"
        ) from None


def read(path: Path, form: str, *, header_only: bool = False) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and, unless told otherwise, the arrays of a file; raises ArrayFileError.

    form: what `format` must be in the header.
    """
    try:
        # Opened here, since numpy leaves a broken archive open; and what is no archive it would read as one array.
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise zipfile.BadZipFile("it is no archive")
            stream.seek(0)
            file = np.load(stream, allow_pickle=False)
            header = json.loads(str(file[_HEADER]))
            found = header.get("format") if isinstance(header, dict) else None
            if found != form:
                raise ArrayFileError(f"{str(path)!r} holds no {form} (its format is {found!r}); choose another file")
            names = header.pop(_NAMES)
            return header, {} if header_only else {name: file[name] for name in names}
    except ArrayFileError:
        raise
    except OSError as error:
        raise ArrayFileError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, NotImplementedError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArrayFileError(
            f"{str(path)!r} is no file that rlbook wrote, or it is damaged ({error}); remove it to begin again"
        ) from None


def leaves_of(tree: Any, prefix: str) -> dict[str, NDArray[Any]]:
    """The leaves of a pytree by name; keys as the numbers they consist of."""
    return {f"{prefix} {n}": np.asarray(_bare(leaf)) for n, leaf in enumerate(jax.tree.leaves(tree))}


def tree_of(like: Any, arrays: dict[str, NDArray[Any]], prefix: str, where: str) -> Any:
    """The pytree whose leaves were kept, of the same structure as `like`; raises ArrayFileError where they differ.

    where: how the file is named in the error.
    """
    leaves, structure = jax.tree.flatten(like)
    found = []
    for n, leaf in enumerate(leaves):
        array, bare = arrays.get(f"{prefix} {n}"), jax.eval_shape(_bare, leaf)
        if array is None or array.shape != bare.shape or array.dtype != bare.dtype:
            there = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise ArrayFileError(
                f"{where} holds {there} where {bare.dtype}{list(bare.shape)} belongs; another version of rlbook wrote "
                "it, so remove it to begin again"
            )
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        kept = jax.numpy.asarray(array)
        found.append(jax.random.wrap_key_data(kept) if is_key else kept)
    return jax.tree.unflatten(structure, found)


def _bare(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
