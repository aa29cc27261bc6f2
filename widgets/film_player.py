"""Frames that are played one after the other: what an agent did, with a text for those who do not see it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import ipywidgets

from rlbook.widgets.latest_wins import LatestWins
from rlbook.widgets.player import Limits, Player
from rlbook.widgets.plotly_view import PlotlyView


class Film(Protocol):
    """Frames, counted from 0."""

    def __len__(self) -> int:
        """How many there are, at least 1."""

    def frame(self, n: int) -> tuple[Mapping[str, Any], str]:
        """The n-th as a figure, {"data": ..., "layout": ...}, and in words."""


class FilmPlayer:
    """A film in a figure, and the player that moves it: `figure` and `controls` are what stands on the page.

    A frame is drawn when the page asks for it; while one is drawn, only the newest that was asked for waits.
    """

    def __init__(self, film: Film, name: str = "Step") -> None:
        """name: of the slider."""
        self._film = film
        self._changing = threading.RLock()
        self._drawing = LatestWins("rlbook draw film")
        self._player = Player(_limits(film), 0, description=name, tooltip="Which frame is shown")
        self._view = PlotlyView()
        # An anywidget takes no CSS classes from Python, hence the frame.
        self.figure = ipywidgets.VBox([self._view])
        self.controls = self._player.box
        self._player.slider.observe(lambda _: self._drawing.submit(_Frame(self)), names="value")
        self.draw()

    def show(self, film: Film) -> None:
        """Put another film in, at its beginning; a play that is on goes on there."""
        with self._changing:
            self._film = film
            self._player.follow(_limits(film), 0)
        self._drawing.submit(_Frame(self))

    def draw(self) -> None:
        """Show the frame at which the slider stands."""
        with self._changing:
            film, n = self._film, min(self._player.slider.value, len(self._film) - 1)
        figure, words = film.frame(n)
        self._view.show(figure, alt_text=words)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the newest frame is drawn; returns False when `timeout` seconds were not enough."""
        return self._drawing.wait(timeout)

    def close(self) -> None:
        """Let the thread end."""
        self._drawing.close()


@dataclass(frozen=True)
class _Frame:
    player: FilmPlayer

    def run(self) -> None:
        self.player.draw()

    def cancel(self) -> None:
        """A frame is quick: let it finish."""


def _limits(film: Film) -> Limits:
    return {"min": 0, "max": len(film) - 1, "step": 1}
