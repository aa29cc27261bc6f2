"""Logarithmic axes of chapter 08: that what is drawn lies on them, with numbers to read it by."""

from __future__ import annotations

import math

import pytest

from rlbook.chapters.ch08_distributional.decade_axis import decade_axis
from rlbook.figures.lines import LEFT, RIGHT


def drawn(*heights: float, axes: tuple[str, str] = LEFT) -> dict[str, object]:
    return {"y": list(heights), "xaxis": axes[0], "yaxis": axes[1]}


@pytest.mark.parametrize("heights", [(0.13, 1.0), (0.7, 2.9), (1.0, 1.0), (0.4, 30.0), (1e-6, 1e3)])
def test_everything_drawn_lies_on_the_axis_between_marks_that_can_be_read(heights):
    """Prevents a scale whose marks read 9, 8, 7 below 1, and one without any mark."""
    axis = decade_axis("error", [drawn(*heights), drawn(0.0, math.nan, math.inf), drawn(1e9, axes=RIGHT)], LEFT)
    low, high = (10**end for end in axis["range"])
    assert low < min(heights) <= max(heights) < high < 1e9
    if max(heights) / min(heights) < 100:
        assert sum(low <= mark <= high for mark in axis["tickvals"]) >= 2
        assert axis["exponentformat"] == "none"
    else:
        assert axis["dtick"] >= 1


def test_an_axis_without_anything_to_draw_is_one_all_the_same():
    axis = decade_axis("error", [drawn(0.0, math.nan)], LEFT, domain=[0.0, 0.5])
    assert axis["range"][0] < axis["range"][1]
    assert axis["domain"] == [0.0, 0.5]
