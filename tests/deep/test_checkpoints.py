"""Checkpoints: training goes on to the same bits after a cancel and after a kill, and never from a wrong file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlbook.deep import dqn
from rlbook.deep.array_files import ArrayFileError, read, write
from rlbook.deep.policy import Policy
from rlbook.deep.training import Trained
from rlbook.errors import Cancelled
from rlbook.lab import Context

from .small import CART, CONFIG, WALKER, Corridor, Counting
from .test_drivers import same
from .test_training import WALK, of_seed

LONG: dict[str, Any] = {"steps": 30_000, "config": CONFIG, "evaluations": 30, "evaluation_episodes": 2}


def cancelled_after(parts: int) -> Context:
    """A context that cancels at the n-th report of progress."""
    heard: list[float] = []

    def progress(fraction: float, message: str) -> None:
        heard.append(fraction)
        if len(heard) == parts:
            context.cancel()

    context = Context(on_progress=progress)
    return context


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is reported, and so may be cancelled, after every chunk."""
    monkeypatch.setattr("rlbook.deep.training._SECONDS_BETWEEN_REPORTS", 0.0)


@pytest.mark.parametrize(("driver", "steps"), [("compiled", 30_000), ("gym", 900)])
def test_training_goes_on_after_a_cancel_to_the_same_bits(
    driver: Any, steps: int, tmp_path: Path, impatient: None
) -> None:
    """Prevents a resumed run that draws, counts, evaluates or sums otherwise than one that was never stopped."""
    options = {**LONG, "steps": steps, "driver": driver, "seeds": 2, "workers": 2}
    whole = dqn.ALGORITHM.run(CART, **options)
    reached = []
    for parts in (2, 7):
        with pytest.raises(Cancelled):
            dqn.ALGORITHM.run(CART, folder=tmp_path, context=cancelled_after(parts), **options)
        header, _ = read(tmp_path / "checkpoint-0.npz", "rlbook checkpoint 1")
        reached.append(header["record"])
        assert not list(tmp_path.glob("*.part"))
    assert reached[0] != reached[1]
    again = dqn.ALGORITHM.run(CART, folder=tmp_path, **options)
    for seed in (0, 1):
        assert of_seed(again.result, seed).identical(of_seed(whole.result, seed))
        assert same(again.policies[seed].state, whole.policies[seed].state)
        assert same(Policy.load(tmp_path / f"policy-{seed}.npz").state, whole.policies[seed].state)


def test_what_is_finished_is_not_run_again_and_more_seeds_may_follow(tmp_path: Path) -> None:
    """Prevents work done twice, and a folder that fits one list of seeds only."""
    first = WALKER.train(Corridor(), seeds=2, folder=tmp_path, **WALK)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("checkpoint-*")}
    assert len(files) == 2
    more = WALKER.train(Corridor(), seeds=3, folder=tmp_path, **WALK)
    for seed in (0, 1):
        assert of_seed(more, seed).identical(of_seed(first, seed))
    assert {path: path.stat().st_mtime_ns for path in files} == files


