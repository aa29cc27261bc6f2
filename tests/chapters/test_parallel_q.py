"""What the lab on parallel environments counts."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.chapters.ch09_deep_q.parallel_q import ParallelQParameters, first_rounds, teams_of

LOOKS = np.array([4, 8, 12])


@pytest.mark.parametrize(
    ("regret", "round_reached"),
    [([3.0, 1.0, 0.0], 6.0), ([1.0, 3.0, 0.0], 4.0), ([3.0, 2.0, 5.0], 8.0), ([5.0, 4.0, 3.0], 12.0)],
    ids=["between two looks", "at the first look", "at a look", "never"],
)
def test_the_first_round_is_where_the_regret_comes_down_to_the_goal(regret, round_reached):
    """Prevents counting to a later crossing, and numbers of rounds that were not run."""
    assert first_rounds(np.array([[regret]]), LOOKS, 2.0) == pytest.approx(np.array([[round_reached]]))


def test_shorter_rollouts_bring_as_many_rows():
    """Prevents a control that differs in rows, and a claim about teams that do not."""
    rows = {
        extra: [environments * rollout for environments, rollout in teams_of(ParallelQParameters(extra=extra))]
        for extra in ("more rows", "shorter rollouts")
    }
    assert rows["shorter rollouts"][0] == rows["shorter rollouts"][1]
    assert rows["more rows"][1] == 8 * rows["more rows"][0]
