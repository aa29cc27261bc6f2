"""Training on the page: begin, stop and go on, live curves, and the agent acting as it is by then."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

import ipywidgets

from rlbook.errors import Cancelled
from rlbook.lab import Context
from rlbook.widgets.computation import sentence
from rlbook.widgets.dress import Dress, close_below
from rlbook.widgets.film_player import Film, FilmPlayer
from rlbook.widgets.latest_wins import LatestWins
from rlbook.widgets.plotly_view import PlotlyView


class Trainee(Protocol):
    """What can be watched while it learns; its methods are called from one thread at a time, `curves` from any."""

    @property
    def title(self) -> str:
        """What is trained on what."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""

    def train(self, context: Context) -> None:
        """Begin, or go on from where the last call was stopped; tells the context whenever there is news."""

    def begin_anew(self) -> None:
        """Forget what was learned."""

    def curves(self) -> tuple[Mapping[str, Any], str]:
        """What was reached so far as a figure and in words; called at any time."""

    def episodes(self) -> Mapping[str, Film]:
        """What the agents do by now, by name, the best first; empty where that cannot be shown."""


def watch_training(trainee: Trainee) -> TrainingWatch:
    """Show buttons that train, stop and begin anew, curves that grow, and below them the agent acting, to be played."""
    return TrainingWatch(trainee)


