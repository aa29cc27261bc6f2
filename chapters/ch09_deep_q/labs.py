"""The labs of chapter 09."""

from __future__ import annotations

from typing import Any

from rlbook.chapters.ch09_deep_q.clipped_errors import ClippedErrors
from rlbook.chapters.ch09_deep_q.double_dqn import DoubleDQN
from rlbook.chapters.ch09_deep_q.dqn_switches import DQNSwitches
from rlbook.chapters.ch09_deep_q.moving_heads import MovingHeads
from rlbook.chapters.ch09_deep_q.neural_fitted_q import NeuralFittedQ
from rlbook.chapters.ch09_deep_q.parallel_q import ParallelQ
from rlbook.chapters.ch09_deep_q.streaming_against_replay import StreamingAgainstReplay
from rlbook.chapters.ch09_deep_q.streaming_pieces import StreamingPieces
from rlbook.lab import Lab

# In the order of the notebook.
LABS: tuple[type[Lab[Any, Any]], ...] = (
    DQNSwitches,
    DoubleDQN,
    ClippedErrors,
    MovingHeads,
    StreamingAgainstReplay,
    StreamingPieces,
    ParallelQ,
    NeuralFittedQ,
)
