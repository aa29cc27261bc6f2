"""Training as the command line asks for it: a live table while it runs, and afterwards what came of each seed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbook.cli.lab_runs import named_values
from rlbook.cli.terminal import progress_bar, table
from rlbook.errors import MissingExtraError, ParameterError, UnknownNameError
from rlbook.lab import Context

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.deep.algorithm import Algorithm
    from rlbook.parameters import Control

_HEADER = ("seed", "steps", "training return", "evaluation return", "loss")
# Left out of JSON: a line for each of thousands of episodes, of which the curves are means.
_PER_EPISODE = "episode"


@dataclass(frozen=True)
class Order:
    """What the command line asks for; `settings` are texts "name=value"."""

    algorithm: Algorithm
    environment: str
    seeds: int
    steps: int
    settings: tuple[str, ...]
    driver: str
    evaluations: int
    folder: Path | None

    def command(self) -> str:
        """What to type to have the same again."""
        words = ["rlbook", "train", self.algorithm.name, "--env", self.environment]
        words += ["--seeds", str(self.seeds), "--steps", str(self.steps)]
        for text in self.settings:
            words += ["--set", text]
        if self.driver != "compiled":
            words += ["--driver", self.driver]
        words += ["--evaluations", str(self.evaluations)]
        if self.folder is not None:
            words += ["--folder", str(self.folder)]
        return shlex.join(words)


@dataclass(frozen=True)
class Outcome:
    """What came of an order. sentence: why it was interrupted; empty where it was not."""

    order: Order
    result: xr.Dataset
    sentence: str = ""

    @property
    def diverged(self) -> bool:
        """Whether the loss of a seed was no number."""
        return bool((self.result.diverged_at >= 0).any())

    def to_json(self) -> dict[str, Any]:
        """Plain values: what was asked for, and what there is for each seed and evaluation."""
        import json

        told = dict(self.result.attrs)
        curves = {
            str(name): values.values.tolist()
            for name, values in self.result.variables.items()
            if _PER_EPISODE not in values.dims
        }
        return {
            **told,
            "config": json.loads(told["config"]),
            "command": self.order.command(),
            "interrupted": bool(self.sentence),
            "diverged": self.diverged,
            **curves,
        }

    def text(self) -> str:
        """The same for people."""
        told = self.result.attrs
        head = (
            f"{told['algorithm']} on {told['environment']}: {_counted(self.result.sizes['seed'], 'seed')} of "
            f"{told['steps']:,} steps, {told['driver']} driver, {told['seconds']:.3g} s"
        )
        lines = [head, "", table(_HEADER, rows_of(self.result)), "", f"the same again: {self.order.command()}"]
        if self.order.folder is not None:
            lines.append(f"policies and checkpoints are in {self.order.folder}; the same command goes on from them")
        else:
            lines.append("nothing is kept; with --folder DIR, policies are, and a stopped training goes on")
        return "\n".join(lines)


def agent_names() -> tuple[str, ...]:
    """Names of agents; none where JAX is not installed."""
    try:
        from rlbook.deep.algorithms import names
    except MissingExtraError:
        return ()
    return names()


def named_agent(name: str) -> tuple[Algorithm, tuple[str, ...]]:
    """The algorithm that is meant, and the settings that the name stands for: none, or those of `double_dqn`.

    Raises UnknownNameError with the nearest names.
    """
    from rlbook.deep.algorithms import algorithm, names
    from rlbook.deep.pages.agents import AGENTS

    for each in AGENTS:
        if each.name == name:
            return each.algorithm, tuple(f"{setting}={value}" for setting, value in each.settings.items())
    if name not in names():
        raise UnknownNameError("agent", name, {*names(), *(each.name for each in AGENTS)})
    return algorithm(name), ()


def settings_text(settings: Sequence[Control]) -> str:
    """The settings of an agent, for people."""
    rows = [(each.name, str(each.default), each.range, each.description) for each in settings]
    return table(("setting", "default", "range", "what it is"), rows)


def train(order: Order, *, show: bool) -> Outcome:
    """Train; with `show`, a live table on a terminal. Raises RlbookError for bad input, before anything runs.

    Ctrl-C ends training in an outcome that says so.
    """
    from rlbook.deep.training import TrainingInterrupted, run

    settings = named_values(order.settings)
    with _live(show) as (on_progress, on_partial):
        try:
            trained = run(
                order.algorithm,
                order.environment,
                seeds=order.seeds,
                steps=order.steps,
                driver=order.driver,  # type: ignore[arg-type]
                evaluations=order.evaluations,
                folder=order.folder,
                context=Context(on_progress=on_progress, on_partial=on_partial),
                config=_parsed(order.algorithm, settings),
            )
        except TrainingInterrupted as stop:
            return Outcome(order, stop.result, _sentence(order, stop.result))
    return Outcome(order, trained.result)


def rows_of(result: xr.Dataset) -> list[tuple[int, int, str, str, str]]:
    """For each seed: the steps taken, the return of the last episodes, and the last evaluation and loss."""
    from rlbook.deep.results import RECENT

    rows = []
    for at, seed in enumerate(result.seed.values.tolist()):
        own = result.episode_return.values[result.episode_seed.values == seed]
        recent = float(own[-RECENT:].mean()) if len(own) else None
        rows.append(
            (
                seed,
                int(result.steps_taken.values[at]),
                _number(recent),
                _number(_last(result, "evaluation_return", at)),
                "not a number" if result.diverged_at.values[at] >= 0 else _number(_last(result, "loss", at)),
            )
        )
    return rows


def _parsed(algorithm: Algorithm, settings: dict[str, str]) -> Any:
    try:
        return algorithm.Config.parse(settings)
    except ParameterError as error:
        raise ParameterError(f"{error} (rlbook train {algorithm.name} --settings lists them)") from None


def _sentence(order: Order, result: xr.Dataset) -> str:
    least = int(result.steps_taken.min())
    way_out = (
        "name a folder with --folder to be able to go on after a stop"
        if order.folder is None
        else f"to go on: {order.command()}"
    )
    return f"interrupted after at least {least:,} steps of each seed; {way_out}"


def _last(result: xr.Dataset, name: str, at: int) -> float | None:
    """The last value of a seed's curve, if there is one."""
    if name not in result:
        return None
    known = result[name].values[at]
    known = known[known == known]
    return float(known[-1]) if len(known) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"


Listeners = tuple[Callable[[float, str], None] | None, "Callable[[xr.Dataset], None] | None"]


@contextmanager
def _live(show: bool) -> Iterator[Listeners]:
    """What is told while it runs: a table where standard output is a terminal, else a bar on standard error."""
    import sys

    if not (show and sys.stdout.isatty()):
        with progress_bar("training") as bar:
            yield bar, None
        return
    from rich.live import Live
    from rich.table import Table

    with Live(auto_refresh=False, transient=True) as live:

        def draw(result: xr.Dataset) -> None:
            shown = Table(*_HEADER, box=None, pad_edge=False)
            for row in rows_of(result):
                shown.add_row(*map(str, row))
            live.update(shown, refresh=True)

        yield None, draw
