"""Checkpoints: one file for each seed, from which training goes on to the same bits as if it had never stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbook import __version__
from rlbook.deep.array_files import ArrayFileError, leaves_of, read, tree_of, write
from rlbook.deep.results import SeedRecord, recorded, restore_record

if TYPE_CHECKING:
    from rlbook.deep.training import Training


@dataclass(frozen=True)
class Identity:
    """All that a seed's numbers follow from, apart from the seed, the machine and the versions."""

    algorithm: str
    config: str
    environment: str
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
        self._path = folder / f"checkpoint-{seed}.npz"
        self._header = {"identity": asdict(identity), "seed": seed}

    def load(self, training: Training, record: SeedRecord) -> bool:
        """Take training and its record to where the file says, and return whether there is a file.

        Raises ArrayFileError where it belongs to another training: another configuration, environment or length.
        """
        if not self._path.exists():
            return False
        header, arrays = read(self._path)
        for name, value in self._header["identity"].items():  # type: ignore[attr-defined]
            found = header.get("identity", {}).get(name)
            if found != value:
                raise ArrayFileError(
                    f"{str(self._path)!r} is of another training: its {name} is {found!r}, not {value!r}; choose another "
                    "folder, or remove the file"
                )
        where = repr(str(self._path))
        carry = tree_of(training.carry, arrays, "carry", where)
        if header["world"] == "tree":
            world = tree_of(training.world(), arrays, "world", where)
        else:
            world = {name[6:]: array for name, array in arrays.items() if name.startswith("world ")}
        training.restore(carry, world)
        told = {name[7:]: array for name, array in arrays.items() if name.startswith("record ")}
        restore_record(record, told, header["record"])
        return True

    def save(self, training: Training, record: SeedRecord) -> None:
        """Write where training is; raises ArrayFileError where that cannot be."""
        told, text = recorded(record)
        world = training.world()
        named = isinstance(world, dict)
        kept = {f"world {name}": array for name, array in world.items()} if named else leaves_of(world, "world")
        arrays = {**leaves_of(training.carry, "carry"), **kept, **{f"record {n}": a for n, a in told.items()}}
        write(self._path, {**self._header, "record": text, "world": "named" if named else "tree"}, arrays)
