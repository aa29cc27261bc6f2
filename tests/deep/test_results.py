"""What training leaves in numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rlbook.deep.environments import FiniteMDPEnvironment
from rlbook.deep.training import TrainingWarning
from rlbook.environments import make

from .small import WALKER, Corridor, table_algorithm
from .test_training import WALK

DIMENSIONS = {
    **dict.fromkeys(("evaluation_return", "training_return", "loss"), ("seed", "step")),
    **dict.fromkeys(("evaluation_episode_return", "evaluation_episode_length"), ("seed", "step", "evaluation_episode")),
    **dict.fromkeys(("diverged_at", "steps_taken"), ("seed",)),
    **dict.fromkeys(("episode_seed", "episode_step", "episode_return", "episode_length"), ("episode",)),
}


@pytest.fixture(scope="module")
def result() -> xr.Dataset:
    return WALKER.train(Corridor(), seeds=[4, 1], **WALK)


def test_variables_have_dimensions_words_and_units(result: xr.Dataset) -> None:
    """Prevents a number that nobody can tell what it counts."""
    assert {str(name): result[name].dims for name in result} == DIMENSIONS
    assert result.step.values.tolist() == [100, 200, 300, 400]
    assert result.seed.values.tolist() == [4, 1]
    for name in result.variables:
        if name != "seed":
            assert set(result[name].attrs) == {"long_name", "units"}, name


def test_curves_follow_from_episodes(result: xr.Dataset) -> None:
    """Prevents a training return over other episodes than it says, and steps that are counted from elsewhere."""
    for seed in (4, 1):
        own = result.isel(episode=np.flatnonzero(result.episode_seed == seed))
        assert (own.episode_step.diff("episode").values == own.episode_length.values[1:]).all()
        assert own.episode_length.max() == 4
        for step in result.step.values:
            until = own.episode_return.values[own.episode_step.values <= step]
            assert result.training_return.sel(seed=seed, step=step) == pytest.approx(until[-100:].mean())
    greedy = result.evaluation_episode_return.mean("evaluation_episode")
    assert np.array_equal(result.evaluation_return, greedy)
    assert len(np.unique(result.evaluation_episode_return)) > 1


def test_attributes_say_what_was_run(result: xr.Dataset) -> None:
    """Prevents a result that cannot be repeated."""
    told = result.attrs
    assert {name: told[name] for name in ("algorithm", "environment", "driver", "steps", "evaluations")} == {
        **{"algorithm": "walker", "environment": "corridor", "driver": "compiled", "steps": 400, "evaluations": 4}
    }
    assert json.loads(told["config"]) == {"grain": 1.0, "every": 4}
    assert told["seconds"] > 0


def test_a_result_survives_a_file(result: xr.Dataset, tmp_path: Path) -> None:
    """Prevents attributes that netCDF has no type for, and an empty table that it cannot hold."""
    with pytest.warns(TrainingWarning, match="has learned nothing"):
        none = WALKER.train(Corridor(), seeds=1, steps=1)
    assert none.sizes["episode"] in (0, 1)
    for at, each in enumerate((result, none)):
        path = tmp_path / f"{at}.nc"
        each.to_netcdf(path, engine="h5netcdf")
        with xr.open_dataset(path, engine="h5netcdf") as read:
            assert read.identical(each)


def test_a_finite_mdp_has_the_oracle_s_curves_with_units() -> None:
    """Prevents grades without a name."""
    world = FiniteMDPEnvironment(make("frozenlake-4x4"), time_limit=30)
    found = table_algorithm(np.zeros((16, 4))).train(world, seeds=1, steps=20, evaluations=2, evaluation_episodes=1)
    for name in ("q_error", "q_rms_error", "bias", "regret"):
        assert found[name].dims == ("seed", "step")
        assert found[name].attrs["units"] == "return"
