"""ICU-Sepsis: the treatment of sepsis in intensive care, estimated from MIMIC-III."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from rlbook.environments.registry import Discount, environment
from rlbook.errors import MissingExtraError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows
from rlbook.npz_reading import NpzFile

DEATH, SURVIVAL, AFTERWARDS = 713, 714, 715
DOSE_LEVELS = 5


@environment("icu-sepsis", "ICU-Sepsis: treating sepsis in intensive care, estimated from MIMIC-III; +1 for survival")
def icu_sepsis(*, discount: Discount = 1.0) -> FiniteMDP:
    """Choudhary, Gupta & Thomas, *ICU-Sepsis: A Benchmark MDP Built from Real Medical Data* (2024); discount 1 there.

    States 0 to 712 are patients' conditions, 713 is death, 714 survival (+1 on entering), 715 what follows either.
    Actions are 5 x 5 dose levels of fluids and vasopressors; the transitions of inadmissible ones are the mean of the
    admissible ones, as in the published baselines. Policies: "clinicians", estimated from what was done, and "random".
    The data is read from the installed distribution `icu-sepsis`, whose code is never imported.
    """
    return _published().replace(discount=discount)


@cache
def _published() -> FiniteMDP:
    with NpzFile(_data_file()) as file:
        transition, start = file.read("tx_mat"), file.read("d_0")
        clinicians = file.read("expert_policy").astype(np.float64)
    states, actions, _ = transition.shape
    # Nobody acts once the episode is over, so the estimate says nothing there.
    clinicians[[DEATH, SURVIVAL, AFTERWARDS]] = 1.0 / actions
    pairs = states * actions
    entry = np.flatnonzero(transition)
    pair, next_state = np.divmod(entry, states)
    return from_rows(
        state_ptr=np.arange(states + 1) * actions,
        action=np.tile(np.arange(actions), states),
        row_ptr=np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=pairs))]),
        next_state=next_state,
        probability=transition.ravel()[entry],
        # The file's own table of rewards, a hundred megabytes of zeros and ones, says the same (tested).
        reward=(next_state == SURVIVAL).astype(np.float64),
        terminated=np.isin(next_state, [DEATH, SURVIVAL, AFTERWARDS]),
        discount=1.0,
        start=start,
        name="icu-sepsis",
        state_names=[*(f"condition {state}" for state in range(DEATH)), "death", "survival", "afterwards"],
        action_names=[f"dose ({i}, {j})" for i in range(DOSE_LEVELS) for j in range(DOSE_LEVELS)],
        policies={"clinicians": clinicians.ravel(), "random": np.full(pairs, 1.0 / actions)},
    )


def _data_file() -> Path:
    try:
        files = metadata.files("icu-sepsis") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "dynamics.npz" and (path := Path(str(file.locate()))).is_file():
            return path
    raise MissingExtraError("the data of ICU-Sepsis", "data", "icu-sepsis")
