"""The table of a chapter's claims, where not all of them are judged yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlbook import reports
from rlbook.registry import find_lab
from rlbook.running import judge


def test_rows_that_are_not_judged_are_open_and_nothing_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a chapter that runs for minutes, an open row that looks like a verdict, or a stored one that is lost."""
    monkeypatch.setenv("RLBOOK_HOME", str(tmp_path))
    lab = find_lab("averages-converge")
    monkeypatch.setattr("rlbook.running.judge", lambda *_: pytest.fail("this must not compute"))
    before = reports.is_it_true(lab.name, compute=False)
    assert {row[3] for row in before.rows} == {"not judged yet"}
    assert f"{len(before.rows)} of {len(before.rows)} rows are open" in before.caption
    monkeypatch.undo()
    monkeypatch.setenv("RLBOOK_HOME", str(tmp_path))
    verdict = judge(lab, lab.canonical[0])
    after = reports.is_it_true(lab.name, compute=False)
    assert [row[3] == "not judged yet" for row in after.rows] == [False] + [True] * (len(after.rows) - 1)
    assert after.rows[0][3].endswith(f" {verdict.status}")
    assert after.rows[0][6:] == (str(lab.verdict_seeds), "yes")
