"""One plotly.js for the whole page, and figures that redraw in place.

plotly's own ``FigureWidget`` sends about 5 MB of JavaScript for every figure. Here a kernel sends plotly.js once,
compressed, in a `PlotlyLibrary`; each `PlotlyView` sends only its figure, and the page loads the library once for all
views of all notebooks.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from ipywidgets import Widget, widget_serialization

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_DEFAULT_HEIGHT = 420
_library_lock = threading.Lock()
_library: PlotlyLibrary | None = None


class PlotlyLibrary(Widget):
    """plotly.js on its way to the page: a model without a view. Get the kernel's one instance from `shared`.

    source: plotly.min.js, gzip-compressed, about 1.5 MB; version: of plotly.js, the key under which a page keeps it.
    """

    source = traitlets.Bytes().tag(sync=True)
    version = traitlets.Unicode().tag(sync=True)

    @classmethod
    def shared(cls) -> PlotlyLibrary:
        """Return this kernel's library; the first call, from any thread, makes it and sends it (about 0.1 s)."""
        global _library
        with _library_lock:
            # Widget.close_all() leaves a library that no page can reach any more.
            if _library is None or _library.comm is None:
                from plotly.offline import get_plotlyjs, get_plotlyjs_version

                # Level 9 saves 1% more bytes and takes twice the time of level 5, before the first figure.
                source = gzip.compress(get_plotlyjs().encode(), compresslevel=5, mtime=0)
                _library = cls(source=source, version=get_plotlyjs_version())
            return _library


class PlotlyView(anywidget.AnyWidget):
    """A plotly figure in a cell's output, in the page's colours and width, redrawn in place at each `show`.

    In the browser its root element has the class ``rlbook-figure``; once a revision is really on the screen, its
    number stands in the element's ``data-revision``. The traits that hold the figure are written by `show` alone.

    figure: the figure as JSON, without its template; template: the template as JSON, apart because it seldom changes
    and is often larger than the figure; revision: how many figures were shown so far; alt_text: one sentence for those
    who do not see the figure; height: in pixels; library: where the page gets plotly.js from.
    """

    _esm = Path(__file__).with_name("plotly_view.js")

    library = traitlets.Instance(PlotlyLibrary).tag(sync=True, **widget_serialization)
    figure = traitlets.Unicode().tag(sync=True)
    template = traitlets.Unicode().tag(sync=True)
    revision = traitlets.Int(0).tag(sync=True)
    alt_text = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(_DEFAULT_HEIGHT, min=1).tag(sync=True)

    def __init__(
        self,
        figure: Figure | Mapping[str, Any] | None = None,
        *,
        alt_text: str = "",
        height: int | None = None,
        **traits: Any,
    ) -> None:
        """Make a view of `figure`, or an empty one that waits for `show`; see `show` for the arguments."""
        self._showing = threading.RLock()
        state = {} if figure is None else _state_of(figure) | {"revision": 1}
        state["height"] = height or state.get("height", _DEFAULT_HEIGHT)
        super().__init__(library=PlotlyLibrary.shared(), alt_text=alt_text, **state, **traits)

    def show(
        self, figure: Figure | Mapping[str, Any], *, alt_text: str | None = None, height: int | None = None
    ) -> int:
        """Draw `figure` in place of the last one and return its revision. Safe from any thread.

        figure: a plotly figure, or its dictionary with ``data`` and ``layout``, which is not validated again; colours
        that it leaves open follow the page's theme. alt_text: one sentence; None keeps the last. height: pixels; None
        takes the figure's own ``layout.height`` where it has one, else keeps the last. The width is always the page's.
        """
        state = _state_of(figure)
        if alt_text is not None:
            state["alt_text"] = alt_text
        if height is not None:
            state["height"] = height
        # hold_sync keeps its bookkeeping on the instance: two threads inside it at once would lose changes.
        with self._showing, self.hold_sync():
            revision = self.revision + 1
            for name, value in state.items():
                self.set_trait(name, value)
            self.revision = revision
        return revision


def _state_of(figure: Figure | Mapping[str, Any]) -> dict[str, Any]:
    """Return the traits that carry `figure`: figure and template as JSON, and height where the layout gives one."""
    from plotly.utils import PlotlyJSONEncoder

    parts = dict(figure) if isinstance(figure, Mapping) else figure.to_dict()
    layout = dict(parts.get("layout") or {})
    state: dict[str, Any] = {}
    if layout.get("height"):
        state["height"] = round(layout["height"])

    def encode(value: object) -> str:
        # plotly's to_json also escapes every slash of base64 data into six characters.
        return json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":"))

    template = layout.pop("template", None) or {}
    if isinstance(template, str):
        from plotly.graph_objects import Layout

        template = Layout(template=template).template.to_plotly_json()
    state["template"] = encode(template)
    state["figure"] = encode(parts | {"layout": layout})
    return state
