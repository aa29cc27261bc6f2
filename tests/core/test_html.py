"""Exported pages: one file, whole or absent, that nothing in a name can break."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr
from pydantic import Field

from rlbook.errors import RlbookError
from rlbook.figures.html import _Pool, page, view_axes, write_html
from rlbook.parameters import View
from rlbook.running import judge, run_lab
from rlbook.store import RunStore

from .fake_lab import DrawsParameters, DrawsView, UniformMean

LAB = UniformMean()
NASTY = "</script><script>alert('x')</script> & <b>\"$title\""


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


def unpack(text: str, name: str) -> str:
    found = re.search(rf'id="{name}">([^<]*)</script>', text)
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1])).decode()


def build(pool: list[Any], place: int) -> Any:
    kind, part = pool[place]
    if kind == 0:
        return part
    return [build(pool, inner) for inner in part] if kind == 2 else {k: build(pool, v) for k, v in part.items()}


class Outline(HTMLParser):
    """Counts elements and collects what would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_a_page_is_one_file_with_everything_once(tmp_path: Path, store: RunStore) -> None:
    result = run_lab(LAB, {"draws": 5}, seeds=4, store=store)
    path = write_html(LAB, result, tmp_path / "page.html", judge(LAB, {"draws": 5}, seeds=4, store=store))
    text = path.read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.loads == []
    assert outline.tags.count("script") == 3
    assert text.count('id="plotly"') == 1
    assert "plotly.js v" in unpack(text, "plotly")[:200]
    for words in (
        LAB.title,
        LAB.claim,
        str(LAB.source),
        "4 seeds",
        "rlbook run uniform-mean --set draws=5 --set centre=0.5 --seeds 4",
        "(preview)",
    ):
        assert words in text
    assert re.search(r'class="verdict (holds|fails|inconclusive)"', text)
    assert len(text) < 3e6


def test_every_frame_is_the_labs_figure_with_its_alt_text(store: RunStore) -> None:
    result = run_lab(LAB, {"draws": 3}, seeds=2, store=store)
    movie = json.loads(unpack(page(LAB, result), "movie"))
    assert [axis["label"] for axis in movie["axes"]] == ["draw", "marks", "centred"]
    assert [axis["kind"] for axis in movie["axes"]] == ["range", "select", "checkbox"]
    assert len(movie["figures"]) == len(movie["alts"]) == 3 * 2 * 2
    frame = 0
    for draw in range(3):
        for marks in ("lines", "dots"):
            for centred in (False, True):
                view = DrawsView(draw=draw, marks=marks, centred=centred)  # type: ignore[arg-type]
                expected = json.loads(LAB.figure(result, view).to_json())
                assert build(movie["pool"], movie["figures"][frame]) == expected
                assert build(movie["pool"], movie["alts"][frame]) == LAB.alt_text(result, view)
                frame += 1


@pytest.mark.parametrize(
    "tree", [{"a": [{"b": 1}, {"b": 1.0}], "c": []}, [[1, {"x": None}], True], {"a": {}, "b": [{}]}]
)
def test_the_pool_gives_back_what_it_was_given(tree: Any) -> None:
    """1, 1.0 and true are equal in Python and different in JSON."""
    pool = _Pool()
    place = pool.place(tree)
    assert json.dumps(build(pool.parts, place)) == json.dumps(tree)


class Wide(View):
    sweep: int = Field(default=77, ge=0, le=100, description="sweep")
    start: int = Field(default=0, ge=0, le=19, description="start")
    kind: Literal["a", "b", "c"] = "a"


class WideLab(UniformMean):
    name = "wide"
    View = Wide

    def view_values(self, result: xr.Dataset) -> dict[str, Any]:
        return {}

    def figure(self, result: xr.Dataset, view: View) -> go.Figure:
        return go.Figure(layout={"template": None, "title": {"text": str(view)}})

    def alt_text(self, result: xr.Dataset, view: View) -> str:
        return str(view)


