"""What a stored file holds: results of some seeds as netCDF, or a verdict as JSON, with their keys inside.

A file's name is the SHA-256 of its bytes, so damage is seen without trusting anything else; the keys inside let the
index be rebuilt from the files alone. Seeds that were computed together lie in one file: one file per seed made 400
seeds take 8 s to load.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rlbook.errors import RlbookError

if TYPE_CHECKING:
    import xarray as xr

Kind = Literal["result", "verdict"]

FOLDERS: dict[Kind, str] = {"result": "results", "verdict": "verdicts"}
SUFFIXES: dict[Kind, str] = {"result": ".nc", "verdict": ".json"}

_KEY = "rlbook_key"


class StoreError(RlbookError):
    """The run store cannot be read or written; the message names the folder and the way out."""


class StoreWarning(UserWarning):
    """A stored file was damaged and has been dropped; what it held is computed again when asked for."""


@dataclass(frozen=True)
class StoredFile:
    """A file to be written: its kind, the SHA-256 of each of its keys, its name and its bytes."""

    kind: Kind
    key_digests: tuple[str, ...]
    name: str
    content: bytes

    @property
    def place(self) -> str:
        """Path below the store's root, with "/" between folder and name."""
        return f"{FOLDERS[self.kind]}/{self.name}"


def digest(text: str) -> str:
    """SHA-256 of a key's canonical JSON, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def pack_results(shared: dict[str, Any], seeds: Sequence[int], dataset: xr.Dataset) -> StoredFile:
    """Results of `seeds`, whose keys share all other fields, as netCDF; raises StoreError where it cannot hold them."""
    together = canonical({**shared, "seeds": list(seeds)})
    # Encodings left from a file that the dataset was once read from could round its values.
    plain = dataset.drop_encoding().assign_attrs({_KEY: together})
    try:
        content = bytes(plain.to_netcdf(engine="h5netcdf"))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise StoreError(
            f"a result of lab {dataset.attrs.get('lab', '?')!r} cannot be stored as netCDF ({error}); "
            "give its variables real, whole, boolean or text values, and its attributes text or numbers"
        ) from error
    return _stored("result", _result_keys(together), content)


def unpack_results(content: bytes) -> xr.Dataset:
    """The dataset of a netCDF file, in memory; raises ValueError, OSError or KeyError on foreign bytes."""
    import xarray as xr

    # A variable in seconds is a number here, not a duration.
    dataset = xr.load_dataset(io.BytesIO(content), engine="h5netcdf", decode_timedelta=False)
    del dataset.attrs[_KEY]
    return dataset.drop_encoding()


def pack_verdict(key: str, verdict: dict[str, Any], stored: str) -> StoredFile:
    """A verdict's plain values as a JSON file that holds `key` and when it was stored (ISO 8601, UTC)."""
    record = {_KEY: json.loads(key), "stored": stored, "verdict": verdict}
    return _stored("verdict", [key], json.dumps(record, indent=1, sort_keys=True).encode())


def unpack_verdict(content: bytes) -> tuple[str, dict[str, Any], str]:
    """Key, plain values and time of a verdict file; raises ValueError, KeyError or TypeError on foreign bytes."""
    record = json.loads(content)
    return canonical(record[_KEY]), record["verdict"], record["stored"]


def keys_of(kind: Kind, content: bytes) -> list[str]:
    """The keys inside a file of the store; raises like `unpack_results` and `unpack_verdict`."""
    if kind == "verdict":
        return [unpack_verdict(content)[0]]
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        return _result_keys(str(file.attrs[_KEY]))


def intact(name: str, content: bytes) -> bool:
    """Whether `content` is what the file `name` was written with."""
    return hashlib.sha256(content).hexdigest() == name.partition(".")[0]


def canonical(fields: dict[str, Any]) -> str:
    """The same text for the same key, whatever the order of its fields."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _result_keys(together: str) -> list[str]:
    fields = json.loads(together)
    return [canonical({**fields, "seed": seed}) for seed in fields.pop("seeds")]


def _stored(kind: Kind, keys: Sequence[str], content: bytes) -> StoredFile:
    name = hashlib.sha256(content).hexdigest() + SUFFIXES[kind]
    return StoredFile(kind, tuple(digest(key) for key in keys), name, content)
