"""What PlotlyView sends to the page, and when."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest

from rlbook.widgets.plotly_view import PlotlyLibrary, PlotlyView

Messages = list[dict[str, Any]]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[[PlotlyView], Messages]:
    """A function that returns the list of states that a view sends from now on."""

    def listen(view: PlotlyView) -> Messages:
        messages: Messages = []

        def send(data: dict[str, Any], buffers: list[bytes]) -> None:
            # A real send lets other threads run too.
            time.sleep(0.0005)
            messages.append(data["state"])

        monkeypatch.setattr(view.comm, "send", send)
        return messages

    return listen


def test_every_view_shares_the_library_even_from_racing_threads() -> None:
    """Prevents: two libraries, each 1.5 MB over the wire, made by two threads at once."""
    ipywidgets.Widget.close_all()
    start = threading.Barrier(4)

    def make(_: int) -> PlotlyLibrary:
        start.wait()
        return PlotlyView().library

    with ThreadPoolExecutor(4) as pool:
        libraries = set(pool.map(make, range(4)))
    assert libraries == {PlotlyLibrary.shared()}


def test_the_library_carries_the_installed_plotly_compressed() -> None:
    """Prevents: a library that no page can inflate, or that is sent at its full 4.8 MB."""
    library = PlotlyLibrary.shared()
    assert len(library.source) < 2_000_000
    assert f"plotly.js v{library.version}" in gzip.decompress(library.source)[:200].decode()


def test_a_closed_library_is_replaced() -> None:
    """Prevents: figures that wait for ever after ipywidgets.Widget.close_all()."""
    closed = PlotlyLibrary.shared()
    ipywidgets.Widget.close_all()
    assert PlotlyLibrary.shared() is not closed


def test_figure_and_revision_travel_in_one_message(record: Callable[[PlotlyView], Messages]) -> None:
    """Prevents: a page that reports the new revision while it still draws the old figure."""
    view = PlotlyView(go.Figure(go.Bar(y=[1, 2])))
    messages = record(view)
    assert view.revision == 1
    assert view.show(go.Figure(go.Bar(y=[3, 4])), alt_text="Two bars.", height=300) == 2
    (message,) = messages
    assert message["revision"] == 2
    assert message["alt_text"] == "Two bars."
    assert message["height"] == 300
    assert json.loads(message["figure"])["data"][0]["y"] == [3, 4]


def test_the_template_travels_only_when_it_changes(record: Callable[[PlotlyView], Messages]) -> None:
    """Prevents: 7 kB of unchanged colours with each step of a slider."""
    view = PlotlyView(go.Figure(go.Bar(y=[1])))
    messages = record(view)
    view.show(go.Figure(go.Bar(y=[2])))
    view.show(go.Figure(go.Bar(y=[2]), layout_template="plotly_dark"))
    view.show({"data": [{"type": "bar", "y": [2]}], "layout": {"template": "plotly_dark"}})
    assert ["template" in message for message in messages] == [False, True, False]
    assert "template" not in json.loads(messages[0]["figure"])["layout"]


def test_the_same_figure_again_is_a_new_revision(record: Callable[[PlotlyView], Messages]) -> None:
    """Prevents: a caller that waits for a revision which never comes, since nothing changed."""
    view = PlotlyView(go.Figure(go.Bar(y=[1])))
    messages = record(view)
    assert view.show(go.Figure(go.Bar(y=[1]))) == 2
    assert messages == [{"revision": 2}]


def test_shows_from_many_threads_lose_nothing(record: Callable[[PlotlyView], Messages]) -> None:
    """Prevents: a lost or doubled revision when a slider's thread and a worker draw at once."""
    view = PlotlyView()
    messages = record(view)
    figures = [go.Figure(go.Bar(y=[n])) for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        revisions = list(pool.map(view.show, figures))
    assert sorted(revisions) == list(range(1, 201))
    assert [message["revision"] for message in messages] == list(range(1, 201))
    sent = [json.loads(message["figure"])["data"][0]["y"][0] for message in messages]
    assert sent == [n for _, n in sorted(zip(revisions, range(200), strict=True))]


def test_arrays_travel_in_base64_and_gaps_as_null() -> None:
    """Prevents: NaN, which is no JSON, and slashes of base64 escaped into six characters each."""
    view = PlotlyView(go.Figure([go.Heatmap(z=np.full((2, 2), 255, np.uint8)), go.Bar(y=[1.0, float("nan")])]))
    heatmap, bar = json.loads(view.figure)["data"]
    assert heatmap["z"] == {"dtype": "u1", "bdata": "/////w==", "shape": "2, 2"}
    assert bar["y"] == [1.0, None]
    assert '"/////w=="' in view.figure


def test_the_figures_own_height_counts_unless_one_is_given() -> None:
    """Prevents: a tall gridworld squeezed into the default height."""
    tall = go.Figure(layout_height=700)
    view = PlotlyView(tall)
    assert view.height == 700
    view.show(go.Figure())
    assert view.height == 700
    view.show(tall, height=250)
    assert view.height == 250


def test_show_leaves_the_callers_figure_alone() -> None:
    """Prevents: a lab's figure that loses its template once it was shown."""
    figure = go.Figure(go.Bar(y=[1]))
    mapping = figure.to_dict()
    before = figure.to_json(), json.dumps(mapping)
    view = PlotlyView(figure)
    view.show(mapping)
    assert (figure.to_json(), json.dumps(mapping)) == before
