"""MDPs in files: one `.npz`, readable by numpy alone.

Keys of a file that `save` writes (format version 1):

    format              text, "rlbook-mdp"
    format_version      integer
    discount            float64, no dimensions
    state_ptr, action, row_ptr, continuing_end, next_state, probability, expected_reward, start
                        the arrays of `FiniteMDP`, with its types and shapes
    reward              float64 (transitions,), only where rewards vary within a pair
    policy_0, ...       float64 (pairs,), in the order of the names under "policies"
    description         uint8, UTF-8 JSON: {"name", "state_names", "action_names", "layout", "policies"}

`load` also reads a plain `.npz` with P[S, A, S'] and R[S, A] or R[S, A, S'], and optionally discount, start and
terminated, under these names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.atomic_files import replacing
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.npz_reading import MAX_BYTES, NUMBERS_AND_TEXT, NpzFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "rlbook-mdp"
FORMAT_VERSION = 1
MOST_FORMAT_BYTES = 4096
MOST_DESCRIPTION_BYTES = 2**28  # parsed text takes several times its size, and names of 1e7 states fit
_ARRAYS = (
    "state_ptr",
    "action",
    "row_ptr",
    "continuing_end",
    "next_state",
    "probability",
    "expected_reward",
    "start",
)


def save(mdp: FiniteMDP, path: str | os.PathLike[str]) -> None:
    """Write `mdp` to one `.npz`, whole or not at all; a file already there is replaced at the end.

    The same MDP gives the same bytes. Raises MDPError where the file cannot be written.
    """
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "format_version": np.array(FORMAT_VERSION),
        "discount": np.array(mdp.discount),
        **{name: getattr(mdp, name) for name in _ARRAYS},
    }
    if mdp.reward is not None:
        arrays["reward"] = mdp.reward
    for number, policy in enumerate(mdp.policies.values()):
        arrays[f"policy_{number}"] = policy
    arrays["description"] = np.frombuffer(json.dumps(_description(mdp), sort_keys=True).encode(), dtype=np.uint8)
    # A link is followed, so that what it points to is replaced and not the link.
    target = Path(os.path.realpath(path))
    try:
        with replacing(target) as stream:
            np.savez(stream, allow_pickle=False, **arrays)
    except OSError as error:
        raise MDPError(f"file {str(path)!r} cannot be written: {error.strerror or error}") from None


def load(
    path: str | os.PathLike[str],
    *,
    discount: float | None = None,
    normalise: bool = False,
    max_bytes: int = MAX_BYTES,
) -> FiniteMDP:
    """Read a file that `save` wrote, or a plain `.npz` with P and R.

    discount: overrides the file's, and is needed where it has none. normalise: rescale the rows of a plain file to sum
    to 1. max_bytes: the most that the file's arrays may take together, as stored; 1 GiB unless raised. Nothing in the
    file is executed. Raises MDPError with a sentence where the file is missing, foreign, cut short, damaged, too large,
    of another version, or describes no MDP.
    """
    with NpzFile(path, max_bytes) as file:
        if "format" not in file and ("P" not in file or "R" not in file):
            raise MDPError(
                f"file {str(path)!r} is not an MDP: it holds {file.listing()}; "
                "give one that FiniteMDP.save wrote, or an .npz with P and R"
            )
        try:
            return _own(file, discount) if "format" in file else _plain(file, discount, normalise)
        except MDPError as error:
            if str(path) in str(error):
                raise
            raise MDPError(f"file {str(path)!r} holds no valid MDP: {error}") from None


def _own(file: NpzFile, discount: float | None) -> FiniteMDP:
    where = f"file {str(file.path)!r}"
    written = file.read("format", NUMBERS_AND_TEXT, most=MOST_FORMAT_BYTES)
    if written.shape != () or written.dtype.kind != "U" or written != FORMAT:
        raise MDPError(f"{where} has another format than {FORMAT!r}; give a file that FiniteMDP.save wrote")
    version = _scalar(file, "format_version")
    if version != FORMAT_VERSION:
        raise MDPError(
            f"{where} has format version {version:g}, but this rlbook reads {FORMAT_VERSION}; "
            "update rlbook, or save the file again"
        )
    description = _parsed(file.read("description", most=MOST_DESCRIPTION_BYTES), where)
    names = description["policies"]
    own_discount = _scalar(file, "discount")
    optional = {"reward", *(f"policy_{number}" for number in range(len(names)))}
    # An optional array under a damaged name would otherwise be missed in silence.
    if strange := file.keys - {*_ARRAYS, *optional, "format", "format_version", "discount", "description"}:
        raise MDPError(f"{where} holds {min(strange)!r}, which format version {version:g} has not; save the file again")
    return FiniteMDP(
        **{name: _frozen(file.read(name)) for name in _ARRAYS},
        reward=_frozen(file.read("reward")) if "reward" in file else None,
        discount=own_discount if discount is None else discount,
        name=description["name"],
        state_names=description["state_names"],
        action_names=description["action_names"],
        layout=description["layout"],
        policies={name: _frozen(file.read(f"policy_{number}")) for number, name in enumerate(names)},
    )


def _plain(file: NpzFile, discount: float | None, normalise: bool) -> FiniteMDP:
    if discount is None:
        if "discount" not in file:
            raise MDPError(
                f"file {str(file.path)!r} has no discount; pass one: --discount 0.99 or load(path, discount=0.99)"
            )
        discount = _scalar(file, "discount")
    return FiniteMDP.from_dense(
        file.read("P"),
        file.read("R"),
        discount,
        start=file.read("start") if "start" in file else None,
        terminated=file.read("terminated") if "terminated" in file else None,
        normalise=normalise,
        name=file.path.stem,
    )


def _scalar(file: NpzFile, key: str) -> float:
    value = file.read(key)
    if value.size != 1:
        raise MDPError(f"file {str(file.path)!r} has {key} of shape {value.shape}; it must be one number")
    return float(value.ravel()[0])


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Made read-only down to its memory, so that `FiniteMDP` takes it without a copy."""
    if isinstance(array.base, np.ndarray):
        array.base.setflags(write=False)
    array.setflags(write=False)
    return array


def _description(mdp: FiniteMDP) -> dict[str, Any]:
    return {
        "name": mdp.name,
        "state_names": mdp.state_names,
        "action_names": mdp.action_names,
        "layout": None if mdp.layout is None else asdict(mdp.layout),
        "policies": list(mdp.policies),
    }


def _parsed(data: NDArray[Any], where: str) -> dict[str, Any]:
    try:
        content = json.loads(data.astype(np.uint8, casting="equiv").tobytes())
        return {
            "name": _text(content["name"]),
            "state_names": _names(content["state_names"]),
            "action_names": _names(content["action_names"]),
            "layout": _layout(content["layout"]),
            "policies": _names(content["policies"]) or (),
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MDPError(f"{where} has a malformed description; save it again with FiniteMDP.save") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _names(values: object) -> tuple[str, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list):
        raise TypeError
    return tuple(_text(value) for value in values)


def _layout(content: Mapping[str, Any] | None) -> GridLayout | None:
    if content is None:
        return None
    return GridLayout(
        rows=_whole(content["rows"]),
        columns=_whole(content["columns"]),
        cell=tuple(_whole(place) for place in content["cell"]),
        walls=tuple(_whole(place) for place in content["walls"]),
        action_arrows=tuple((_whole(down), _whole(right)) for down, right in content["action_arrows"]),
        marks=tuple((_whole(place), _text(word)) for place, word in content.get("marks", ())),
    )


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value