_SCRIPT = """
import sys
from rlbook.deep import seed_training
from tests.deep.test_checkpoints import KILLED
seed_training._SECONDS_BETWEEN_CHECKPOINTS = 0.0
print("ready", flush=True)
folder, first = sys.argv[1:]
for name in sorted(KILLED, key=lambda name: name != first):
    KILLED[name](folder=folder + "/" + name)
print("done", flush=True)
"""
_TWO_SEEDS: dict[str, Any] = {"seeds": 2, "evaluations": 10, "evaluation_episodes": 2}
# The trainings that are killed, again and again.
KILLED: dict[str, Callable[..., Trained]] = {
    "compiled": partial(WALKER.run, Corridor(), steps=60_000, **_TWO_SEEDS),
    "gym": partial(WALKER.run, Corridor(), steps=2_000, driver="gym", **_TWO_SEEDS),
    "dqn": partial(dqn.ALGORITHM.run, CART, config=CONFIG, steps=15_000, **_TWO_SEEDS),
}


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A process in which `tests` can be imported as it is here."""
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.append({root!r})\n{script}"
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_training_goes_on_after_kills_at_any_moment(tmp_path: Path) -> None:
    """Prevents a checkpoint that a kill leaves half written, and one that is not of a single moment."""
    chance = random.Random(9)
    said, killed = "", 0
    for attempt in range(30):
        # Each of them comes first once, and so is under way when it is killed.
        running = child(_SCRIPT, str(tmp_path), list(KILLED)[attempt % len(KILLED)])
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            if attempt < len(KILLED):
                # Some of these moments lie before the first checkpoint, some between two, some within one.
                patience = time.monotonic() + chance.uniform(0.5, 4.0)
                while running.poll() is None and time.monotonic() < patience:
                    time.sleep(0.01)
                running.kill()
            said, err = running.communicate(timeout=200)
        finally:
            running.kill()
        if said == "done\n":
            break
        killed += 1
        assert running.returncode == -signal.SIGKILL, err
    assert said == "done\n"
    assert killed > 0
    for name, train in KILLED.items():
        whole, again = train(), train(folder=tmp_path / name)
        for seed in (0, 1):
            assert of_seed(again.result, seed).identical(of_seed(whole.result, seed))
            assert same(again.policies[seed].state, whole.policies[seed].state)
        assert not list((tmp_path / name).glob("*.part"))


_INTERRUPTED = """
import sys
from rlbook.deep.training import TrainingInterrupted
from rlbook.lab import Context
from tests.deep.small import WALKER, Corridor
def shown(result):
    if (result.steps_taken > 0).all():
        print("ready", flush=True)
try:
    context = Context(on_partial=shown)
    WALKER.train(Corridor(), seeds=2, workers=2, steps=2_000_000_000, folder=sys.argv[1], context=context)
