"""The labs of chapter 09."""

from __future__ import annotations

from typing import Any

from rlbook.chapters.ch09_deep_q.moving_heads import MovingHeads
from rlbook.chapters.ch09_deep_q.streaming_against_replay import StreamingAgainstReplay
from rlbook.chapters.ch09_deep_q.streaming_pieces import StreamingPieces
from rlbook.lab import Lab

# In the order of the notebook.
LABS: tuple[type[Lab[Any, Any]], ...] = (MovingHeads, StreamingAgainstReplay, StreamingPieces)
