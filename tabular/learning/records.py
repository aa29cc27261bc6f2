"""Room for what replicates write, and the dataset made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rlbook.errors import ParameterError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from rlbook.tabular.learning.learner import Estimates

Keep = Literal["errors", "estimates", "steps", "laws"]
_WORDS = {
    "error": "greatest absolute error of an estimate, in units of return",
    "rms_error": "root mean square error of the estimates, in units of return",
    "reward": "sum of rewards so far",
    "step": "steps so far",
    "episode": "episodes finished so far",
    "estimates": "estimated values, in units of return",
    "traces": "eligibility traces after the step",
    "actor": "pair (or state) that acted last",
    "td_error": "its temporal-difference error, in units of return",
    "updates": "updates of single estimates so far, planned ones as well; -1 where there is one for each step",
    "parameters": "parameters of the learned return laws, as the learner's representation has them",
}


class Records:
    """Arrays with one row for each replicate; `of` gives a kernel its own rows, as a tuple of type RECORD.

    numbers: the arrays by name. progress: steps of each replicate so far, int64 (runs, 1).
    """

    def __init__(
        self,
        runs: int,
        marks: NDArray[np.int64],
        by_episodes: bool,
        most_steps: int,
        truth: NDArray[np.float64],
        entries: int,
        keep: Keep,
        cancel: NDArray[np.uint8],
        counts_updates: bool = False,
        n_parameters: int = 0,
    ) -> None:
        """truth: (entries,) read-only, or empty; n_parameters: of one return law; the others as in `replicate`."""
        if keep not in get_args(Keep):
            raise ParameterError(f"keep is {keep!r}, but it is {', '.join(map(repr, get_args(Keep)))}")
        self.runs = runs
        self.marks, self.by_episodes, self.most_steps = marks, by_episodes, most_steps
        self.truth, self.cancel, self.keep = truth, cancel, keep
        rows = (runs, len(marks))
        kept = (runs, len(marks) if keep != "errors" else 0, entries)
        traced = (runs, len(marks) if keep == "steps" else 0, entries)
        laws = (len(marks), entries, n_parameters) if keep == "laws" else (0, 0, 0)
        self.progress = np.zeros((runs, 1), dtype=np.int64)
        self.numbers: dict[str, NDArray[Any]] = {
            "error": np.full(rows, np.nan),
            "rms_error": np.full(rows, np.nan),
            "reward": np.full(rows, np.nan),
            "step": np.full(rows, -1, dtype=np.int64),
            "episode": np.full(rows, -1, dtype=np.int64),
            "estimates": np.full(kept, np.nan),
            "traces": np.full(traced, np.nan),
            "actor": np.full(traced[:2], -1, dtype=np.int64),
            "td_error": np.full(traced[:2], np.nan),
            "updates": np.full((runs, len(marks) if counts_updates else 0), -1, dtype=np.int64),
            "parameters": np.full((runs, *laws), np.nan),
        }

    def of(self, run: int) -> tuple[Any, ...]:
        """What the kernel of one replicate reads and writes, of type RECORD."""
        arrays = (self.numbers[name][run] for name in _WORDS)
        head = (self.marks, self.by_episodes, self.most_steps, self.cancel, self.progress[run], self.truth)
        return (*head, *arrays)

    def fraction_done(self) -> float:
        """The fraction of all work that is done, in [0, 1]; with marks in episodes, of those replicates that ended."""
        if self.by_episodes:
            return float(np.mean((self.numbers["step"][:, -1] >= 0) | (self.progress[:, 0] >= self.most_steps)))
        return float(self.progress.sum()) / (self.runs * self.most_steps)

    def dataset(self, coordinates: Mapping[str, Sequence[Any]], kind: Estimates) -> xr.Dataset:
        """All rows, with the given dimensions before "checkpoint"."""
        import xarray as xr

        shape = tuple(len(values) for values in coordinates.values())
        entry = "pair" if kind == "action" else "state"
        variables: dict[str, Any] = {}
        for name, array in self.numbers.items():
            if array.shape[1] == 0 or (name in ("error", "rms_error") and not len(self.truth)):
                continue
            dimensions = (*coordinates, "checkpoint", *(entry, "parameter")[: array.ndim - 2])
            # A grid over a learner's field of this name has the name already.
            free = f"recorded_{name}" if name in coordinates else name
            variables[free] = (dimensions, array.reshape(*shape, *array.shape[1:]), {"description": _WORDS[name]})
        clock = "episodes" if self.by_episodes else "steps"
        marks = ("checkpoint", self.marks.copy(), {"description": f"when the record was taken, in {clock}"})
        return xr.Dataset(variables, {**coordinates, "checkpoint": marks}, {"clock": clock})
