"""`rlbook atlas` and `rlbook warm`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from rlbook.atlas import State
from rlbook.registry import registered

from ..core.fake_lab import Raising, UniformMean
from .conftest import Command

SLUG = "activevln"  # no lab of the book cites it


@pytest.fixture
def fake_lab() -> Iterator[None]:
    with registered(UniformMean):
        yield


def state(rlbook: Command, *more: str) -> str:
    rows = {row["slug"]: row for row in rlbook("atlas", "--json", *more).json}
    return str(rows[SLUG]["state"])


def test_rows_have_the_documented_keys_and_states(rlbook: Command) -> None:
    """Prevents: programs that read the atlas breaking on a renamed key or an unknown state."""
    rows = rlbook("atlas", "--json").json
    assert len(rows) == 393
    assert all(list(row) == ["slug", "title", "tier", "state", "labs"] for row in rows)
    assert {row["state"] for row in rows} <= set(get_args(State))


@pytest.mark.usefixtures("fake_lab")
def test_running_turns_runs_into_a_verdict_once(rlbook: Command) -> None:
    """Prevents: verdicts that are not stored, or reached again at every call."""
    assert state(rlbook) == "runs"
    ended = rlbook("atlas", "--run", "--chapter", "90", "--jobs", "1", "--json")
    assert ended.code == 0
    assert "uniform-mean (draws=50, centre=0.5): holds" in ended.err
    assert {row["slug"]: row["state"] for row in ended.json}[SLUG] == "holds"
    assert state(rlbook) == "holds"
    UniformMean.asked.clear()
    assert rlbook("atlas", "--run", "--chapter", "90", "--jobs", "1").err == ""
    assert UniformMean.asked == []


@pytest.mark.usefixtures("fake_lab")
def test_people_see_counts_and_the_papers_with_labs(rlbook: Command) -> None:
    """Prevents: 393 lines where three are of interest."""
    shown = rlbook("atlas").out
    assert shown.startswith("393 papers: ")
    assert SLUG in shown
    assert len(shown.splitlines()) < 50
    assert len(rlbook("atlas", "--all").out.splitlines()) > 393


def test_a_lab_that_breaks_is_named_and_stops_no_other(rlbook: Command) -> None:
    """Prevents: one broken lab that hides all verdicts, or that passes unseen."""
    with registered(UniformMean, Raising):
        ended = rlbook("atlas", "--run", "--chapter", "90", "--jobs", "1")
    assert ended.code == 1
    assert "raising (draws=50, centre=0.5): could not be finished: ZeroDivisionError" in ended.err
    assert "uniform-mean (draws=50, centre=0.5): holds" in ended.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--chapter", "0"], "add --run"),
        (["--run", "--chapter", "89"], "chapter 89 has no labs"),
        (["--run", "--jobs", "0"], "workers is 0"),
    ],
)
def test_bad_input_gives_a_sentence(rlbook: Command, arguments: list[str], part: str) -> None:
    """Prevents: options that are silently ignored."""
    assert part in rlbook("atlas", *arguments).sentence


def test_warm_readies_every_kernel(process: Command) -> None:
    """Prevents: a warm-up that forgets a module, so that the first slider is slow all the same."""
    from rlbook.kernel import all_kernels
    from rlbook.tabular import value_iteration

    assert value_iteration is not None
    ended = process("warm")
    assert (ended.code, ended.err) == (0, "")
    ready = int(ended.out.split()[0])
    assert ready >= len([kernel for kernel in all_kernels() if kernel.name.startswith("rlbook.tabular.")]) > 0


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_warm_needs_somebody_who_compiles(rlbook: Command, jobs: str) -> None:
    assert f"jobs is {jobs}" in rlbook("warm", "--jobs", jobs).sentence


def test_warm_says_when_nothing_can_be_kept(process: Command) -> None:
    """Prevents: a warm-up of a minute, of which nothing is left, where no folder can be written."""
    ended = process("warm", RLBOOK_CACHE="/dev/null/cache")
    assert ended.code == 2
    assert "set RLBOOK_CACHE" in ended.err
    assert ended.out == ""
