"""Explorers, figures, players, live training and a grid to draw on for notebooks; none of them holds an algorithm."""

from __future__ import annotations

from rlbook.widgets.explorer import Explorer, explore
from rlbook.widgets.grid_drawing import GridDrawing
from rlbook.widgets.grid_editor import GridEditor
from rlbook.widgets.plotly_view import PlotlyLibrary, PlotlyView
from rlbook.widgets.training_watch import TrainingWatch, watch_training

__all__ = [
    "Explorer",
    "GridDrawing",
    "GridEditor",
    "PlotlyLibrary",
    "PlotlyView",
    "TrainingWatch",
    "explore",
    "watch_training",
]
