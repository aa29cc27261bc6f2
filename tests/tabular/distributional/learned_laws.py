"""What tests of learners of return laws share: a small world, and the mean of all updates that it can bring."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.learning.experience import Batch, Transitions
from rlbook.tabular.learning.learner import varied
from rlbook.tabular.learning.replication import replicate
from rlbook.tabular.sampling_tables import ENDED

ALPHA = 0.5
POLICY = np.array([0.3, 0.7, 1.0, 1.0])


def small_world(discount: float = 0.8) -> FiniteMDP:
    """Three states, the first with two actions; rewards differ within pairs, and one transition ends the episode."""
    return from_transitions(
        [
            {0: [(0.37, 1, 1.0, False), (0.63, 2, -1.0, False)], 1: [(1.0, 2, 0.5, False)]},
            {0: [(0.29, 0, 2.0, False), (0.71, 2, 0.1, False)]},
            {0: [(0.61, 0, -1.3, False), (0.39, 0, 3.0, True)]},
        ],
        discount,
    )


def without_choice() -> FiniteMDP:
    """The small world with its first action alone."""
    return from_transitions(
        [
            {0: [(0.37, 1, 1.0, False), (0.63, 2, -1.0, False)]},
            {0: [(0.29, 0, 2.0, False), (0.71, 2, 0.1, False)]},
            {0: [(0.61, 0, -1.3, False), (0.39, 0, 3.0, True)]},
        ],
        0.8,
    )


def after_one(mdp: FiniteMDP, learner: Any, pair: int, paid: float, following: int) -> np.ndarray:
    """Parameters of all states after one transition."""
    batch = Batch(Transitions(np.array([pair]), np.array([paid]), np.array([following])), in_order=True)
    found = replicate(
        mdp, varied(learner, {"experience": batch, "step_size": ALPHA}), [0], steps=1, truth=None, keep="laws"
    )
    return np.asarray(found["parameters"].values[0, -1])


def expected_update(mdp: FiniteMDP, learner: Any, first: np.ndarray) -> np.ndarray:
    """The mean over actions and transitions of (parameters after - first) / alpha, state by state: (S, m)."""
    moved = np.zeros_like(first)
    assert mdp.reward is not None
    for pair in range(mdp.n_pairs):
        s = mdp.pair_state[pair]
        for k in range(mdp.row_ptr[pair], mdp.row_ptr[pair + 1]):
            following = ENDED if mdp.terminated[k] else int(mdp.next_state[k])
            after = after_one(mdp, learner, pair, float(mdp.reward[k]), following)
            assert np.array_equal(np.delete(after, s, axis=0), np.delete(first, s, axis=0))
            moved[s] += POLICY[pair] * mdp.probability[k] * (after[s] - first[s]) / ALPHA
    return moved
