"""A verdict's status follows from its interval and its threshold alone."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from pydantic import ValidationError

from rlbook.verdict import SIGNS, Source, Status, Verdict, combine


def verdict(**changes):
    values = {
        "claim": "It is small.",
        "source": Source(reference="A (2000)", where="eq. 1"),
        "statistic": "size",
        "estimate": 0.5,
        "interval": (0.4, 0.6),
        "interval_kind": "95%",
        "relation": "<=",
        "threshold": 1.0,
        "n": 20,
    }
    return Verdict(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "holds"),
        ({"threshold": 0.6}, "holds"),
        ({"threshold": 0.5}, "inconclusive"),
        ({"threshold": 0.39}, "fails"),
        ({"relation": ">=", "threshold": 0.4}, "holds"),
        ({"relation": ">=", "threshold": 0.5}, "inconclusive"),
        ({"relation": ">=", "threshold": 0.7}, "fails"),
        ({"relation": "within", "threshold": (0.3, 0.7)}, "holds"),
        ({"relation": "within", "threshold": (0.45, 0.7)}, "inconclusive"),
        ({"relation": "within", "threshold": (0.7, 0.8)}, "fails"),
        ({"interval": (-math.inf, math.inf)}, "inconclusive"),
    ],
)
def test_status(changes, status):
    made = verdict(**changes)
    assert made.status == status
    assert made.sentence().startswith(status)
    assert Verdict.model_validate_json(made.model_dump_json()) == made
    assert made.to_json()["status"] == status


@pytest.mark.parametrize(
    "changes",
    [
        {"interval": (0.6, 0.7)},
        {"interval": (0.6, 0.4)},
        {"estimate": math.nan},
        {"interval": (math.nan, 1.0)},
        {"threshold": math.nan},
        {"threshold": (0.0, 1.0)},
        {"relation": "within"},
        {"relation": "within", "threshold": (3.0, 0.0)},
        {"n": 0},
    ],
)
def test_a_verdict_that_means_nothing_is_refused(changes):
    with pytest.raises(ValidationError):
        verdict(**changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "<= 1"),
        ({"relation": ">=", "threshold": 1 / 3}, ">= 0.333333"),
        ({"relation": "within", "threshold": (-math.inf, 0.75)}, "within [-inf, 0.75]"),
    ],
)
def test_every_face_words_the_threshold_alike(changes, rule):
    """Prevents a page, a table and a terminal from stating three rules for one claim."""
    from rlbook.figures.html import _badge
    from rlbook.widgets.verdict_badge import verdict_html

    made = verdict(**changes)
    assert made.rule == rule
    shown = rule.replace("<", "&lt;").replace(">", "&gt;")
    assert f"claimed {rule};" in made.sentence()
    assert f"claimed {shown};" in _badge(made)
    typeset = rule.replace("<=", "≤").replace(">=", "≥").replace("inf", "∞")
    assert f"claimed {typeset};" in verdict_html(made, budget=20)


def test_signs_cover_every_status_and_are_the_same_everywhere():
    """Prevents a new status without a sign, and faces that disagree on one."""
    from rlbook.figures.html import _badge
    from rlbook.widgets.verdict_badge import verdict_html

    assert set(SIGNS) == set(get_args(Status))
    for threshold in (1.0, 0.5, 0.39):
        made = verdict(threshold=threshold)
        chip = f'<span aria-hidden="true">{SIGNS[made.status]}</span> {made.status}'
        assert chip in _badge(made)
        assert chip in verdict_html(made, budget=20)


def test_one_failure_fails_and_one_open_question_leaves_open():
    assert combine(["holds", "holds"]) == "holds"
    assert combine(["holds", "inconclusive"]) == "inconclusive"
    assert combine(["inconclusive", "fails"]) == "fails"
    with pytest.raises(ValueError, match="no verdicts"):
        combine([])