except TrainingInterrupted as stop:
    assert (stop.result.steps_taken > 0).all()
    print(stop, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Prevents a traceback, threads that train on, and work that is lost."""
    running = child(_INTERRUPTED, str(tmp_path))
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        said, err = running.communicate(timeout=100)
    finally:
        running.kill()
    assert (running.returncode, err) == (0, "")
    said = said.replace("ready\n", "")
    assert said.startswith("training of walker on corridor was interrupted after at least ")
    assert f"run the same again to go on from the checkpoints in {str(tmp_path)!r}" in said
    assert (tmp_path / "checkpoint-0.npz").exists()


def sentence(folder: Path, **options: Any) -> str:
    """What is said about a folder that holds another training's checkpoints."""
    with pytest.raises(ArrayFileError) as caught:
        WALKER.train(**{"environment": Corridor(), "seeds": 1, "folder": folder, **WALK, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"steps": 404}, "its steps is 400, not 404"),
        ({"grain": 0.5}, "its config is"),
        ({"environment": CART}, "its environment is 'corridor', not 'CartPole-v1'"),
        ({"environment": Corridor(pay=2.0)}, "named 'corridor' as well, but is another one"),
        ({"environment": Corridor(length=9)}, "named 'corridor' as well, but is another one"),
        ({"driver": "gym"}, "its driver is 'compiled', not 'gym'"),
        ({"evaluations": 5}, "its evaluations is 4, not 5"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, options: dict[str, Any], part: str) -> None:
    """Prevents one training that silently goes on as another."""
    WALKER.train(Corridor(), seeds=1, folder=tmp_path, **WALK)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    said = sentence(tmp_path, **options)
    assert "is of another training" in said
    assert part in said
    assert "choose another folder, or remove the file" in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_of_another_seed_is_refused(tmp_path: Path) -> None:
    """Prevents two seeds with the same numbers after files were renamed."""
    WALKER.train(Corridor(), seeds=1, folder=tmp_path, **WALK)
    (tmp_path / "checkpoint-0.npz").rename(tmp_path / "checkpoint-7.npz")
    assert "its seed is 0, not 7" in sentence(tmp_path, seeds=[7])


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_checkpoint_is_a_sentence_before_anything_runs(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a traceback out of a zip reader, hours after the other seeds began."""
    monkeypatch.delattr("rlbook.deep.training.train_seed")
    (tmp_path / "checkpoint-0.npz").write_bytes(content)
    said = sentence(tmp_path)
    assert "checkpoint-0.npz" in said
    assert "remove it to begin again" in said


def test_a_policy_is_no_checkpoint(tmp_path: Path) -> None:
    """Prevents a file of the right kind with the wrong content."""
    WALKER.train(Corridor(), seeds=1, folder=tmp_path, **WALK)
    (tmp_path / "policy-0.npz").rename(tmp_path / "checkpoint-0.npz")
    assert "holds no rlbook checkpoint 1 (its format is 'rlbook policy 1')" in sentence(tmp_path)


def test_a_checkpoint_whose_arrays_do_not_fit_is_a_sentence(tmp_path: Path) -> None:
    """Prevents a KeyError where another version of the book wrote less, or other shapes."""
    WALKER.train(Corridor(), seeds=1, folder=tmp_path, **WALK)
    path = tmp_path / "checkpoint-0.npz"
    header, arrays = read(path, "rlbook checkpoint 1")
    assert len(arrays) > 10
    for name in arrays:
        if not name.startswith("record curve"):
            write(path, header, {other: array for other, array in arrays.items() if other != name})
            assert "another version of rlbook wrote it" in sentence(tmp_path)
    write(path, header, {name: array[None] for name, array in arrays.items()})
    assert "belongs; another version of rlbook wrote it" in sentence(tmp_path)


_CONTENT: dict[str, Any] = {"a": np.arange(40.0), "b": np.array(3), "c": np.zeros((2, 0), bool)}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_found_out(data: st.DataObject, tmp_path: Path) -> None:
    """Prevents arrays with bits that nobody wrote, and any error but the one sentence."""
    path = tmp_path / "file.npz"
    write(path, {"format": "f"}, _CONTENT)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        header, arrays = read(path, "f")
    except ArrayFileError:
        return
    # Some bits of an archive mean nothing.
    assert header == {"format": "f"}
    assert arrays.keys() == _CONTENT.keys()
    assert all(np.array_equal(arrays[name], _CONTENT[name]) for name in arrays)


def test_unfinished_files_of_a_dead_process_are_swept(tmp_path: Path) -> None:
    """Prevents a folder that grows with every kill."""
    WALKER.train(Corridor(), seeds=1, folder=tmp_path, **WALK)
    old = tmp_path / "somewhere-1-00.part"
    old.touch()
    os.utime(old, (0, 0))
    WALKER.train(Corridor(), seeds=1, folder=tmp_path, **WALK)
    assert not old.exists()


def test_a_full_disk_is_a_sentence_and_leaves_the_checkpoint_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    """Prevents a checkpoint that is lost to the attempt to write a newer one."""
    options = {**WALK, "steps": 40_000}
    with pytest.raises(Cancelled):
        WALKER.train(Corridor(), seeds=1, folder=tmp_path, context=cancelled_after(1), **options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlbook.atomic_files.os.fsync", full)
    assert "No space left on device; choose another folder" in sentence(tmp_path, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_world_that_cannot_be_brought_back_is_a_sentence(tmp_path: Path, impatient: None) -> None:
    """Prevents training that goes on from a place where it never was."""

    def make() -> Counting:
        return Counting(ends=1_000_000, seeded=False)

    options: dict[str, Any] = {"driver": "gym", "seeds": 1, "folder": tmp_path, "evaluations": 1}
    with pytest.raises(Cancelled):
        WALKER.train(make, steps=3_000, context=cancelled_after(1), **options)
    said = set()
    for _ in range(5):
        # One start in five is the same by chance.
        with pytest.raises((ArrayFileError, Cancelled)) as caught:
            WALKER.train(make, steps=3_000, context=cancelled_after(1), **options)
        said.add(str(caught.value))
    assert any("does not come back to where it was under the same seed and actions" in words for words in said)