def test_too_many_frames_are_thinned_evenly_and_the_page_says_so(store: RunStore) -> None:
    result = run_lab(WideLab(), seeds=1, store=store)
    sweep, start, kind = view_axes(WideLab(), result)
    assert len(sweep.values) * len(start.values) * len(kind.values) <= 400
    assert len(kind.values) == 3
    assert len(start.values) == 2, "what is declared later gives way first"
    assert (sweep.values[0], sweep.values[-1]) == (0, 100)
    steps = set(np.diff(sweep.values).tolist())
    assert max(steps) - min(steps) <= 1
    assert abs(sweep.values[sweep.start] - 77) <= max(steps)
    text = page(WideLab(), result)
    assert f"{len(sweep.values)} of the 101 values of sweep" in text
    assert len(json.loads(unpack(text, "movie"))["figures"]) <= 400


def test_nothing_is_thinned_that_fits(store: RunStore) -> None:
    result = run_lab(LAB, {"draws": 100}, seeds=1, store=store)
    assert len(view_axes(LAB, result)[0].values) == 100
    assert "To keep this file small" not in page(LAB, run_lab(LAB, {"draws": 2}, seeds=1, store=store))


class Nasty(UniformMean):
    name = "nasty"
    title = NASTY
    claim = NASTY

    def figure(self, result: xr.Dataset, view: View) -> go.Figure:
        return go.Figure(layout={"title": {"text": NASTY}})

    def alt_text(self, result: xr.Dataset, view: View) -> str:
        return NASTY


def test_a_name_cannot_end_the_script_that_carries_it(store: RunStore) -> None:
    result = run_lab(Nasty(), {"draws": 1}, seeds=3, store=store)
    text = page(Nasty(), result, judge(Nasty(), {"draws": 1}, seeds=3, store=store))
    outline = Outline()
    outline.feed(text)
    assert outline.tags.count("script") == 3
    assert "alert('x')" not in text
    movie = json.loads(unpack(text, "movie"))
    assert build(movie["pool"], movie["alts"][0]) == NASTY


def test_200_frames_of_a_20_by_20_grid_stay_small(store: RunStore) -> None:
    """Frames that repeat what they share made pages too large to mail."""

    class Grid(UniformMean):
        name = "grid"

        def figure(self, result: xr.Dataset, view: View) -> go.Figure:
            values = np.random.default_rng(view.draw).random((20, 20))  # type: ignore[attr-defined]
            labels = [[f"{value:.2f}" for value in line] for line in values]
            return go.Figure(go.Heatmap(z=values, text=labels, texttemplate="%{text}"))

    result = run_lab(Grid(), {"draws": 50}, seeds=1, store=store)
    assert len(page(Grid(), result)) < 15e6


def test_a_page_that_cannot_be_written_is_a_sentence_and_leaves_the_old_one(tmp_path: Path, store: RunStore) -> None:
    result = run_lab(LAB, {"draws": 1}, seeds=1, store=store)
    with pytest.raises(RlbookError, match=r"cannot be written \(.*\); give a path"):
        write_html(LAB, result, tmp_path / "absent" / "page.html")
    path = tmp_path / "page.html"
    path.write_text("old")

    class Broken(UniformMean):
        name = "broken"

        def figure(self, result: xr.Dataset, view: View) -> go.Figure:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_html(Broken(), result, path)
    assert path.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


def test_the_command_quotes_what_a_shell_would_split(store: RunStore) -> None:
    class WordsParameters(DrawsParameters):
        word: Literal["one", "two words"] = "one"

    class Words(UniformMean):
        name = "words"
        Parameters = WordsParameters
        canonical = (WordsParameters(),)
        controls = (WordsParameters(centre=0.9),)

    result = run_lab(Words(), {"draws": 1, "word": "two words"}, seeds=1, store=store)
    assert "rlbook run words --set draws=1 --set centre=0.5 --set &#x27;word=two words&#x27; --seeds 1" in page(
        Words(), result
    )
