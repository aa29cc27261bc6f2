"""Replication: many seeds and a grid of parameters, on all cores, into one dataset.

Every replicate is one call of a compiled kernel, which releases Python's lock, and a pool of threads works them off.
Each draws by its own keys and writes its own rows, so that neither the number of threads nor the order in which
replicates end changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlbook.errors import Cancelled, ParameterError
from rlbook.keyed_random import MOST_STEPS
from rlbook.mdp_device import DeviceMDP
from rlbook.tabular.learning.learner import Learner, World, varied
from rlbook.tabular.learning.records import Keep, Records
from rlbook.tabular.learning.threads import work_off
from rlbook.tabular.learning.truth import judged_truth
from rlbook.tabular.stopping import cancel_flag
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_MOST_STEPS_BY_DEFAULT = 10_000_000


def replicate(
    mdp: FiniteMDP | DeviceMDP,
    learner: Learner | Mapping[str, Learner],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    episodes: int | None = None,
    checkpoints: int | ArrayLike = 50,
    grid: Mapping[str, Sequence[Any]] | None = None,
    truth: ArrayLike | Literal["optimal"] | None = "optimal",
    keep: Keep = "errors",
    max_steps: int = _MOST_STEPS_BY_DEFAULT,
    workers: int | None = None,
    cancel: NDArray[np.uint8] | None = None,
    progress: Callable[[float], None] | None = None,
) -> xr.Dataset:
    """Run a learner, or several by name, for every seed and every combination of a grid of its parameters.

    mdp: where its arrays live decides what runs; on a device (`mdp.to("gpu")`), one thread follows each replicate of
    Q-learning, with the same draws. steps, episodes: how long each replicate learns; give one of the two. checkpoints:
    how many records each keeps, evenly spaced, or when to keep them (increasing whole numbers from 1 to the end). grid:
    field names of the learner and the values that each takes. truth: what estimates are judged against, (entries,) in
    units of return, NaN where nothing is judged; "optimal" solves the MDP (for learners of action values) and judges
    the pairs that can be visited. keep: "estimates" keeps them at every checkpoint, "steps" also which pair acted, its
    temporal-difference error, and eligibility traces; "laws" keeps the estimates, and the parameters of the return laws
    of learners that have them. max_steps: of each replicate that learns for `episodes`, so that an episode without end
    is not waited for. workers: threads, one per core by default. cancel: uint8 (1,), polled every few thousand steps.
    progress: called with the fraction done, in the calling thread.

    Returns a dataset with dimensions "learner" (if several are given), one for each entry of `grid`, "seed" and
    "checkpoint". Variables: error, the greatest absolute error, and rms_error, its root mean square; reward, the sum so
    far; step and episode, how many are over; updates, where learners count them; and what `keep` asks for. A variable
    whose name the grid takes, such as updates, is called recorded_updates. Records that were not reached within
    `max_steps` are NaN, or -1 for whole numbers. A seed gives the same bits alone and in company, whatever the number
    of workers.

    Raises ParameterError for values out of range, MDPError for models that are not stored, Cancelled when the flag is
    set; whatever `progress` raises ends the run as well.
    """
    marks, by_episodes = _marks(steps, episodes, checkpoints)
    if not is_whole(max_steps, 1, MOST_STEPS - 1):
        raise ParameterError(f"max_steps is {max_steps!r}, but a learner takes a whole number of 1 to {MOST_STEPS - 1}")
    each = _seeds(seeds)
    coordinates, settings = _settings(learner, grid or {})
    kind = settings[0].estimates
    if any(chosen.estimates != kind for chosen in settings):
        raise ParameterError("learners of action values and of state values cannot share a dataset; call twice")
    host = mdp.host if isinstance(mdp, DeviceMDP) else mdp
    world = World(host)
    follows = [chosen.prepare(world) for chosen in settings]
    flag = cancel_flag(cancel)
    records = Records(
        len(settings) * len(each),
        marks,
        by_episodes,
        int(max_steps) if by_episodes else int(marks[-1]),
        judged_truth(truth, host, kind),
        mdp.n_pairs if kind == "action" else mdp.n_states,
        keep,
        flag,
        any(getattr(chosen, "counts_updates", False) for chosen in settings),
        _parameters_of_laws(settings) if keep == "laws" else 0,
    )

    def one(place: int) -> None:
        follows[place // len(each)](each[place % len(each)], records.of(place))

    if isinstance(mdp, DeviceMDP):
        from rlbook.tabular.gpu.q_learning import follow_on_device

        follow_on_device(world, settings, each, records, flag, progress)
    else:
        work_off(one, records.runs, workers, flag, records.fraction_done, progress)
    if flag[0]:
        raise Cancelled
    return records.dataset({**coordinates, "seed": each}, kind)


def _marks(steps: int | None, episodes: int | None, checkpoints: int | ArrayLike) -> tuple[NDArray[np.int64], bool]:
    if (steps is None) == (episodes is None):
        raise ParameterError(f"steps is {steps} and episodes is {episodes}, but exactly one of the two must be given")
    name, end = ("steps", steps) if episodes is None else ("episodes", episodes)
    if not is_whole(end, 1, MOST_STEPS - 1):
        raise ParameterError(f"{name} is {end!r}, but it must be a whole number from 1 to {MOST_STEPS - 1}")
    if isinstance(checkpoints, Integral) and not isinstance(checkpoints, bool):
        if checkpoints < 1:
            raise ParameterError(f"checkpoints is {checkpoints}, but at least one record must be kept")
        marks = np.unique(np.linspace(0, int(end), min(int(checkpoints), int(end)) + 1)[1:].round().astype(np.int64))
    else:
        try:
            given = np.asarray(checkpoints)
        except ValueError:  # lists of several lengths
            given = np.empty(0)
        if not np.issubdtype(given.dtype, np.integer) or given.ndim != 1 or not len(given):
            raise ParameterError(
                f"checkpoints is {checkpoints!r}, but it is a number of records, or a list of integers"
            )
        marks = given.astype(np.int64)
        if marks[0] < 1 or np.any(np.diff(marks) < 1) or marks[-1] > end:
            raise ParameterError(f"checkpoints are {marks.tolist()[:5]}..., but they must increase from 1 to {end}")
    marks.setflags(write=False)
    return marks, episodes is not None


def _parameters_of_laws(settings: Sequence[Learner]) -> int:
    """How many numbers each law has that the learners keep."""
    counts = {int(getattr(chosen, "n_parameters", 0)) for chosen in settings}
    if len(counts) > 1 or 0 in counts:
        raise ParameterError(
            f"keep is 'laws', but the learners' laws have {' and '.join(map(str, sorted(counts)))} parameters; give "
            "learners of return laws that agree, for example QuantileTD(Quantiles(51))"
        )
    return counts.pop()


def _seeds(seeds: Sequence[int]) -> list[int]:
    if not isinstance(seeds, Iterable):
        raise ParameterError(f"seeds is {seeds!r}, but it lists them, for example range(20)")
    each = list(seeds)
    for seed in each:
        if not is_whole(seed, 0, 2**63 - 1):
            raise ParameterError(f"seed {seed!r} is not a whole number from 0 to 2^63 - 1")
    if not each:
        raise ParameterError("seeds is empty; give at least one, for example range(20)")
    return [int(seed) for seed in each]


def _settings(
    learner: Learner | Mapping[str, Learner], grid: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, list[Any]], list[Learner]]:
    """Coordinates of the dimensions before "seed", and the learner of every place in them, the last one fastest."""
    bases = dict(learner) if isinstance(learner, Mapping) else {"": learner}
    if not bases:
        raise ParameterError("learner is an empty mapping; give at least one learner")
    if not isinstance(grid, Mapping):
        raise ParameterError(f"grid is {grid!r}, but it maps fields of the learner to lists of their values")
    for name, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
            raise ParameterError(f"grid[{name!r}] is {values!r}, but it lists the values of a field; give [{values!r}]")
        if not len(values):
            raise ParameterError(f"grid[{name!r}] is empty; give at least one value")
        if name in ("learner", "seed", "checkpoint"):
            raise ParameterError(f"grid names {name!r}, which is a dimension of its own")
    settings = [
        varied(base, dict(zip(grid, values, strict=True)))
        for base in bases.values()
        for values in product(*grid.values())
    ]
    coordinates: dict[str, list[Any]] = {"learner": list(bases)} if isinstance(learner, Mapping) else {}
    return {**coordinates, **{name: [_label(value) for value in values] for name, values in grid.items()}}, settings


def _label(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
