"""The pieces of a stream: one is left out at a time, and nothing else."""

from __future__ import annotations

import pytest

from rlbook.lab import Context

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from rlbook.chapters.ch09_deep_q.streaming_lab import areas
from rlbook.chapters.ch09_deep_q.streaming_learners import agent_of
from rlbook.chapters.ch09_deep_q.streaming_pieces import PieceParameters, StreamingPieces


@pytest.mark.parametrize(
    ("learner", "piece"),
    [
        ("stream without bound", "bounded"),
        ("stream without sparse start", "sparse"),
        ("stream without normalisation", "normalised"),
    ],
)
def test_a_learner_lacks_the_piece_it_is_named_for(learner, piece):
    """Prevents a difference that is put down to the wrong piece."""
    (whole, config), (same, lacking) = agent_of("stream"), agent_of(learner)
    assert same is whole
    told = lacking.model_dump()
    assert {name for name, value in config if told[name] != value} == {piece}
    assert told[piece] is False


def test_beside_itself_a_stream_has_the_same_area():
    """Prevents two learners that meet different luck under one seed."""
    result = StreamingPieces().run(PieceParameters(learner="stream", steps=2_000), [4], Context())
    own, other = areas(result, "CartPole-v1")
    assert own == other > 0
