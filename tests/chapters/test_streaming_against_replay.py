"""Streaming against replay: what is kept is counted, what breaks down counts for nothing, and grades are exact."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.lab import Context
from rlbook.tabular import evaluate_policy

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from rlbook.chapters.ch09_deep_q.head_worlds import head_mdp
from rlbook.chapters.ch09_deep_q.streaming_against_replay import StreamingAgainstReplay
from rlbook.chapters.ch09_deep_q.streaming_lab import StreamingParameters, areas
from rlbook.chapters.ch09_deep_q.streaming_learners import REPLAY, agent_of, best_on_grid, kept_bytes, scores

LAB = StreamingAgainstReplay()


def test_memory_is_that_of_the_arrays():
    """Prevents a count that leaves out the buffer, traces or the target network."""
    weights = 4 * 32 + 32 + 32 * 32 + 32 + 32 * 2 + 2
    # Trace as large as the weights; running mean and squares of four numbers and of one, two counts, one sum.
    assert kept_bytes("stream", "CartPole-v1") == 4 * (2 * weights + 2 * 4 + 2 + 2 + 1)
    rows = 10_000 * (4 * (4 + 4 + 1 + 1) + 2)  # two observations, action, reward; two flags of a byte
    network = 4 * (4 * 120 + 120 + 120 * 84 + 84 + 84 * 2 + 2)
    # The network, its target, two moments of Adam; what is left are counters.
    assert 0 <= kept_bytes(REPLAY, "CartPole-v1") - rows - 4 * network < 100
    assert kept_bytes("single-step DQN", "CartPole-v1") < kept_bytes(REPLAY, "CartPole-v1") - rows + 100


def test_what_has_broken_down_counts_for_nothing():
    """Prevents a learner that profits from the evaluations it did not live to see."""
    told = scores(np.array([[500.0, np.nan], [250.0, 0.0]]), "CartPole-v1")
    assert told.tolist() == [[1.0, 0.0], [0.5, 0.0]]
    assert scores(np.array([-500.0, -100.0]), "Acrobot-v1").tolist() == [0.0, 0.8]


def test_a_stream_without_bound_breaks_down_and_says_so():
    """The control fails since values run away, not since something else broke."""
    parameters = StreamingParameters(learner="stream without bound", steps=2_000)
    result = LAB.run(parameters, [1], Context())
    assert areas(result, "CartPole-v1")[0] < 0.01
    assert "1 of 1 seeds broke down" in LAB.verdict(result).note


def test_on_the_grid_returns_are_exact_values_of_greedy_policies():
    """Prevents a score from another discount or start than the learners'."""
    mdp = head_mdp().replace(discount=agent_of("stream")[1].discount)
    assert agent_of(REPLAY)[1].discount == mdp.discount
    result = LAB.run(StreamingParameters(world="icy grid", steps=2_000), [3], Context())
    values = result["return"].values
    anywhere = [evaluate_policy(mdp, np.full(mdp.n_states, action)).value_at_start for action in range(4)]
    assert values.max() <= best_on_grid() + 1e-9
    assert max(anywhere) < best_on_grid()
    assert result["step"].values[:, -1].tolist() == [2_000, 2_000]
    assert np.ptp(values) > 0
