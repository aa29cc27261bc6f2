"""The labs of chapter 09."""

from __future__ import annotations

from typing import Any

from rlbook.chapters.ch09_deep_q.neural_fitted_q import NeuralFittedQ
from rlbook.chapters.ch09_deep_q.parallel_q import ParallelQ
from rlbook.lab import Lab

# In the order of the notebook.
LABS: tuple[type[Lab[Any, Any]], ...] = (ParallelQ, NeuralFittedQ)
