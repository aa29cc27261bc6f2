"""Trained policies: saved, loaded elsewhere, asked, refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbook.deep import dqn
from rlbook.deep.array_files import ArrayFileError, read, write
from rlbook.deep.policy import Policy
from rlbook.errors import ParameterError

from .small import CART, CONFIG, WALKER, Corridor
from .test_drivers import same
from .test_training import WALK

SEEN = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Path]:
    folder = tmp_path_factory.mktemp("policies")
    policies = dqn.ALGORITHM.run(CART, seeds=1, steps=200, config=CONFIG, evaluations=1, folder=folder).policies
    return policies[0], folder / "policy-0.npz"


def test_a_policy_acts_the_same_in_a_process_without_the_trainer(trained: tuple[Policy, Path]) -> None:
    """Prevents a policy that needs training, or is not what was saved."""
    policy, path = trained
    script = """
import json, sys
import numpy as np
from rlbook.deep.policy import Policy
policy = Policy.load(sys.argv[1])
seen = np.array(json.loads(sys.argv[2]), dtype=np.float32)
values = [policy.action_values(each).tolist() for each in seen]
loaded = sorted(name for name in sys.modules if name.startswith("rlbook.deep."))
print(json.dumps([[int(policy(each)) for each in seen], values, loaded, policy.describe()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), json.dumps(SEEN.tolist())], capture_output=True, text=True, check=True
    )
    actions, values, loaded, words = json.loads(done.stdout)
    assert actions == [int(policy(each)) for each in SEEN]
    assert np.array_equal(np.array(values, dtype=np.float32), [policy.action_values(each) for each in SEEN])
    assert len({tuple(each) for each in values}) == len(SEEN)
    assert not {"rlbook.deep.training", "rlbook.deep.compiled", "rlbook.deep.gymnasium_driver"} & set(loaded)
    assert words.startswith("dqn trained on CartPole-v1, with ")
    assert '"batch_size": 4' in words


def test_the_action_is_that_of_the_greatest_value(trained: tuple[Policy, Path]) -> None:
    """Prevents a policy that explores."""
    for each in SEEN:
        assert trained[0](each) == trained[0].action_values(each).argmax()


def test_a_policy_outlives_the_training_that_it_came_from() -> None:
    """Prevents a policy whose arrays are donated to the next chunk of training."""
    first = dqn.ALGORITHM.run(CART, seeds=1, steps=200, config=CONFIG, evaluations=1).policies[0]
    before = [np.array(first.action_values(each)) for each in SEEN]
    second = dqn.ALGORITHM.run(CART, seeds=1, steps=200, config=CONFIG, evaluations=1).policies[0]
    assert same(first.state, second.state)
    assert np.array_equal(before, [first.action_values(each) for each in SEEN])


def test_another_shape_of_observation_is_a_sentence(trained: tuple[Policy, Path]) -> None:
    """Prevents an error from a matrix product."""
    for wrong in (np.zeros(3), np.zeros((2, 4)), 0.0):
        with pytest.raises(ParameterError, match=r"observation has shape .* trained on CartPole-v1, .* shape \(4,\)"):
            trained[0](wrong)


def test_who_has_no_action_values_says_so() -> None:
    """Prevents a TypeError for a policy that has no values to show."""
    policy = WALKER.run(Corridor(), seeds=1, **WALK).policies[0]
    assert policy([0.0]) == 1
    with pytest.raises(ParameterError, match="walker learns no action values"):
        policy.action_values([0.0])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"algorithm": "dqm"}, "algorithm 'dqm' is unknown; did you mean dqn"),
        ({"config": {"widths": 3}}, "'widths' is unknown"),
        ({"config": {"first_width": 9}}, "where float32[9,4] belongs"),
        ({"actions": {}}, "lacks a part"),
        ({"actions": None}, "lacks a part"),
        ({"format": "rlbook policy 9"}, "its format is 'rlbook policy 9'"),
    ],
)
def test_a_file_that_is_no_policy_of_this_version_is_a_sentence(
    trained: tuple[Policy, Path], tmp_path: Path, change: dict[str, Any], part: str
) -> None:
    """Prevents a traceback, or a network of the wrong shape that acts all the same."""
    header, arrays = read(trained[1], "rlbook policy 1")
    path = tmp_path / "policy.npz"
    write(path, {**header, **change}, arrays)
    with pytest.raises(ArrayFileError) as caught:
        Policy.load(path)
    assert part.replace(" ", "") in str(caught.value).replace(" ", "")
    assert "policy.npz" in str(caught.value)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """Prevents a bare FileNotFoundError."""
    with pytest.raises(ArrayFileError, match="cannot be read: No such file"):
        Policy.load(tmp_path / "none.npz")


def test_saving_where_nothing_can_be_saved_is_a_sentence(trained: tuple[Policy, Path]) -> None:
    """Prevents a bare OSError."""
    with pytest.raises(ArrayFileError, match=r"nothing can be written to .* choose another folder"):
        trained[0].save(trained[1] / "below" / "policy.npz")
