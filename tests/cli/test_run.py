"""`rlbook run`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

from rlbook.registry import labs, registered

from ..core.fake_lab import Raising, UniformMean
from .conftest import Command

KEYS = {
    *("lab", "parameters", "seeds", "seconds", "claim", "source", "statistic", "estimate", "interval", "interval_kind"),
    *("relation", "threshold", "n", "note", "preview", "status"),
}


@pytest.fixture(autouse=True)
def fake_labs() -> Iterator[None]:
    with registered(UniformMean, Raising):
        UniformMean.asked.clear()
        yield


def test_the_verdict_is_printed_with_claim_and_source(rlbook: Command) -> None:
    """Prevents: a verdict that does not say what it is about."""
    ended = rlbook("run", "uniform-mean")
    assert (ended.code, ended.err) == (0, "")
    for part in (UniformMean.claim, "Any textbook, page 1", "draws=50, centre=0.5", "holds: ", "n = 12"):
        assert part in ended.out


def test_json_has_the_verdict_and_what_it_was_reached_with(rlbook: Command) -> None:
    """Prevents: a renamed key, or a number of seeds that was not used."""
    content = rlbook("run", "uniform-mean", "--json", "--seeds", "3", "--set", "draws=20").json
    assert set(content) == KEYS
    assert content["parameters"] == {"draws": 20, "centre": 0.5}
    assert (content["seeds"], content["n"], content["preview"]) == (3, 3, True)


def test_nothing_is_computed_twice(rlbook: Command) -> None:
    """Prevents: a command that goes round the run store."""
    rlbook("run", "uniform-mean", "--seeds", "3")
    rlbook("run", "uniform-mean", "--seeds", "5", "--json")
    assert sorted(seed for seeds in UniformMean.asked for seed in seeds) == [0, 1, 2, 3, 4]


def test_a_preview_uses_the_preview_seeds_and_stores_nothing(rlbook: Command, home: Path) -> None:
    """Prevents: previews that pass for verdicts."""
    content = rlbook("run", "uniform-mean", "--preview", "--json").json
    assert (content["n"], content["preview"]) == (1, True)
    assert not list((home / "store").rglob("*.nc"))


@pytest.mark.parametrize(("centre", "code"), [("0.5", 0), ("0.9", 1)])
def test_check_exits_with_1_when_the_claim_does_not_hold(rlbook: Command, centre: str, code: int) -> None:
    """Prevents: a check that cannot fail."""
    assert rlbook("run", "uniform-mean", "--set", f"centre={centre}").code == 0
    ended = rlbook("run", "uniform-mean", "--set", f"centre={centre}", "--check", "--json")
    assert (ended.code, ended.json["status"]) == (code, "holds" if code == 0 else "fails")


def test_an_open_question_is_no_success_of_a_check(rlbook: Command) -> None:
    """Prevents: `--check` passing on an inconclusive verdict."""
    ended = rlbook("run", "uniform-mean", "--preview", "--check", "--json")
    assert (ended.code, ended.json["status"]) == (1, "inconclusive")


def test_save_writes_page_data_and_verdict(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: a saved result that cannot be read, is not whole, or holds another run."""
    folder = tmp_path / "new" / "results"
    ended = rlbook("run", "uniform-mean", "--seeds", "4", "--save", str(folder), "--json")
    assert ended.code == 0
    files = [folder / f"uniform-mean.{suffix}" for suffix in ("html", "nc", "json")]
    assert ended.json["files"] == [str(path) for path in files]
    assert sorted(folder.iterdir()) == sorted(files)
    assert "Uniform draws have mean one half." in files[0].read_text(encoding="utf-8")
    with xr.open_dataset(files[1], engine="h5netcdf") as data:
        assert data["seed"].values.tolist() == [0, 1, 2, 3]
    assert json.loads(files[2].read_text(encoding="utf-8"))["estimate"] == ended.json["estimate"]


