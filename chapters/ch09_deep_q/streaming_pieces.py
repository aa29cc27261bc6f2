"""Lab: a stream without one of the pieces that keep it stable, against the whole.

Written down before any result: learners, the claim, its threshold and the sets below. For the sparse start it is not
borne out on CartPole, where a dense one does no worse; it stays, among the refuted.
"""

from __future__ import annotations

from pydantic import Field

from rlbook.chapters.ch09_deep_q.streaming_lab import StreamingLab, StreamingParameters
from rlbook.chapters.ch09_deep_q.streaming_learners import Learner
from rlbook.verdict import Source

# A tenth of the area is the least that is worth a piece of its own.
_THRESHOLD = 0.9


class PieceParameters(StreamingParameters):
    learner: Learner = Field("stream without bound", description="what is left out; of the whole stream, nothing")


class StreamingPieces(StreamingLab):
    """Trains the stream as it is, and with one piece left out."""

    name = "streaming-pieces"
    title = "What keeps a stream in its bed"
    claim = (
        "The bounded step, the sparse start and the running normalisation each count: without one of them stream "
        "Q(lambda) has at least a tenth less area under its curve of returns."
    )
    source = Source(
        reference="Elsayed, Vasan & Mahmood (2024), Streaming Deep Reinforcement Learning Finally Works",
        where="abstract and algorithm: the pieces that overcome the stream barrier; world and threshold are ours",
    )
    rival = "stream"
    relation = "<="
    threshold = _THRESHOLD
    Parameters = PieceParameters
    canonical = (
        PieceParameters(),
        PieceParameters(learner="stream without normalisation"),
    )
    refuted = (PieceParameters(learner="stream without sparse start"),)
    # Beside itself a learner has an area of exactly 1: a check that passed here would pass anything.
    controls = (PieceParameters(learner="stream"),)

    def story(self, parameters: StreamingParameters) -> str:
        if parameters in self.refuted:
            return "with these few units a dense start is not shown to be worse; "
        return "of the sparse start it is not shown; " if parameters in self.canonical else ""
