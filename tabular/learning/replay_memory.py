"""A replay memory: the last items of a stream, or a fair sample of all of it, in columns allocated once.

    memory = ReplayMemory(ReplaySettings(10_000), {"observation": ("f4", (4,)), "action": "i8", "reward": "f4"})
    memory.add({"observation": observations, "action": actions, "reward": rewards})
    batch = memory.take(memory.sample(32, step))

Draws are keyed by (seed, step): the step that the caller names, not how often was drawn before. `contents` and
`restore` carry a memory through a checkpoint to the bit. `PrioritisedReplay` adds priorities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rlbook.errors import ParameterError, suggest
from rlbook.kernel import int64, kernel, writes
from rlbook.keyed_random import MOST_DRAWS, MOST_STEPS, bits, stream_key
from rlbook.tabular.learning.replay_rules import (
    REPLAY,
    RESERVOIR,
    reservoir_slot,
    reverse_slot,
    ring_slot,
    uniform_slot,
)
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

Eviction = Literal["first in, first out", "reservoir"]
MOST_SLOTS = 2**32 - 1  # so that slots and the items of a reservoir are drawn without bias
_MOST_SEEDS = 2**63
_OFFERED = "offered"  # the array of `contents` that counts items


@dataclass(frozen=True)
class ReplaySettings:
    """How much a memory holds, and what makes room.

    capacity: slots, 1 to 2^32 - 1. eviction: "first in, first out" keeps the last `capacity` items; "reservoir" keeps a
    uniform sample of all items ever offered. seed: of all draws, 0 or more. Raises ParameterError.
    """

    capacity: int
    eviction: Eviction = "first in, first out"
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole("capacity", self.capacity, 1, MOST_SLOTS)
        require_whole("seed", self.seed, 0, _MOST_SEEDS - 1)
        if self.eviction not in get_args(Eviction):
            raise ParameterError(f"eviction {self.eviction!r} is unknown; {suggest(self.eviction, get_args(Eviction))}")


class ReplayMemory:
    """Items in slots: one row of every column each.

    columns: names and their dtypes, or (dtype, shape of one item). Memory: `capacity` rows of all columns.
    """

    def __init__(self, settings: ReplaySettings, columns: Mapping[str, DTypeLike]) -> None:
        if not columns:
            raise ParameterError("columns is empty, but a memory keeps at least one; name it with its dtype")
        if _OFFERED in columns:
            raise ParameterError(f"columns has {_OFFERED!r}, a name that `contents` needs; choose another")
        self.settings = settings
        self.offered = 0
        self._columns = {name: np.zeros(settings.capacity, np.dtype(kind)) for name, kind in columns.items()}

    def __len__(self) -> int:
        """Slots in use; they are 0 to len - 1."""
        return min(self.offered, self.settings.capacity)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Read-only views of all slots, (capacity, *shape); those from len on are not in use."""
        views = {name: column.view() for name, column in self._columns.items()}
        for view in views.values():
            view.flags.writeable = False
        return views

    def add(self, items: Mapping[str, ArrayLike]) -> NDArray[np.int64]:
        """Offer items in the order of their rows, (m, *shape) in every column.

        Returns the slot of each, int64 (m,), with -1 where a reservoir did not keep it; a later item may already have
        taken the slot. Raises ParameterError when a column is missing, unknown, of another shape, or of a type that the
        memory's cannot hold; nothing is added then.
        """
        rows = self._checked(items)
        m = len(next(iter(rows.values())))
        if self.settings.eviction == "reservoir" and self.offered + m > MOST_SLOTS:
            raise ParameterError(
                f"{self.offered + m} items were offered, but a reservoir draws among {MOST_SLOTS} at most; "
                "take eviction='first in, first out'"
            )
        slots = np.empty(m, np.int64)
        if self.settings.eviction == "reservoir":
            _reservoir_slots(self.offered, self.settings.capacity, self.settings.seed, slots)
        else:
            _ring_slots(self.offered, self.settings.capacity, slots)
        kept = slots >= 0
        everything = bool(kept.all())
        for name, values in rows.items():
            # Of rows that share a slot the last one stays: numpy assigns in order.
            self._columns[name][slots if everything else slots[kept]] = values if everything else values[kept]
        self.offered += m
        return slots

    def sample(self, batch_size: int, step: int) -> NDArray[np.int64]:
        """Slots drawn uniformly and independently, int64 (batch_size,).

        step: 0 to 2^40 - 1; the same seed, step and number of items give the same slots, and a smaller batch is the
        beginning of a larger one. Raises ParameterError, also where nothing is stored yet.
        """
        self.require_draw(batch_size, step)
        slots = np.empty(batch_size, np.int64)
        _uniform_slots(len(self), self.settings.seed, int(step), slots)
        return slots

    def newest_first(self, n: int, skip: int = 0) -> NDArray[np.int64]:
        """The slots of the last n items, newest first, int64 (n,); skip: how many of the newest are left out.

        Past the oldest item it starts again from the newest. Raises ParameterError for a reservoir, which forgets the
        order of its items.
        """
        if self.settings.eviction == "reservoir":
            raise ParameterError(
                "eviction is 'reservoir', which forgets in what order items came; reverse order needs "
                "eviction='first in, first out'"
            )
        require_whole("n", n, 1, MOST_DRAWS)
        require_whole("skip", skip, 0, _MOST_SEEDS - 1 - MOST_DRAWS)
        self._require_items()
        slots = np.empty(n, np.int64)
        _reverse_slots(self.offered, self.settings.capacity, int(skip), slots)
        return slots

    def take(self, slots: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Copies of all columns at these slots, (n, *shape)."""
        return {name: column.take(slots, axis=0) for name, column in self._columns.items()}

    def contents(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs, as copies: the len rows of each column, and how many items were offered."""
        stored = {name: column[: len(self)].copy() for name, column in self._columns.items()}
        return stored | {_OFFERED: np.array(self.offered, np.int64)}

    def restore(self, contents: Mapping[str, NDArray[Any]]) -> None:
        """Become the memory whose `contents` these are, to the bit; settings and columns must be as they were there.

        Raises ParameterError, and changes nothing, when arrays are missing, unknown, or do not fit.
        """
        n = self.require_fitting(contents)
        for name, column in self._columns.items():
            column[:n] = contents[name]
        self.offered = int(contents[_OFFERED])

    def require_fitting(self, contents: Mapping[str, NDArray[Any]]) -> int:
        """The number of items in what `contents` gave; raises ParameterError where this memory cannot become that."""
        _require_names("contents", contents, [*self._columns, _OFFERED])
        offered = int(contents[_OFFERED])
        if offered < 0:
            raise ParameterError(f"contents[{_OFFERED!r}] is {offered}; it counts items and must be 0 or more")
        n = min(offered, self.settings.capacity)
        for name, column in self._columns.items():
            given, wanted = np.asarray(contents[name]), (n, *column.shape[1:])
            if given.shape != wanted or given.dtype != column.dtype:
                raise ParameterError(
                    f"contents[{name!r}] is {given.dtype} of shape {given.shape}, but {offered} items in "
                    f"{self.settings.capacity} slots need {column.dtype} of shape {wanted}; "
                    "make the memory with the settings and columns it was saved with"
                )
        return n

    def require_draw(self, batch_size: int, step: int) -> None:
        """Raise ParameterError unless a batch of this size can be drawn at this step."""
        require_whole("batch_size", batch_size, 1, MOST_DRAWS)
        require_whole("step", step, 0, MOST_STEPS - 1)
        self._require_items()

    def _require_items(self) -> None:
        if self.offered == 0:
            raise ParameterError("the memory holds 0 items, and nothing can be drawn from it; add some first")

    def _checked(self, items: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """The rows of all columns as arrays that fit."""
        _require_names("items", items, list(self._columns))
        rows = {name: np.asarray(values) for name, values in items.items()}
        m = next(iter(rows.values())).shape[:1]
        for name, values in rows.items():
            column = self._columns[name]
            wanted = (*m, *column.shape[1:])
            if not m or values.shape != wanted:
                raise ParameterError(
                    f"items[{name!r}] has shape {values.shape}; give one row for each item, "
                    f"{('m', *column.shape[1:])}, with the same m in every column"
                )
            if not np.can_cast(values.dtype, column.dtype, "same_kind"):
                raise ParameterError(
                    f"items[{name!r}] is {values.dtype}, which a column of {column.dtype} cannot hold; convert it first"
                )
        return rows


def _require_names(what: str, given: Mapping[str, Any], wanted: list[str]) -> None:
    if missing := [name for name in wanted if name not in given]:
        raise ParameterError(f"{what} lacks {missing[0]!r}; give all of: {', '.join(wanted)}")
    if unknown := [name for name in given if name not in wanted]:
        raise ParameterError(f"{what} has {unknown[0]!r}, which is no column; {suggest(unknown[0], wanted)}")


@kernel(int64, int64, writes(int64))
def _ring_slots(offered: int, capacity: int, slots: Any) -> None:
    for i in range(len(slots)):
        slots[i] = ring_slot(offered + i, capacity)


@kernel(int64, int64, int64, writes(int64))
def _reservoir_slots(offered: int, capacity: int, seed: int, slots: Any) -> None:
    key = stream_key(seed, 0, RESERVOIR)
    for i in range(len(slots)):
        slots[i] = reservoir_slot(offered + i, capacity, bits(key, offered + i, 0))


@kernel(int64, int64, int64, writes(int64))
def _uniform_slots(size: int, seed: int, step: int, slots: Any) -> None:
    key = stream_key(seed, 0, REPLAY)
    for draw in range(len(slots)):
        slots[draw] = uniform_slot(size, bits(key, step, draw))


@kernel(int64, int64, int64, writes(int64))
def _reverse_slots(offered: int, capacity: int, skip: int, slots: Any) -> None:
    for i in range(len(slots)):
        slots[i] = reverse_slot(offered, capacity, skip + i)