class TrainingWatch(ipywidgets.VBox):
    """A training on the page. Make one with `watch_training`; its buttons are methods as well, which return at once."""

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        self.trainee = trainee
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._waiting = 0  # number of the job that is to run next, 0 for none
        self._running = 0
        self._stopping = False
        self._heard = False  # whether the running job has told anything: it may have to compile first
        self._problem = ""
        self._films: Mapping[str, Film] = {}
        self._training = LatestWins("rlbook train")
        self._drawing = LatestWins("rlbook draw curves")
        self._player: FilmPlayer | None = None
        self._make_parts()
        self._draw_curves()
        self._show_agents()
        self._lay_out()
        self._tell()

    @property
    def problem(self) -> str:
        """What went wrong, as one sentence; empty when all is well."""
        return self._problem

    @property
    def busy(self) -> bool:
        """Whether it trains, or is about to."""
        return bool(self._waiting or self._running)

    def train(self) -> None:
        """Begin, or go on from where it was stopped; nothing where it trains already."""
        with self._lock:
            if self._waiting or (self._running and not self._stopping):
                return
            self._submit(anew=False)

    def begin_anew(self) -> None:
        """Stop, forget what was learned, and train from the beginning."""
        with self._lock:
            self._submit(anew=True)

    def stop(self) -> None:
        """Stop within moments; what was reached stays, and `train` goes on from there."""
        with self._lock:
            self._waiting = 0
            self._stopping = bool(self._running)
            self._training.cancel()
        self._tell()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until training is at rest and drawn; returns False when `timeout` seconds were not enough each."""
        drawn = self._training.wait(timeout) and self._drawing.wait(timeout)
        return drawn and (self._player is None or self._player.wait(timeout))

    def close(self) -> None:
        """End the work, its threads and the widgets."""
        self._training.close()
        self._drawing.close()
        if self._player is not None:
            self._player.close()
        close_below(self)
        super().close()

    def __repr__(self) -> str:
        return f"{self.trainee.title}: {self._problem or self.trainee.curves()[1]}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        # ipywidgets cuts the text short, but it is all that a page without a kernel has.
        return bundle and {**bundle, "text/plain": repr(self)}

    def _submit(self, *, anew: bool) -> None:
        self._waiting = next(self._numbers)
        self._training.submit(_Job(self, self._waiting, anew, Context(self._progressed, self._published)))
        self._tell()

    def _work(self, job: _Job) -> None:
        """The whole of one training, in the worker's thread."""
        with self._lock:
            self._running, self._stopping = job.number, job.context.cancelled
            self._waiting = 0 if self._waiting == job.number else self._waiting
            self._problem, self._heard = "", False
        self._tell()
        problem = ""
        try:
            if job.anew:
                self.trainee.begin_anew()
                self._bar.value = 0.0
            self.trainee.train(job.context)
        except Cancelled:
            pass
        except Exception as error:
            problem = sentence(error, "Training")
        self._redraw()
        with self._lock:
            self._problem = problem
        try:
            self._show_agents()
        except Exception as error:
            with self._lock:
                self._problem = self._problem or sentence(error, "The episode")
        with self._lock:
            self._running, self._stopping = 0, False
        self._tell()

    def _progressed(self, fraction: float, message: str) -> None:
        self._bar.value = fraction
        if not self._heard:
            self._heard = True
            self._tell()

    def _published(self, partial: Any) -> None:
        self._redraw()

    def _redraw(self) -> None:
        self._drawing.submit(_Draw(self))

    def _draw_curves(self) -> None:
        figure, words = self.trainee.curves()
        self._curves.show(figure, alt_text=words)
        self._words.value = f'<div role="status">{escape(words)}</div>'

    def _show_agents(self) -> None:
        """Offer the agents that there are, and show the best."""
        self._films = self.trainee.episodes()
        if not self._films:
            return
        names = list(self._films)
        if self._player is None:
            self._player = FilmPlayer(self._films[names[0]])
        self._agent.options = names
        self._agent.value = names[0]
        self._choose(names[0])

    def _choose(self, name: str | None) -> None:
        film = self._films.get(name) if name is not None else None
        if film is not None and self._player is not None:
            self._player.show(film)

    def _make_parts(self) -> None:
        self._curves = PlotlyView()
        self._bar = ipywidgets.FloatProgress(min=0.0, max=1.0)
        self._state = ipywidgets.Label()
        self._words = ipywidgets.HTML()
        self._trouble = ipywidgets.HTML()
        self._begin = _button("Train", "Train from here on; a stop keeps what was reached", self.train)
        self._end = _button("Stop", "Stop; what was reached stays", self.stop)
        self._again = _button(
            "Begin anew", "Forget what was learned and begin again, under other seeds", self.begin_anew
        )
        self._agent = ipywidgets.Dropdown(description="Agent", tooltip="Whose episode is shown below")
        self._agent.observe(lambda change: self._choose(change["new"]), names="value")

    def _lay_out(self) -> None:
        title = ipywidgets.HTML(f'<div class="rlbook-title">{escape(self.trainee.title)}</div>')
        buttons = ipywidgets.HBox([self._begin, self._end, self._again])
        buttons.add_class("rlbook-buttons")
        fields = ipywidgets.Box([buttons, self._bar, self._state, self._words])
        fields.add_class("rlbook-fields")
        views = ipywidgets.Box([] if self._player is None else [self._agent, self._player.controls])
        views.add_class("rlbook-views")
        acting = [] if self._player is None else [self._player.figure]
        stage = ipywidgets.VBox([self._trouble, ipywidgets.VBox([self._curves]), *acting, views])
        stage.add_class("rlbook-stage")
        body = ipywidgets.Box([fields, stage])
        body.add_class("rlbook-body")
        self.children = [Dress(), title, body]
        self.add_class("rlbook-explorer")

    def _tell(self) -> None:
        """Let buttons and words follow what goes on."""
        with self._lock:
            finished = self.trainee.finished
            going = bool(self._waiting or (self._running and not self._stopping))
            self._begin.disabled = going or (finished and not self.busy)
            self._end.disabled = not going
            if finished and not self.busy:
                self._bar.value = 1.0
            trouble = f'<div class="rlbook-problem" role="alert">{escape(self._problem)}</div>' if self._problem else ""
            self._trouble.value = trouble
            if self._stopping and not self._waiting:
                self._state.value = "Stopping"  # what is being compiled comes to its end
            elif going:
                self._state.value = "Training" if self._heard else "Beginning; the first time, programs are compiled"
            else:
                self._state.value = "Done" if finished else "At rest"


@dataclass(frozen=True)
class _Job:
    watch: TrainingWatch
    number: int
    anew: bool
    context: Context

    def run(self) -> None:
        self.watch._work(self)

    def cancel(self) -> None:
        self.context.cancel()


@dataclass(frozen=True)
class _Draw:
    watch: TrainingWatch

    def run(self) -> None:
        self.watch._draw_curves()

    def cancel(self) -> None:
        """A drawing is quick and shows the newest state: let it finish."""


def _button(label: str, tooltip: str, pressed: Any) -> ipywidgets.Button:
    button = ipywidgets.Button(description=label, tooltip=tooltip)
    button.on_click(lambda _: pressed())
    return button
