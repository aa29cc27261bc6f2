"""Checkpoints: one file for each seed, from which training goes on to the same bits as if it had never stopped."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbook import __version__
from rlbook.deep.array_files import ArrayFileError, read, write
from rlbook.deep.results import SeedRecord, record_arrays, restore_record

if TYPE_CHECKING:
    from rlbook.deep.plan import Training

_FORMAT = "rlbook checkpoint 1"


@dataclass(frozen=True)
class Identity:
    """All that a seed's numbers follow from, apart from the seed, the machine and the versions.

    environment_digest: of what the environment holds, since two of one name may differ.
    """

    algorithm: str
    config: str
    environment: str
    environment_digest: str
    driver: str
    steps: int
    evaluations: int
    evaluation_episodes: int

    def told(self) -> dict[str, Any]:
        """As attributes of a result."""
        return {**asdict(self), "rlbook": __version__}


class Checkpoint:
    """The checkpoint of one seed in a folder; whoever is killed while it is written leaves the one before it."""

    def __init__(self, folder: Path, identity: Identity, seed: int) -> None:
        self.path = folder / f"checkpoint-{seed}.npz"
        self._identity, self._seed = identity, seed

    def check(self) -> None:
        """Raise ArrayFileError where the file is of another training: another configuration, environment or length."""
        if self.path.exists():
            self._check(read(self.path, _FORMAT, header_only=True)[0])

    def load(self, training: Training, record: SeedRecord, noting: AbstractContextManager[Any]) -> None:
        """Take training and its record to where the file says, if there is one; raises ArrayFileError like `check`.

        noting: held while the record changes, so that nobody reads half of it.
        """
        if not self.path.exists():
            return
        header, arrays = read(self.path, _FORMAT)
        self._check(header)
        try:
            told = {name[7:]: array for name, array in arrays.items() if name.startswith("record ")}
            training.restore(arrays, repr(str(self.path)))
            with noting:
                restore_record(record, told, header["record"])
        except (KeyError, ValueError) as error:
            if isinstance(error, ArrayFileError):
                raise
            raise ArrayFileError(
                f"{str(self.path)!r} lacks a part ({error}); another version of rlbook wrote it, so remove it to begin "
                "again"
            ) from None

    def save(self, training: Training, record: SeedRecord) -> None:
        """Write where training is; raises ArrayFileError where that cannot be."""
        told, text = record_arrays(record)
        arrays = {**training.snapshot(), **{f"record {name}": array for name, array in told.items()}}
        header = {"format": _FORMAT, "identity": asdict(self._identity), "seed": self._seed, "record": text}
        write(self.path, header, arrays)

    def _check(self, header: dict[str, Any]) -> None:
        there = {"seed": header.get("seed"), **header.get("identity", {})}
        for name, value in {"seed": self._seed, **asdict(self._identity)}.items():
            found = there.get(name)
            if found == value:
                continue
            what = (
                f"its environment is named {there.get('environment')!r} as well, but is another one"
                if name == "environment_digest"
                else f"its {name} is {found!r}, not {value!r}"
            )
            raise ArrayFileError(
                f"{str(self.path)!r} is of another training: {what}; choose another folder, or remove the file"
            )
