"""`python -m benchmarks quality`: what is stored is what training gave."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from benchmarks import __main__ as front_door
from benchmarks import quality
from rlbook.deep import dqn
from rlbook.deep.pages import agents, tasks
from rlbook.deep.pages.stored import StoredRun
from rlbook.intervals import student_interval

# The program that tests of the frame and of `rlbook train` compile as well.
WORLD = "CartPole-v1(time_limit=13)"
SMALL = {
    **{"first_width": "8", "second_width": "8", "batch_size": "4", "train_every": "4"},
    **{"buffer_size": "64", "learning_starts": "12", "target_every": "3"},
}
AGENT = agents.Agent("small", "Small DQN", "dqn", SMALL)
TASK = tasks.Task(WORLD, 600, 3, (tasks.Goal("evaluation_return", 13.0, True, "its time limit"),))


def test_a_record_holds_what_training_gave() -> None:
    """Prevents a curve, an interval or a command of another run."""
    run = quality.measured(AGENT, TASK, seeds=3)
    result = dqn.train(WORLD, seeds=3, steps=600, evaluations=3, config=AGENT.config())
    last = result.evaluation_return.values[:, -1]
    assert np.allclose(run.final["evaluation_return"], last, rtol=1e-5)
    mean, (low, high) = student_interval(last)
    curve = run.curves["evaluation_return"]
    assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((mean, low, high), rel=1e-5)
    assert run.step == tuple(result.step.values.tolist())
    assert run.command.startswith(f"rlbook train dqn --env '{WORLD}' --seeds 3 --steps 600 --set first_width=8 ")
    assert StoredRun.model_validate_json(run.text()) == run
    assert "/" not in run.machine


def test_what_is_no_number_is_none() -> None:
    """Prevents JSON that no parser takes, and a seed that is dropped."""
    assert quality.rounded(np.array([1.23456789, np.nan, np.inf])) == (1.23457, None, None)


def test_results_are_written_where_pages_read_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Prevents a run of an hour that is thrown away, or one that overwrites results unasked."""
    run = quality.record(
        agents.agent("pqn"),
        tasks.task("Acrobot-v1"),
        {
            **{"command": "rlbook train pqn", "config": {}, "seconds": 1.0, "seed": [0, 1], "diverged_at": [-1, -1]},
            **{"step": [5], "evaluation_return": [[-90.0], [-95.0]], "training_return": [[-200.0], [-210.0]]},
        },
        "2030-01-01",
        "an abacus",
    )
    monkeypatch.setattr(quality, "FOLDER", tmp_path)
    monkeypatch.setattr(quality, "measured", lambda *_, **__: run)
    for more, count in ([], 0), (["--write"], 1):
        monkeypatch.setattr(sys, "argv", ["benchmarks", "quality", "--agent", "pqn", "--task", "Acrobot-v1", *more])
        assert front_door.main() == 0
        assert len(list(tmp_path.iterdir())) == count
    assert (tmp_path / "pqn-Acrobot-v1.json").read_text() == run.text()
    said = capsys.readouterr().out
    assert "training return, -100 or more (the return from which Gymnasium calls it solved): not reached. Mean " in said
    assert "quality" not in front_door.NAMES
