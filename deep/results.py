"""What training leaves in numbers: a record of each seed, and the dataset of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.deep.episodes import Ending

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from rlbook.deep.plan import Plan

RECENT = 100  # episodes that a training return is the mean of, as elsewhere

_WORDS = {
    "step": ("steps of all environments so far", "steps"),
    "steps_taken": ("steps of training so far", "steps"),
    "diverged_at": ("step at which the loss was no number, or -1", "steps"),
    "evaluation_return": ("mean return of greedy episodes", "return, undiscounted"),
    "evaluation_episode_return": ("return of each greedy episode", "return, undiscounted"),
    "evaluation_episode_length": ("length of each greedy episode", "steps"),
    "training_return": (f"mean return of the last {RECENT} episodes of training", "return, undiscounted"),
    "episode_seed": ("seed of an episode of training", ""),
    "episode_step": ("step at which it ended", "steps"),
    "episode_return": ("its return", "return, undiscounted"),
    "episode_length": ("its length", "steps"),
    "loss": ("mean loss since the evaluation before", ""),
    "q": ("mean value of what was learned from since the evaluation before", "return"),
    "q_error": ("greatest error of action values, against the exact ones", "return"),
    "q_rms_error": ("root mean square error of action values, against the exact ones", "return"),
    "bias": ("mean of greatest action values minus the exact ones", "return"),
    "regret": ("exact value at the start minus that of the greedy policy", "return"),
}


def described(name: str) -> str:
    """What a variable of a result is, in words."""
    return _WORDS[name][0]


@dataclass
class SeedRecord:
    """What is known of one seed so far. Arrays have an entry for each evaluation, NaN where it has not been reached.

    units: that are over. evaluated: evaluations that are over. diverged_at: the step where the loss was no number, or
    -1. episode_*: of every episode of training that is over; step counts those of all environments.
    """

    evaluation_return: NDArray[np.float64]
    evaluation_length: NDArray[np.float64]
    curves: dict[str, NDArray[np.float64]]
    units: int = 0
    evaluated: int = 0
    diverged_at: int = -1
    episode_step: list[int] = field(default_factory=list)
    episode_return: list[float] = field(default_factory=list)
    episode_length: list[int] = field(default_factory=list)
    since: dict[str, tuple[float, int]] = field(default_factory=dict)

    @classmethod
    def empty(cls, plan: Plan) -> SeedRecord:
        shape = (len(plan.evaluated_at), plan.evaluation_episodes)
        curves = {"training_return": np.full(shape[0], np.nan)}
        return cls(np.full(shape, np.nan), np.full(shape, np.nan), curves)

    def add(self, metrics: dict[str, NDArray[Any]], endings: Ending, units: int, steps_per_unit: int) -> None:
        """Note a chunk: metrics of each unit, endings (units, length, E)."""
        ended = np.asarray(endings.ended)
        environments = ended.shape[-1]
        where = np.flatnonzero(ended.ravel())
        first = self.units * steps_per_unit
        self.episode_step += (first + where // environments * environments + environments).tolist()
        self.episode_return += np.asarray(endings.total).ravel()[where].tolist()
        self.episode_length += np.asarray(endings.length).ravel()[where].tolist()
        for name, values in metrics.items():
            total, count = self.since.get(name, (0.0, 0))
            # One after the other, so that the sum does not depend on how training is cut into chunks.
            summed = np.add.accumulate(np.concatenate([[total], values]), dtype=np.float64)
            self.since[name] = (float(summed[-1]), count + len(values))
            broken = np.flatnonzero(~np.isfinite(values))
            if len(broken) and self.diverged_at < 0:
                self.diverged_at = first + (int(broken[0]) + 1) * steps_per_unit
        self.units += units

    def evaluate(self, returns: NDArray[np.float32], lengths: NDArray[np.int32], exact: dict[str, float]) -> None:
        """Note an evaluation, and close the interval before it."""
        n = self.evaluated
        self.evaluation_return[n], self.evaluation_length[n] = returns, lengths
        if self.episode_return:
            self.curves["training_return"][n] = np.mean(self.episode_return[-RECENT:])
        means = {name: total / count for name, (total, count) in self.since.items() if count}
        for name, value in {**means, **exact}.items():
            self.curves.setdefault(name, np.full(len(self.evaluation_return), np.nan))[n] = value
        self.since.clear()
        self.evaluated += 1


def dataset(plan: Plan, seeds: Sequence[int], records: Sequence[SeedRecord], seconds: float) -> xr.Dataset:
    """Results over "seed", "step" (of the evaluation, counting all environments) and "evaluation_episode".

    steps_taken and diverged_at tell how far each seed came. Attributes are those of `Identity`, and the seconds taken.

    Episodes of training are a table of its own, with the dimension "episode" and the variables episode_seed, _step,
    _return and _length. Where a seed's training has not come, there is NaN.
    """
    import xarray as xr

    names = dict.fromkeys(name for record in records for name in record.curves)
    nothing = np.full(len(plan.evaluated_at), np.nan)
    variables: dict[str, Any] = {
        "evaluation_episode_return": (
            ("seed", "step", "evaluation_episode"),
            np.stack([record.evaluation_return for record in records]),
        ),
        "evaluation_episode_length": (
            ("seed", "step", "evaluation_episode"),
            np.stack([record.evaluation_length for record in records]),
        ),
        "diverged_at": ("seed", np.array([record.diverged_at for record in records])),
        "steps_taken": ("seed", np.array([record.units * plan.steps_per_unit for record in records])),
    }
    for name in names:
        variables[name] = (("seed", "step"), np.stack([record.curves.get(name, nothing) for record in records]))
    variables["evaluation_return"] = (("seed", "step"), variables["evaluation_episode_return"][1].mean(axis=2))
    for name, kind in (("step", np.int64), ("return", np.float64), ("length", np.int64)):
        told = [np.array(getattr(record, f"episode_{name}"), dtype=kind) for record in records]
        variables[f"episode_{name}"] = ("episode", np.concatenate(told))
    counts = [len(record.episode_return) for record in records]
    variables["episode_seed"] = ("episode", np.repeat(np.array(seeds, dtype=np.int64), counts))
    result = xr.Dataset(
        variables,
        coords={"seed": np.array(seeds, dtype=np.int64), "step": plan.evaluated_at * plan.steps_per_unit},
        attrs={**plan.identity.told(), "seconds": seconds},
    )
    for name, (words, unit) in _WORDS.items():
        if name in result.variables:
            result[name].attrs = {"long_name": words, "units": unit}
    return result


def record_arrays(record: SeedRecord) -> tuple[dict[str, NDArray[Any]], str]:
    """A record as arrays and a text, from which `restored` makes it again."""
    arrays = {
        "evaluation_return": record.evaluation_return,
        "evaluation_length": record.evaluation_length,
        "episode_step": np.array(record.episode_step, dtype=np.int64),
        "episode_return": np.array(record.episode_return, dtype=np.float64),
        "episode_length": np.array(record.episode_length, dtype=np.int64),
        **{f"curve {name}": curve for name, curve in record.curves.items()},
    }
    scalars = {
        "units": record.units,
        "evaluated": record.evaluated,
        "diverged_at": record.diverged_at,
        "since": record.since,
    }
    return arrays, json.dumps(scalars)


def restore_record(record: SeedRecord, arrays: dict[str, NDArray[Any]], text: str) -> None:
    """Make `record` what it was when `record_arrays` was called."""
    scalars = json.loads(text)
    record.evaluation_return = arrays["evaluation_return"]
    record.evaluation_length = arrays["evaluation_length"]
    record.episode_step = arrays["episode_step"].tolist()
    record.episode_return = arrays["episode_return"].tolist()
    record.episode_length = arrays["episode_length"].tolist()
    record.curves = {name[6:]: curve for name, curve in arrays.items() if name.startswith("curve ")}
    record.units, record.evaluated = scalars["units"], scalars["evaluated"]
    record.diverged_at = scalars["diverged_at"]
    record.since = {name: (total, count) for name, (total, count) in scalars["since"].items()}
