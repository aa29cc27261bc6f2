"""`rlbook train`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from rlbook.deep.algorithms import names

from .conftest import Command

# What the tests of the frame compile as well.
SMALL = (
    *("--set", "first_width=8", "--set", "second_width=8", "--set", "batch_size=4", "--set", "train_every=4"),
    *("--set", "buffer_size=64", "--set", "learning_starts=12", "--set", "target_every=3"),
)
TRAIN = ("train", "dqn", "--env", "CartPole-v1(time_limit=13)", "--seeds", "2", "--steps", "400", *SMALL)
DIVERGES = ("--set", "bounded=false", "--set", "normalised=false", "--set", "learning_rate=10")


def test_each_seed_has_a_line_and_the_command_is_told(rlbook: Command) -> None:
    """Prevents a table without a seed, and results that nobody can have again."""
    ended = rlbook(*TRAIN)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("dqn on CartPole-v1(time_limit=13): 2 seeds of 400 steps, compiled driver, ")
    assert lines[2].split() == ["seed", "steps", "training", "return", "evaluation", "return", "loss"]
    assert [line.split()[:2] for line in lines[3:5]] == [["0", "400"], ["1", "400"]]
    assert "nothing is kept; with --folder DIR" in lines[-1]


def test_json_holds_the_curves_and_the_command_gives_them_again(rlbook: Command) -> None:
    """Prevents a command that is not the one that was run."""
    first = rlbook(*TRAIN, "--json", "--evaluations", "4", "--driver", "gym").json
    assert first["step"] == [100, 200, 300, 400]
    assert len(first["evaluation_return"]) == 2
    assert len(first["evaluation_return"][0]) == 4
    assert (first["interrupted"], first["diverged"], first["driver"]) == (False, False, "gym")
    assert first["config"]["batch_size"] == 4
    assert "episode_return" not in first
    words = shlex.split(first["command"])
    assert words[0] == "rlbook"
    again = rlbook(*words[1:], "--json").json
    assert {name for name in first if first[name] != again[name]} <= {"seconds"}


def test_a_variant_is_trained_by_its_name(rlbook: Command) -> None:
    """Prevents a page whose agent cannot be trained, and a name that hides what it stands for."""
    told = rlbook("train", "double_dqn", *TRAIN[2:], "--json").json
    assert told["config"]["double"] is True
    assert told["command"].startswith(
        "rlbook train dqn --env 'CartPole-v1(time_limit=13)' --seeds 2 --steps 400 --set do"
    )


def test_a_folder_keeps_policies_and_says_how_to_go_on(rlbook: Command, tmp_path: Path) -> None:
    """Prevents trained policies that are thrown away unsaid."""
    folder = tmp_path / "new folder"
    ended = rlbook(*TRAIN, "--folder", str(folder))
    assert {path.name for path in folder.iterdir()} == {
        *("checkpoint-0.npz", "checkpoint-1.npz", "policy-0.npz", "policy-1.npz")
    }
    assert f"policies and checkpoints are in {folder}" in ended.out
    assert f"--folder {shlex.quote(str(folder))}" in ended.out
    sentence = rlbook(*TRAIN, "--steps", "500", "--folder", str(folder)).sentence
    assert "its steps is 400, not 500" in sentence


def test_a_seed_that_diverges_gives_1(rlbook: Command) -> None:
    """Prevents a success of what failed."""
    arguments = ("train", "stream_q", "--seeds", "1", "--steps", "3000", *DIVERGES)
    with pytest.warns(UserWarning, match="seed 0 is not a number"):
        ended = rlbook(*arguments)
    assert ended.code == 1
    assert "not a number" in ended.out
    with pytest.warns(UserWarning, match="seed 0 is not a number"):
        assert rlbook(*arguments, "--json").json["diverged"] is True


@pytest.mark.parametrize("folder", [False, True])
def test_ctrl_c_shows_what_was_reached_and_gives_130(
    rlbook: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: bool
) -> None:
    """Prevents an evening of training that ends without a number, or without a way to go on."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rlbook.lab.Context.progress", interrupted)
    more = ("--folder", str(tmp_path / "kept")) if folder else ()
    arguments = (*TRAIN, "--steps", "4000000", *more)
    ended = rlbook(*arguments)
    assert ended.code == 130
    assert ended.out.splitlines()[3].split()[0] == "0"
    assert ended.err.startswith("rlbook: interrupted after at least ")
    assert ended.err.count("\n") == 1
    assert ("to go on: rlbook train dqn" if folder else "name a folder with --folder") in ended.err
    assert (tmp_path / "kept" / "checkpoint-0.npz").exists() == folder
    assert rlbook(*arguments, "--json").json["interrupted"] is True


def test_on_a_terminal_the_table_is_live(
    rlbook: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a silent screen, and a table that is left behind in pieces."""
    monkeypatch.setattr("rlbook.deep.training._SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    shown = rlbook(*TRAIN).out
    assert shown.count("evaluation return") > 2
    assert "\x1b[" in shown
    assert shown.rstrip().rpartition("\n")[2].startswith("nothing is kept")


@pytest.mark.parametrize("name", names())
def test_every_agent_lists_its_settings(rlbook: Command, name: str) -> None:
    """Prevents an agent whose settings have to be looked up in its source."""
    shown = rlbook("train", name, "--settings").out
    rows = rlbook("train", name, "--settings", "--json").json
    assert shown.splitlines()[0].split() == ["setting", "default", "range", "what", "it", "is"]
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [row["name"] for row in rows]
    assert all(row["description"] for row in rows)
    assert "1e-" not in shown


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["dqm"], ["agent 'dqm' is unknown", "did you mean dqn"]),
        (["double_dqm"], ["did you mean double_dqn"]),
        (["double_dqn", "--set", "double=false"], ["--set double is given twice"]),
        (["dqn", "--env", "CartPol-v1"], ["'CartPol-v1' is unknown", "CartPole-v1"]),
        (["dqn", "--env", "Pendulum-v1"], ["actions are vectors"]),
        (["dqn", "--env", "gambler"], ["not all actions"]),
        (["dqn", "--driver", "torch"], ["driver is 'torch'"]),
        (["dqn", "--seeds", "0"], ["seeds is 0"]),
        (["dqn", "--steps", "0"], ["steps is 0"]),
        (["dqn", "--evaluations", "0"], ["evaluations is 0"]),
        (["dqn", "--set", "bath_size=3"], ["'bath_size' is unknown", "batch_size", "rlbook train dqn --settings"]),
        (["dqn", "--set", "batch_size"], ["not of the form name=value"]),
        (["dqn", "--set", "discount=0.9", "--set", "discount=0.8"], ["given twice"]),
        (["dqn", "--set", "discount=2"], ["'discount' is '2'", "less than or equal to 1"]),
        (["dqn", "--folder", __file__], ["nothing can be written to"]),
    ],
)
def test_bad_input_gives_a_sentence(rlbook: Command, arguments: list[str], parts: list[str]) -> None:
    """Prevents a traceback, or a sentence without the value found and the way out."""
    sentence = rlbook("train", *arguments).sentence
    assert [part for part in parts if part not in sentence] == []


def test_the_list_names_the_agents(rlbook: Command) -> None:
    """Prevents agents that nobody finds."""
    assert rlbook("list", "--json").json["agents"] == list(names())
    assert f"Agents (rlbook train AGENT)\n\n  {', '.join(names())}" in rlbook("list").out
