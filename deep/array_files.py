"""Pytrees and named arrays in one file that is either whole or not there, and that runs no code when it is read."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rlbook.atomic_files import write_atomically
from rlbook.errors import RlbookError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER = "header"


class ArrayFileError(RlbookError):
    """A file of arrays is missing, broken, or of something else than what was asked for."""


def write(path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Put a header of plain values, and arrays by name, at `path`, atomically; raises ArrayFileError."""
    stream = io.BytesIO()
    np.savez(stream, **{_HEADER: np.array(json.dumps(header))}, **arrays)  # type: ignore[arg-type]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, stream.getvalue())
    except OSError as error:
        raise ArrayFileError(
            f"nothing can be written to {str(path)!r}: {error.strerror or error}; choose another folder"
        ) from None


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of a file; raises ArrayFileError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != _HEADER}
            return json.loads(str(file[_HEADER])), arrays
    except OSError as error:
        raise ArrayFileError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArrayFileError(
            f"{str(path)!r} is no file that rlbook wrote, or it is damaged ({error}); remove it to begin again"
        ) from None


def leaves_of(tree: Any, prefix: str) -> dict[str, NDArray[Any]]:
    """The leaves of a pytree by name; keys as the numbers they consist of."""
    return {f"{prefix} {n}": np.asarray(_bare(leaf)) for n, leaf in enumerate(jax.tree.leaves(tree))}


def tree_of(like: Any, arrays: dict[str, NDArray[Any]], prefix: str, where: str) -> Any:
    """The pytree whose leaves were kept, of the same structure as `like`; raises ArrayFileError where they differ."""
    leaves, structure = jax.tree.flatten(like)
    kept = [arrays.get(f"{prefix} {n}") for n in range(len(leaves))]
    found = []
    for leaf, array in zip(leaves, kept, strict=True):
        bare = jax.eval_shape(_bare, leaf)
        if array is None or array.shape != bare.shape or array.dtype != bare.dtype:
            there = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise ArrayFileError(f"{where} holds {there} where {bare.dtype}{list(bare.shape)} belongs; remove it")
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        found.append(jax.random.wrap_key_data(array) if is_key else jax.numpy.asarray(array))
    return jax.tree.unflatten(structure, found)


def _bare(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
