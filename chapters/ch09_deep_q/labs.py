"""The labs of chapter 09."""

from __future__ import annotations

from typing import Any

from rlbook.chapters.ch09_deep_q.moving_heads import MovingHeads
from rlbook.lab import Lab

# In the order of the notebook.
LABS: tuple[type[Lab[Any, Any]], ...] = (MovingHeads,)
