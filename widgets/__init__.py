"""Explorers, figures and players for notebooks, made from labs and never holding an algorithm."""

from __future__ import annotations

from rlbook.widgets.explorer import Explorer, explore
from rlbook.widgets.plotly_view import PlotlyLibrary, PlotlyView

__all__ = ["Explorer", "PlotlyLibrary", "PlotlyView", "explore"]
