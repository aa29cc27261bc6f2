"""`explore(lab)`: a lab to play with, made from its declaration alone."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from rlbook.lab import Lab
from rlbook.parameters import Parameters, View, controls
from rlbook.verdict import Verdict
from rlbook.widgets.controls import make_field
from rlbook.widgets.dress import Dress, close_below
from rlbook.widgets.exploration import Exploration
from rlbook.widgets.screen import LabScreen

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.store import RunStore


def explore(lab: Lab[Any, Any] | type[Lab[Any, Any]] | str, /, **parameters: Any) -> Explorer:
    """Open a lab as sliders, a live figure and its verdict.

    lab: a lab, its class, or its name in the registry. parameters: where to start, by name, other than at the lab's
    first canonical set; names of view parameters are understood as well. The first result is there when this returns.
    Raises UnknownNameError for a lab, ParameterError for a parameter that does not exist or is out of range.
    """
    if isinstance(lab, str):
        from rlbook.registry import find_lab

        lab = find_lab(lab)
    elif isinstance(lab, type):
        lab = lab()
    only_view = set(lab.View.model_fields) - set(lab.Parameters.model_fields)
    looks = {name: parameters.pop(name) for name in list(parameters) if name in only_view}
    lab.View.parse(looks)
    return Explorer(lab, lab.parse(parameters), looks)


class Explorer(ipywidgets.VBox):
    """A lab on the page. Make one with `explore`.

    Moving a control returns at once; the newest parameters are computed in the background and drawn when they are
    ready. `parameters`, `view`, `result` and `verdict` are for readers who want the numbers; `wait` makes sure first
    that they belong together.
    """

    _exploration: Exploration

    def __init__(
        self,
        lab: Lab[Any, Any],
        parameters: Parameters,
        looks: Mapping[str, Any] | None = None,
        *,
        store: RunStore | None = None,
    ) -> None:
        """parameters and looks (valid view values, by name): where to start; store: None for the reader's."""
        super().__init__()
        self.lab = lab
        self._screen = LabScreen(lab, lambda name, value: self._exploration.look({name: value}))
        self._exploration = Exploration(lab, parameters, self._screen, store=store, looks=looks)
        self._fields = {
            control.name: make_field(control, getattr(parameters, control.name)) for control in controls(lab.Parameters)
        }
        for field in self._fields.values():
            field.on_change(self._moved)
        self._lay_out()
        self._exploration.start()

    @property
    def parameters(self) -> Parameters:
        """The newest valid parameters; their result may still be on its way."""
        return self._exploration.parameters

    @property
    def view(self) -> View:
        """The view that is shown."""
        return self._exploration.view()

    @property
    def result(self) -> xr.Dataset | None:
        """The result that is shown, None when none could be computed; its parameters are in `lab.parameters_of`."""
        shown = self._exploration.shown
        return None if shown is None else shown.result

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of `result`, None while it is not judged."""
        shown = self._exploration.shown
        return None if shown is None else shown.verdict

    @property
    def problem(self) -> str:
        """What the panel complains about, as one sentence; empty when all is well."""
        return self._exploration.problem

    @property
    def code(self) -> str:
        """Python, and a command line, that compute and draw what is shown."""
        return self._screen.code.code

    def set(self, **values: Any) -> None:
        """Move to other parameters, as the controls do; raises ParameterError and moves nothing where one is wrong."""
        parameters = self.lab.parse({**self.parameters.model_dump(), **values})
        self._write(parameters)
        self._exploration.change(parameters.model_dump())

    def look(self, **values: Any) -> None:
        """Change view parameters, as the view controls do; raises ParameterError for unknown names."""
        view = self.lab.View.parse({**self.view.model_dump(), **values})
        # Written first: were the drawing already over, nothing would mend what a newer result does not offer.
        self._screen.write_views(view if self.result is None else self.lab.make_view(self.result, view.model_dump()))
        self._exploration.look(values)

    def reset(self) -> None:
        """Go back to the lab's first canonical parameters and first view."""
        if self.result is not None:
            self._screen.write_views(self.lab.make_view(self.result))
        self._exploration.forget_view()
        self.set(**self.lab.canonical[0].model_dump())

    def judge(self) -> None:
        """Start the verdict over the lab's full budget of seeds; what was computed before comes from the run store."""
        self._exploration.judge()

    def cancel(self) -> None:
        """Stop the computation; what is shown stays."""
        self._exploration.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until everything is computed and drawn; returns False when `timeout` seconds were not enough."""
        return self._exploration.wait(timeout)

    def close(self) -> None:
        """End the work, its threads and the widgets."""
        self._exploration.close()
        close_below(self)
        super().close()

    def __repr__(self) -> str:
        state = self.problem or ("not judged yet" if self.verdict is None else self.verdict.sentence())
        return f"{self.lab.title}. {self.lab.claim} {state}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        # ipywidgets cuts the text short, but it is all that a page without a kernel has.
        return bundle and {**bundle, "text/plain": repr(self)}

    def _moved(self, name: str, value: Any) -> None:
        if not self._screen.quiet:
            self._exploration.change({name: value})

    def _write(self, parameters: Parameters) -> None:
        with self._screen.quietly():
            for name, field in self._fields.items():
                field.write(getattr(parameters, name))

    def _lay_out(self) -> None:
        screen = self._screen
        title = ipywidgets.HTML(f'<div class="rlbook-title">{escape(self.lab.title)}</div>')
        fields = ipywidgets.Box([field.widget for field in self._fields.values()])
        fields.add_class("rlbook-fields")
        stage = ipywidgets.VBox([screen.problem, screen.frame, screen.views])
        stage.add_class("rlbook-stage")
        body = ipywidgets.Box([fields, stage])
        body.add_class("rlbook-body")
        seeds = self.lab.verdict_seeds
        judge = ipywidgets.Button(
            description=f"Verdict over {seeds} seed{'s' if seeds > 1 else ''}",
            tooltip="Compute the verdict with its full budget and keep it in the run store",
        )
        reset = ipywidgets.Button(description="Reset", tooltip="Back to the parameters that the claim is about")
        judge.on_click(lambda _: self.judge())
        reset.on_click(lambda _: self.reset())
        screen.stop.on_click(lambda _: self.cancel())
        actions = ipywidgets.Box([judge, reset, screen.code, screen.working])
        actions.add_class("rlbook-actions")
        self.children = [Dress(), title, body, screen.badge, actions]
        self.add_class("rlbook-explorer")
