"""The atlas: a paper's state follows from labs and stored verdicts, never from what somebody typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from rlbook.atlas import Outcome, Row, atlas, find_paper, papers, run_atlas, unknown_citations
from rlbook.errors import RlbookError, UnknownNameError
from rlbook.provenance import Provenance
from rlbook.registry import labs, registered
from rlbook.running import judge, stored_verdict
from rlbook.store import RunStore

from .fake_lab import Deadly, DrawsParameters, Raising, UniformMean

SLUG = "activevln"  # no lab of the book cites it
OUTSIDE = "remote_sensing_dehazing"


class Second(UniformMean):
    """Cites the same paper; its claim is wrong under its second canonical set."""

    name = "second"
    papers = (SLUG, OUTSIDE)
    canonical = (DrawsParameters(), DrawsParameters(centre=0.9))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


@pytest.fixture
def root_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts find its labs by their module's name."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))


def row(store: RunStore, slug: str = SLUG) -> Row:
    return next(each for each in atlas(store) if each.slug == slug)


def test_the_list_is_whole() -> None:
    assert len(papers()) == 393
    assert len({paper.slug for paper in papers()}) == 393
    assert {paper.tier for paper in papers()} == {1, 2, 3, 4}
    assert all(paper.title and paper.core for paper in papers())


def test_an_unknown_paper_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*parallel_q_learning"):
        find_paper("paralel_q_learning")
    assert find_paper("parallel_q_learning").title.startswith("Parallel Q-Learning")


def test_every_lab_of_the_book_cites_papers_that_exist() -> None:
    assert unknown_citations(labs().values()) == []


def test_a_citation_of_no_paper_is_found() -> None:
    """The test above must be able to fail."""

    class Mistaken(UniformMean):
        name = "mistaken"
        papers = (SLUG, "no_such_paper")

    assert unknown_citations([Mistaken()]) == [("mistaken", "no_such_paper")]


def test_a_state_follows_the_stored_verdicts(store: RunStore) -> None:
    assert row(store).state == "planned"
    assert row(store).labs == ()
    with registered(UniformMean):
        assert (row(store).state, row(store).labs) == ("runs", ("uniform-mean",))
        judge(UniformMean(), seeds=3, store=store)
        assert row(store).state == "runs"
        judge(UniformMean(), store=store)
        assert row(store).state == "holds"
    with registered(UniformMean, Second):
        assert (row(store).state, row(store).labs) == ("runs", ("second", "uniform-mean"))
        judge(Second(), Second.canonical[0], store=store)
        assert row(store).state == "runs"
        judge(Second(), Second.canonical[1], store=store)
        assert row(store).state == "fails"
    assert row(store).state == "planned"


def test_a_paper_that_was_not_read_is_not_said_to_hold(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a theorem from being shown as reproduced by labs that quote no equation of it."""
    with registered(UniformMean):
        judge(UniformMean(), store=store)
        assert row(store).state == "holds"
        monkeypatch.setattr(UniformMean, "mechanism_only", True)
        assert row(store).state == "mechanism"


