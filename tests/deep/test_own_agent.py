"""The agent that CONTRIBUTING.md writes as an example works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rlbook.deep import make

GUIDE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def linear_q() -> Any:
    guide = GUIDE.read_text(encoding="utf-8").partition("## Add an agent")[2]
    code = re.search(r"```python\n(.*?)```", guide, flags=re.S)
    assert code is not None
    there: dict[str, Any] = {}
    exec(compile(code[1], str(GUIDE), "exec"), there)
    return there["LINEAR_Q"]


def test_it_learns_by_the_line_that_the_guide_gives(linear_q: Any) -> None:
    """One-hot features make it a table, which in a world without luck must come to the exact values."""
    (line,) = re.findall(r"^    (LINEAR_Q\.train.*)$", GUIDE.read_text(encoding="utf-8"), flags=re.M)
    result = eval(line, {"LINEAR_Q": linear_q})
    assert result.sizes["seed"] == 8
    assert result["regret"].isel(step=-1).max() < 1e-6
    assert result["q_error"].isel(step=-1).max() < 0.05


def test_both_drivers_give_the_same_numbers(linear_q: Any) -> None:
    same = {"seeds": 2, "steps": 400, "evaluations": 2}
    compiled = linear_q.train(make("cliff-walking"), **same)
    outside = linear_q.train(make("cliff-walking"), driver="gym", **same)
    assert compiled["episode_return"].equals(outside["episode_return"])
    assert compiled["q_error"].equals(outside["q_error"])