@pytest.mark.parametrize("name", sorted(labs()))
def test_one_seed_of_every_lab_can_be_saved(rlbook: Command, tmp_path: Path, name: str) -> None:
    """Prevents: a traceback where one seed leaves the interval open at infinity, which JSON has no number for."""
    ended = rlbook("run", name, "--seeds", "1", "--save", str(tmp_path / "out"), "--json")
    assert (ended.code, ended.err) == (0, "")
    files = {path.suffix: path for path in (tmp_path / "out").iterdir()}
    assert sorted(files) == [".html", ".json", ".nc"]

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    saved = json.loads(files[".json"].read_text(encoding="utf-8"), parse_constant=refuse)
    assert saved == {key: value for key, value in ended.json.items() if key != "files"}
    with xr.open_dataset(files[".nc"], engine="h5netcdf") as data:
        assert data.sizes["seed"] == 1


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_disk_that_fills_up_leaves_the_three_files_of_before(
    rlbook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Prevents: a new page beside old data, or files that are cut short."""
    rlbook("run", "uniform-mean", "--seeds", "3", "--save", str(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert len(before) == 3
    synced, left = os.fsync, [failing]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr("rlbook.atomic_files.os.fsync", full)
    ended = rlbook("run", "uniform-mean", "--preview", "--save", str(tmp_path))
    assert "No space left on device; choose another folder" in ended.sentence
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_page_that_cannot_be_drawn_leaves_no_file(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: data without its page after a lab's figure has raised."""

    class Undrawn(UniformMean):
        name = "undrawn"

        def alt_text(self, result: xr.Dataset, view: object) -> str:
            raise ZeroDivisionError

    with registered(Undrawn):
        assert rlbook("run", "undrawn", "--preview", "--save", str(tmp_path / "out")).code == 70
    assert list((tmp_path / "out").iterdir()) == []


def test_saving_says_where(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: files that nobody finds."""
    shown = rlbook("run", "uniform-mean", "--preview", "--save", str(tmp_path)).out
    assert f"saved {tmp_path / 'uniform-mean.html'}" in shown


def test_a_folder_that_cannot_be_made_is_found_before_anything_runs(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: an hour of work that cannot be saved."""
    (tmp_path / "file").touch()
    assert "choose another folder" in rlbook("run", "uniform-mean", "--save", str(tmp_path / "file" / "x")).sentence
    assert UniformMean.asked == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["uniform-men"], ["lab 'uniform-men' is unknown", "did you mean uniform-mean"]),
        (["uniform-mean", "--set", "draw=3"], ["'draw' is unknown", "did you mean draws"]),
        (["uniform-mean", "--set", "draws=0"], ["'draws' is '0'", "greater than or equal to 1"]),
        (["uniform-mean", "--set", "draws=few"], ["'draws' is 'few'"]),
        (["uniform-mean", "--set", "draws"], ["'draws' is not of the form name=value"]),
        (["uniform-mean", "--set", "draws=3", "--set", "draws=4"], ["given twice"]),
        (["uniform-mean", "--seeds", "0"], ["seeds is 0"]),
        (["uniform-mean", "--seeds", "4", "--preview"], ["exclude each other"]),
    ],
)
def test_bad_input_gives_a_sentence(rlbook: Command, arguments: list[str], parts: list[str]) -> None:
    """Prevents: a traceback, or a sentence without the value found and the way out."""
    sentence = rlbook("run", *arguments).sentence
    assert [part for part in parts if part not in sentence] == []


def test_a_lab_that_breaks_is_a_defect_and_no_failed_claim(rlbook: Command) -> None:
    """Prevents: exit code 1 for a lab whose code raises."""
    ended = rlbook("run", "raising", "--check")
    assert ended.code == 70
    assert "ZeroDivisionError: nobody divides by zero" in ended.err


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
def test_ctrl_c_ends_with_130_and_keeps_finished_seeds(home: Path) -> None:
    """Prevents: a traceback on Ctrl-C, a command that goes on, seeds that are lost."""
    command = [sys.executable, "-m", "rlbook", "run", "averages-converge", "--seeds", "1000000"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 40
        while not list((home / "store").rglob("*.nc")) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    finally:
        running.kill()
    assert (running.returncode, out) == (130, "")
    assert err == "rlbook: interrupted; finished seeds are kept\n"
    assert list((home / "store").rglob("*.nc"))


@pytest.mark.parametrize("seeds", ["0", "-1", "1000001", "99999999999999999999"])
def test_a_number_of_seeds_that_cannot_be_is_refused_in_a_sentence(rlbook: Command, seeds: str) -> None:
    """Prevents: an OverflowError, or a wait for memory, from a slip of the keyboard."""
    assert "seeds is" in rlbook("run", "uniform-mean", f"--seeds={seeds}").sentence


def test_an_empty_folder_is_no_folder(rlbook: Command) -> None:
    """Prevents: files written into whatever folder happens to be the current one."""
    for command in (("run", "uniform-mean", "--save", ""), ("lab", "--dir", "")):
        ended = rlbook(*command)
        assert (ended.code, ended.out) == (2, "")
        assert f"'{command[-2]}': it is empty" in ended.err