def test_an_edited_source_takes_the_verdict_away(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state must not outlive the code that it was reached with."""
    with registered(UniformMean):
        judge(UniformMean(), store=store)
        assert row(store).state == "holds"
        monkeypatch.setattr("rlbook.running._provenance", lambda lab: Provenance("edited", "v", "d"))
        assert row(store).state == "runs"


def test_papers_outside_stay_outside(store: RunStore) -> None:
    with registered(Second):
        assert row(store, OUTSIDE).state == "outside"
    assert sum(each.state == "outside" for each in atlas(store)) == sum(paper.tier == 4 for paper in papers())


def test_a_row_is_plain_json(store: RunStore) -> None:
    with registered(UniformMean):
        assert row(store).to_json() == {
            "slug": SLUG, "title": find_paper(SLUG).title, "tier": 3, "state": "runs", "labs": ["uniform-mean"],
        }  # fmt: skip


def test_canonical_labs_are_judged_and_nothing_twice(store: RunStore) -> None:
    seen: list[tuple[int, int]] = []
    with registered(UniformMean, Second):
        first = run_atlas(
            store, chapter=90, workers=1, progress=lambda done, total, outcome: seen.append((done, total))
        )
        assert [(each.lab, each.reused) for each in first] == [("second", False)] * 2 + [("uniform-mean", False)]
        assert [each.verdict.status for each in first if each.verdict] == ["holds", "fails", "holds"]
        assert seen == [(1, 3), (2, 3), (3, 3)]
        UniformMean.asked.clear()
        again = run_atlas(store, chapter=90, workers=1)
        assert [each.reused for each in again] == [True] * 3
        assert UniformMean.asked == []
        assert row(store).state == "fails"


def test_a_lab_that_raises_stops_no_other(store: RunStore) -> None:
    with registered(Raising, UniformMean):
        outcomes = {each.lab: each for each in run_atlas(store, chapter=90, workers=1)}
    assert outcomes["raising"].error == "ZeroDivisionError: nobody divides by zero"
    assert outcomes["raising"].verdict is None
    assert outcomes["uniform-mean"].verdict is not None


@pytest.mark.usefixtures("root_importable")
def test_in_processes_even_a_lab_that_dies_stops_no_other(store: RunStore) -> None:
    """A dead worker breaks the whole pool, and with it the labs that waited in it."""
    ended: list[Outcome] = []
    with registered(Deadly, Raising, UniformMean, Second):
        outcomes = run_atlas(store, chapter=90, workers=2, progress=lambda done, total, outcome: ended.append(outcome))
        assert {each.lab: each.verdict is not None for each in outcomes} == {
            "deadly": False, "raising": False, "second": True, "uniform-mean": True,
        }  # fmt: skip
        assert len(outcomes) == len(ended) == 5
        errors = {each.lab: each.error for each in outcomes if each.error}
        assert errors == {
            "deadly": "the process that ran it died, perhaps for want of memory",
            "raising": "ZeroDivisionError: nobody divides by zero",
        }
        assert stored_verdict(UniformMean(), store=store) is not None


class OneByOne(ProcessPoolExecutor):
    """Takes a job only once the one before has ended, as a pool does that breaks while many labs are sent to it."""

    before: Future[Any] | None = None

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.before is not None:
            wait([self.before])
        self.before = super().submit(*args, **kwargs)
        return self.before


@pytest.mark.usefixtures("root_importable")
def test_a_pool_that_breaks_while_labs_are_sent_to_it_stops_no_other(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect: the whole atlas ends with BrokenProcessPool because its first lab died early."""
    monkeypatch.setattr("rlbook.processes.ProcessPoolExecutor", OneByOne)
    with registered(Deadly, UniformMean):
        outcomes = {each.lab: each for each in run_atlas(store, chapter=90, workers=2)}
    assert outcomes["deadly"].error == "the process that ran it died, perhaps for want of memory"
    assert outcomes["uniform-mean"].verdict is not None


@pytest.mark.usefixtures("root_importable")
def test_a_lab_that_cannot_be_sent_stops_no_other(store: RunStore) -> None:
    """Defect: a lab made inside a function ends the whole atlas with a traceback."""

    class Local(UniformMean):
        name = "local"

    with registered(Local, UniformMean):
        outcomes = {each.lab: each for each in run_atlas(store, chapter=90, workers=2)}
    assert "Local" in (outcomes["local"].error or "")
    assert outcomes["uniform-mean"].verdict is not None


@pytest.mark.usefixtures("root_importable")
def test_a_lab_that_a_process_cannot_import_stops_no_other(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Homeless(UniformMean):
        name = "homeless"

    Homeless.__module__, Homeless.__qualname__ = "no_such_module", "Homeless"
    module = types.ModuleType("no_such_module")
    module.__file__ = __file__
    module.Homeless = Homeless  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "no_such_module", module)
    with registered(Homeless, UniformMean):
        outcomes = {each.lab: each for each in run_atlas(store, chapter=90, workers=2)}
    assert outcomes["homeless"].error == "ModuleNotFoundError: No module named 'no_such_module'"
    assert outcomes["uniform-mean"].verdict is not None


def test_bad_arguments_are_sentences(store: RunStore) -> None:
    with pytest.raises(RlbookError, match=r"chapter 77 has no labs; chapters with labs: "):
        run_atlas(store, chapter=77)
    with pytest.raises(RlbookError, match="workers is 0"):
        run_atlas(store, workers=0)


def test_ctrl_c_ends_the_workers_quickly_and_quietly(tmp_path: Path) -> None:
    """Defect: tracebacks of every worker on the terminal, or a wait for labs that nobody wants any more."""
    code = (
        "import time\n"
        "from rlbook.registry import registered\n"
        "from tests.core.fake_lab import UniformMean\n"
        "from tests.core.sleepy_lab import Sleepy\n"
        "from rlbook.atlas import run_atlas\n"
        "from rlbook.store import RunStore\n"
        "if __name__ == '__main__':\n"
        "    with registered(Sleepy):\n"
        f"        store = RunStore({str(tmp_path / 'store')!r})\n"
        "        print('ready', flush=True)\n"
        "        try:\n"
        "            run_atlas(store, chapter=Sleepy.chapter, workers=2)\n"
        "        except KeyboardInterrupt:\n"
        "            print('interrupted', flush=True)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": root, "SLEEPY_MARK": str(tmp_path / "mark")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("mark*"))) < 2:
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert out.split() == ["ready", "interrupted"]
    assert "Traceback" not in err
