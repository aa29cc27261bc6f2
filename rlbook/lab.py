"""The `Lab`: one claim, declared once, with five faces (widget, notebook cell, command, test, atlas row).

A lab says what it claims and where the claim comes from, which parameters it takes, how to compute one result for some
seeds, how to draw a result, and how to judge it. It knows nothing of sliders, argument parsers, files or threads: those
read the declaration. The threshold of the verdict, the canonical parameters and the control sets are part of the
declaration, so they exist before any result does.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from rlbook.errors import Cancelled, ParameterError
from rlbook.parameters import Control, controls
from rlbook.parameters import Parameters as ParameterModel
from rlbook.parameters import View as ViewModel
from rlbook.verdict import Source, Verdict

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

P = TypeVar("P", bound=ParameterModel)
V = TypeVar("V", bound=ViewModel)


class Context:
    """What a run may use while it works: a cancel flag, progress, partial results, and results for the first seeds.

    `cancel_flag` is a uint8 array of shape (1,): kernels poll it between sweeps and stop when it is not zero.
    """

    def __init__(
        self,
        on_progress: Callable[[float, str], None] | None = None,
        on_partial: Callable[[xr.Dataset], None] | None = None,
        on_seeds: Callable[[xr.Dataset], None] | None = None,
    ) -> None:
        """on_partial: gets what `publish` is given; on_seeds: gets whole results for ever more of the seeds."""
        self.cancel_flag = np.zeros(1, dtype=np.uint8)
        self._on_progress = on_progress
        self._on_partial = on_partial
        self.on_seeds = on_seeds

    def cancel(self) -> None:
        """Ask the run to stop; safe from any thread."""
        self.cancel_flag[0] = 1

    @property
    def cancelled(self) -> bool:
        return bool(self.cancel_flag[0])

    def check(self) -> None:
        """Raise Cancelled when somebody asked the run to stop; call it between pieces of work."""
        if self.cancelled:
            raise Cancelled

    def progress(self, fraction: float, message: str = "") -> None:
        """Report how much is done, in [0, 1]; raises Cancelled like `check`."""
        self.check()
        if self._on_progress is not None:
            self._on_progress(min(max(fraction, 0.0), 1.0), message)

    def part(
        self, first: float = 0.0, last: float = 1.0, publish: Callable[[xr.Dataset], None] | None = None
    ) -> Context:
        """A context for one piece of the work, which is cancelled with the whole.

        first, last: its progress from 0 to 1 is that of the whole between these. publish: gets its partial results,
        which may be laid out otherwise than those of the whole; by default they are not shown.
        """
        part = Context(lambda done, message: self.progress(first + (last - first) * done, message), on_partial=publish)
        part.cancel_flag = self.cancel_flag
        return part

    def publish(self, partial: xr.Dataset) -> None:
        """Show a partial result, of the same layout as the final one, in a live figure."""
        self.check()
        if self._on_partial is not None:
            self._on_partial(partial)


class Lab(ABC, Generic[P, V]):
    """Base of labs; a subclass fills in the class attributes and the four methods.

    `canonical` parameter sets are those whose verdicts count; under each of `controls` the claim must *not* hold, which
    a test runs: a check that cannot fail is worth nothing. `refuted` are sets for which something was claimed before
    the result was seen, and did not hold: they stay, are shown as failing, and a test keeps them so. `preview_seeds`
    are computed while a slider moves (choose them for about 30 ms at the default parameters), `verdict_seeds` when a
    verdict is asked for. Results have a "seed" dimension; what a seed gives does not depend on the seeds beside it,
    since each is stored by itself. A run must not depend on how long it takes. `papers` are slugs of the atlas;
    `mechanism_only` says that their text could not be read, so that no equation of theirs is quoted.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    claim: ClassVar[str]
    chapter: ClassVar[int]
    source: ClassVar[Source]
    papers: ClassVar[tuple[str, ...]] = ()
    mechanism_only: ClassVar[bool] = False
    Parameters: ClassVar[type[ParameterModel]]
    View: ClassVar[type[ViewModel]] = ViewModel
    canonical: ClassVar[tuple[ParameterModel, ...]]
    controls: ClassVar[tuple[ParameterModel, ...]]
    refuted: ClassVar[tuple[ParameterModel, ...]] = ()
    preview_seeds: ClassVar[int] = 1
    verdict_seeds: ClassVar[int] = 20

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if ABC in cls.__bases__:
            return
        for attribute in ("name", "title", "claim", "chapter", "source", "Parameters", "canonical", "controls"):
            if not hasattr(cls, attribute):
                raise TypeError(f"lab {cls.__name__} lacks the class attribute {attribute!r}")
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cls.name):
            raise TypeError(f"lab {cls.__name__} is named {cls.name!r}; use lower-case words joined by hyphens")
        if not cls.canonical or not cls.controls:
            raise TypeError(f"lab {cls.name} needs at least one canonical and one control parameter set")

    @abstractmethod
    def run(self, parameters: P, seeds: Sequence[int], context: Context) -> xr.Dataset:
        """Compute the result for `seeds`, with a "seed" dimension; raises Cancelled when the context says so."""

    @abstractmethod
    def figure(self, result: xr.Dataset, view: V) -> go.Figure:
        """Draw a result; everything else that the figure needs comes from `view`."""

    @abstractmethod
    def alt_text(self, result: xr.Dataset, view: V) -> str:
        """Say in one sentence what the figure shows, for readers who cannot see it."""

    @abstractmethod
    def verdict(self, result: xr.Dataset) -> Verdict:
        """Hold the claim against a result."""

    def view_values(self, result: xr.Dataset) -> Mapping[str, Sequence[Any]]:
        """Allowed values of each view field for this result, in order, where they depend on the result.

        Fields left out take the values of their own declaration (choices, both toggles, bounded integers).
        """
        return {}

    # What follows is the same for every lab and reads the declaration only.

    def make_view(self, result: xr.Dataset, values: Mapping[str, Any] | None = None) -> V:
        """A view of this result: unknown names raise, values that this result lacks are moved to the nearest."""
        view = self.View.parse(values or {})
        allowed = self.all_view_values(result)
        nearest = {name: _nearest(getattr(view, name), allowed[name]) for name in allowed}
        return view.model_copy(update=nearest)  # type: ignore[return-value]

    def all_view_values(self, result: xr.Dataset) -> dict[str, Sequence[Any]]:
        """Allowed values of every view field for this result."""
        given = self.view_values(result)
        return {
            control.name: given[control.name] if control.name in given else _declared(control)
            for control in controls(self.View)
        }

    def parse(self, values: Mapping[str, Any] | None = None) -> P:
        """Parameters from names and values, starting from the first canonical set; raises ParameterError."""
        base = self.canonical[0].model_dump()
        try:
            return self.Parameters.parse({**base, **(values or {})})  # type: ignore[return-value]
        except ParameterError as error:
            raise ParameterError(f"{self.name}: {error}") from None

    def parameters_of(self, result: xr.Dataset) -> P:
        """The parameters that a result was computed with (kept in its attributes)."""
        return self.Parameters.parse(json.loads(result.attrs["parameters"]))  # type: ignore[return-value]

    def stamp(self, result: xr.Dataset, parameters: P) -> xr.Dataset:
        """Write on a result which lab and parameters made it."""
        return result.assign_attrs(lab=self.name, parameters=parameters.canonical_json())

    def remark(self, parameters: ParameterModel) -> str:
        """What is declared about a parameter set beyond its verdict, in a sentence; empty for most."""
        if parameters in self.controls:
            return "A control: with these parameters the claim must not hold."
        if parameters in self.refuted:
            return "Refuted: this was claimed before the result was seen, and is not borne out."
        return ""

    def describe(self) -> dict[str, Any]:
        """The declaration as plain values, as `rlbook list --json` shows it."""
        return {
            "name": self.name,
            "title": self.title,
            "claim": self.claim,
            "chapter": self.chapter,
            "source": str(self.source),
            "papers": list(self.papers),
            "parameters": [control.to_json() for control in controls(self.Parameters)],
            "views": [control.to_json() for control in controls(self.View)],
            "canonical": [chosen.model_dump(mode="json") for chosen in self.canonical],
            "controls": [chosen.model_dump(mode="json") for chosen in self.controls],
            "refuted": [chosen.model_dump(mode="json") for chosen in self.refuted],
            "seeds": {"preview": self.preview_seeds, "verdict": self.verdict_seeds},
        }


def _declared(control: Control) -> Sequence[Any]:
    if control.kind == "choice":
        return control.choices
    if control.kind == "toggle":
        return (False, True)
    if control.kind == "integer" and control.low is not None and control.high is not None:
        return range(int(control.low), int(control.high) + 1)
    raise TypeError(f"view parameter {control.name!r} is unbounded; give its values in view_values(result)")


def _nearest(value: Any, allowed: Sequence[Any]) -> Any:
    if len(allowed) == 0:
        raise ValueError("a view parameter of this result has no allowed value; view_values must offer at least one")
    if value in allowed:
        return value
    if all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (value, *allowed)):
        return min(allowed, key=lambda candidate: abs(candidate - value))
    return allowed[0]
