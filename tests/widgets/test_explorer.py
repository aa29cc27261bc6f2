"""An explorer as a reader uses it, by moving its controls; what it draws is recorded by the fake labs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import xarray as xr

from rlbook.errors import ParameterError
from rlbook.lab import Context
from rlbook.registry import registered
from rlbook.widgets.explorer import Explorer, explore

from .fake_labs import DeafLab, HeldDrawing, LiveLab, Powers, PowersLab, SlowLab

PATIENT = 10.0


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLBOOK_HOME", str(tmp_path))


@pytest.fixture
def powers() -> Iterator[Explorer]:
    explorer = explore(PowersLab())
    yield explorer
    explorer.close()


def control(explorer: Explorer, label: str) -> ipywidgets.ValueWidget:
    """The control with this label, found on the page as a reader finds it."""
    return next(
        widget
        for widget in below(explorer)
        if getattr(widget, "description", "") == label and not isinstance(widget, ipywidgets.Play)
    )


def below(box: ipywidgets.Box) -> Iterator[ipywidgets.Widget]:
    for child in box.children:
        yield child
        if isinstance(child, ipywidgets.Box):
            yield from below(child)


def living() -> set[str]:
    """Widgets that the kernel keeps; ipywidgets has no public name for them any more."""
    return set(ipywidgets.widgets.widget._instances)


def html(explorer: Explorer) -> str:
    return " ".join(widget.value for widget in below(explorer) if isinstance(widget, ipywidgets.HTML))


def test_the_first_result_is_there_at_once(powers: Explorer) -> None:
    """Defect: a notebook executed top to bottom shows an empty figure, now and then."""
    assert powers.result is not None
    assert powers.lab.drawn == [0.5]
    assert powers.verdict is not None
    assert powers.verdict.preview
    assert not powers._exploration.workers_alive


def test_a_moved_slider_is_drawn(powers: Explorer) -> None:
    """Defect: the figure is that of the old parameters."""
    control(powers, "Discount").value = 0.95
    assert powers.wait(PATIENT)
    assert powers.lab.parameters_of(powers.result) == powers.parameters == Powers(discount=0.95)
    assert powers.lab.drawn[-1] == 0.95
    assert powers.verdict is not None
    assert powers.verdict.status == "fails"
    assert "fails" in html(powers)
    assert "A control" in html(powers)


def test_only_the_last_of_many_moves_counts() -> None:
    """Defect: slider events queue up, and the kernel computes for minutes what nobody waits for."""
    explorer = explore(SlowLab())
    lab = explorer.lab
    slider = control(explorer, "Discount")
    began = time.monotonic()
    for step in range(1, 21):
        slider.value = 0.5 + step / 100
    assert time.monotonic() - began < 0.5
    assert explorer.wait(PATIENT)
    assert lab.drawn == [0.5, 0.7]
    assert len(lab.runs) <= 6
    assert lab.stopped == lab.runs[1:-1]
    assert explorer.parameters == Powers(discount=0.7)
    explorer.close()


def test_a_run_that_ignores_its_cancel_never_comes_after_a_newer_one() -> None:
    """Defect: the slow result of an older position replaces the newer one."""
    explorer = explore(DeafLab())
    control(explorer, "Discount").value = 0.6
    time.sleep(0.1)
    control(explorer, "Discount").value = 0.7
    assert explorer.wait(PATIENT)
    assert explorer.lab.runs == [0.5, 0.6, 0.7]
    assert explorer.lab.drawn == [0.5, 0.7]
    explorer.close()


def test_moves_from_many_threads() -> None:
    """Defect: ipykernel's callbacks change threads, and two at once lose the later one or draw half a state."""
    explorer = explore(PowersLab())

    def move(first: int) -> None:
        for step in range(first, 40, 4):
            control(explorer, "Discount").value = 0.5 + step / 100

    threads = [threading.Thread(target=move, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert explorer.wait(PATIENT)
    assert explorer.problem == ""
    assert explorer.lab.parameters_of(explorer.result) == explorer.parameters
    assert explorer.lab.drawn[-1] == explorer.parameters.discount
    explorer.close()


def test_partial_results_are_drawn_while_the_run_goes_on() -> None:
    """Defect: a long run shows nothing until it is done."""
    explorer = explore(LiveLab())
    control(explorer, "Discount").value = 0.8
    end = time.monotonic() + PATIENT
    while explorer.lab.drawn[-1] != 0.8 and time.monotonic() < end:
        time.sleep(0.01)
    assert explorer.result.sizes["sweep"] == 2
    assert explorer.verdict is None
    assert explorer.wait(PATIENT)
    assert explorer.result.sizes["sweep"] == 12
    assert explorer.verdict is not None
    explorer.close()


def test_a_view_redraws_and_never_runs(powers: Explorer) -> None:
    """Defect: stepping through sweeps solves the problem anew at each."""
    control(powers, "Sweep").value = 5
    control(powers, "Logarithmic").value = True
    assert powers.wait(PATIENT)
    assert powers.lab.runs == [0.5]
    assert powers.view.sweep == 5
    assert "sweep 5" in powers._screen.figure.alt_text
    assert '"log"' in powers._screen.figure.figure


def test_the_view_follows_the_result_and_comes_back(powers: Explorer) -> None:
    """Defect: an index past the last sweep raises; or the reader's sweep is forgotten after a short result."""
    slider = control(powers, "Sweep")
    slider.value = 9
    powers.set(discount=0.05)
    assert powers.wait(PATIENT)
    assert (slider.max, slider.value, powers.view.sweep) == (2, 2, 2)
    powers.set(discount=0.5)
    assert powers.wait(PATIENT)
    assert (slider.max, slider.value, powers.view.sweep) == (11, 9, 9)
    assert powers.problem == ""


@pytest.mark.parametrize("discount", [0.5, 0.05])
@pytest.mark.parametrize("by", ["control", "look"])
def test_a_view_moved_during_a_drawing_is_that_of_the_figure(discount: float, by: str) -> None:
    """Defect: a drawing with a new range writes the old view back, and slider and figure disagree for good."""
    explorer = explore(HeldDrawing(), discount=0.05 if discount == 0.5 else 0.5)
    lab, slider = explorer.lab, control(explorer, "Sweep")
    slider.value = 2
    assert explorer.wait(PATIENT)
    lab.hold()
    explorer.set(discount=discount)
    assert lab.drawing.wait(PATIENT)
    if by == "control":
        slider.value = 1
    else:
        explorer.look(sweep=1)
    lab.released.set()
    assert explorer.wait(PATIENT)
    assert slider.max == (11 if discount == 0.5 else 2)
    assert (slider.value, explorer.view.sweep) == (1, 1)
    assert "at sweep 1 " in explorer._screen.figure.alt_text
    explorer.close()


def test_views_moved_at_random_agree_with_the_figure_in_the_end() -> None:
    """Defect: some interleaving of moves, resets, short and long results leaves a control beside its figure."""

    class Unhurried(PowersLab):
        name = "unhurried"

        def figure(self, result, view):
            time.sleep(0.005)
            return super().figure(result, view)

    explorer = explore(Unhurried())
    slider, box = control(explorer, "Sweep"), control(explorer, "Logarithmic")
    random = np.random.default_rng(0)

    def move() -> None:
        slider.value = int(random.integers(12))

    def tick() -> None:
        box.value = not box.value

    def look() -> None:
        explorer.look(sweep=int(random.integers(14)))

    for _ in range(60):
        changing = threading.Thread(target=explorer.set, kwargs={"discount": float(random.choice([0.05, 0.5]))})
        changing.start()
        for action in random.choice([move, move, tick, look, explorer.reset], size=3):
            time.sleep(random.uniform(0, 0.008))
            action()
        changing.join()
        assert explorer.wait(PATIENT)
        assert explorer.problem == ""
        assert (slider.value, box.value) == (explorer.view.sweep, explorer.view.logarithmic)
        assert f"at sweep {slider.value} " in explorer._screen.figure.alt_text
    explorer.close()


@pytest.mark.parametrize(
    ("discount", "said"),
    [(0.13, "discount 0.13 is unlucky; choose another"), (0.17, "This lab stopped with ZeroDivisionError: division")],
)
def test_an_error_is_a_sentence_and_the_figure_stays(
    powers: Explorer, discount: float, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Defect: a traceback in the reader's face, or silence; or the sentence stays after the next good result."""
    with caplog.at_level(logging.DEBUG, logger="rlbook"):
        control(powers, "Discount").value = discount
        assert powers.wait(PATIENT)
    assert powers.problem.startswith(said)
    assert said in html(powers)
    assert "Traceback" not in html(powers)
    assert any(record.exc_info for record in caplog.records)
    assert powers.lab.drawn == [0.5]
    control(powers, "Discount").value = 0.6
    assert powers.wait(PATIENT)
    assert powers.problem == ""
    assert said not in html(powers)


def test_an_error_at_the_start_still_gives_a_panel() -> None:
    """Defect: a lab that fails at its first parameters raises instead of saying so, and can never be moved."""
    explorer = explore(PowersLab(), discount=0.13)
    assert explorer.result is None
    assert "unlucky" in html(explorer)
    control(explorer, "Discount").value = 0.6
    assert explorer.wait(PATIENT)
    assert explorer.problem == ""
    assert control(explorer, "Sweep").max == 11
    explorer.close()


def test_a_failing_figure_is_a_sentence() -> None:
    """Defect: an error while drawing dies in a background thread, unseen."""

    class Undrawable(PowersLab):
        name = "undrawable"

        def figure(self, result, view):
            raise KeyError("power")

    explorer = explore(Undrawable())
    assert "KeyError" in explorer.problem
    explorer.close()


def test_reset(powers: Explorer) -> None:
    """Defect: reset moves the sliders but not the figure, or forgets the view, or runs once per slider."""
    powers.set(discount=0.9, noise=0.5, start="zero")
    powers.look(sweep=4)
    assert powers.wait(PATIENT)
    runs = len(powers.lab.runs)
    control(powers, "Reset").click()
    assert powers.wait(PATIENT)
    assert powers.parameters == powers.lab.canonical[0]
    assert powers.view == powers.lab.View()
    assert len(powers.lab.runs) == runs + 1
    shown = [control(powers, label).value for label in ("Discount", "Noise", "Start", "Sweep")]
    assert shown == [0.5, pytest.approx(0.01), "one", 0]


def test_the_full_verdict(powers: Explorer) -> None:
    """Defect: the button repeats the preview, or says preview over the full budget."""
    control(powers, "Verdict over 5 seeds").click()
    assert powers.wait(PATIENT)
    assert powers.problem == ""
    assert powers.verdict is not None
    assert (powers.verdict.n, powers.verdict.preview) == (5, False)
    assert powers.result.sizes["seed"] == 5
    assert "preview" not in html(powers)


class Notebook(PowersLab):
    """A lab as a reader defines it in a cell: nothing of it can be stored. `asked` holds the seeds of each run."""

    name = "notebook"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[int]] = []

    def run(self, parameters: Powers, seeds: Sequence[int], context: Context) -> xr.Dataset:
        self.asked.append(list(seeds))
        return super().run(parameters, seeds, context)


Notebook.__module__ = "__main__"


def test_the_full_verdict_of_a_lab_that_is_not_stored_computes_once() -> None:
    """Defect: everything is computed a second time for the verdict, deaf to Cancel."""
    explorer = explore(Notebook())
    explorer.lab.asked.clear()
    explorer.judge()
    assert explorer.wait(PATIENT)
    assert sorted(seed for seeds in explorer.lab.asked for seed in seeds) == [0, 1, 2, 3, 4]
    assert explorer.verdict is not None
    assert (explorer.verdict.n, explorer.verdict.preview) == (5, False)
    explorer.close()


@pytest.mark.parametrize("last", ["cancel", "wrong"])
def test_a_move_during_a_cancel_is_not_cancelled(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: a Cancel, or a value that is out of range, takes a newer valid move with it."""
    explorer = explore(PowersLab())
    exploration = explorer._exploration
    really_cancel = exploration._computing.cancel
    mover = threading.Thread(target=lambda: exploration.change({"discount": 0.7}))

    def cancel() -> bool:
        monkeypatch.setattr(exploration._computing, "cancel", really_cancel)
        mover.start()
        mover.join(0.2)
        return really_cancel()

    monkeypatch.setattr(PowersLab, "seconds", 0.4)
    monkeypatch.setattr(exploration._computing, "cancel", cancel)
    if last == "cancel":
        explorer.cancel()
    else:
        exploration.change({"discount": 2})
    mover.join(PATIENT)
    assert explorer.wait(PATIENT)
    assert explorer.parameters.discount == 0.7
    assert explorer.lab.parameters_of(explorer.result) == explorer.parameters
    assert explorer.problem == ""
    explorer.close()


def test_long_work_shows_progress_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: no way out of a long run; a bar that flickers at quick runs, or that stays when all is done."""
    explorer = explore(PowersLab())
    working = explorer._screen.working.layout
    control(explorer, "Discount").value = 0.6
    assert explorer.wait(PATIENT)
    assert working.visibility == "hidden"
    monkeypatch.setattr(PowersLab, "seconds", 60.0)
    control(explorer, "Discount").value = 0.7
    time.sleep(0.2)
    assert working.visibility == "hidden"
    end = time.monotonic() + PATIENT
    while working.visibility == "hidden" and time.monotonic() < end:
        time.sleep(0.02)
    assert working.visibility == "visible"
    control(explorer, "Cancel").click()
    assert explorer.wait(PATIENT)
    assert working.visibility == "hidden"
    assert explorer.problem.startswith("Cancelled")
    assert explorer.lab.drawn == [0.5, 0.6]
    explorer.close()


def test_the_code_reproduces_what_is_shown() -> None:
    """Defect: "copy as code" gives code that does not run, or that gives other numbers."""
    with registered(PowersLab):
        explorer = explore("powers", noise=0.3)
        explorer.set(discount=0.8)
        assert explorer.wait(PATIENT)
        assert "from rlbook import find_lab" in explorer.code
        assert "rlbook run powers --set discount=0.8 --set noise=0.3 --set start=one --seeds 2" in explorer.code
        names: dict[str, xr.Dataset] = {}
        exec(explorer.code, names)
    xr.testing.assert_identical(names["result"], explorer.result)
    explorer.close()


def test_the_code_of_a_lab_that_is_in_no_registry() -> None:
    """Defect: a reader's own lab copies code that cannot find it."""
    explorer = explore(PowersLab)
    assert f"from {PowersLab.__module__} import PowersLab" in explorer.code
    assert "rlbook run" not in explorer.code
    explorer.close()


def test_close_ends_the_threads() -> None:
    """Defect: every cell that is run again leaves two threads and a computation in the kernel."""
    explorer = explore(SlowLab())
    control(explorer, "Discount").value = 0.6
    assert explorer._exploration.workers_alive
    before = living()
    explorer.close()
    assert len(before - living()) > 15
    end = time.monotonic() + PATIENT
    while explorer._exploration.workers_alive and time.monotonic() < end:
        time.sleep(0.01)
    assert not explorer._exploration.workers_alive
    assert explorer.lab.drawn == [0.5]


def test_wrong_names_and_values_raise() -> None:
    """Defect: a misspelt parameter in a cell is silently ignored."""
    before = living()
    with pytest.raises(ParameterError, match="did you mean discount"):
        explore(PowersLab(), discout=0.5)
    assert living() == before
    explorer = explore(PowersLab(), sweep=3)
    assert explorer.view.sweep == 3
    assert control(explorer, "Sweep").value == 3
    with pytest.raises(ParameterError, match="discount"):
        explorer.set(discount=2)
    assert explorer.parameters == Powers()
    with pytest.raises(ParameterError, match="swep"):
        explorer.look(swep=3)
    explorer.close()


def test_text_for_pages_without_a_kernel(powers: Explorer) -> None:
    """Defect: an exported notebook shows "Explorer(children=...)" where the result was."""
    text = powers._repr_mimebundle_()["text/plain"]
    assert "Powers of the discount" in text
    assert "holds: first power = 0.5" in text


def test_the_badge_escapes_what_it_shows(powers: Explorer) -> None:
    """Defect: a claim "a < b" loses its end on the page."""
    from rlbook.widgets.verdict_badge import verdict_html

    verdict = powers.verdict.model_copy(update={"claim": "a < b & c", "note": "<script>"})
    page = verdict_html(verdict, budget=5)
    assert "a &lt; b &amp; c" in page
    assert "<script>" not in page
    assert "≤ 0.9" in page
    assert "preview: 2 of 5 seeds" in page


def test_a_notebook_executed_without_a_browser_holds_the_result() -> None:
    """Defect: under nbclient the first figure races with the end of the cell, or the notebook hangs."""
    import nbclient
    import nbformat

    repository = str(Path(__file__).resolve().parents[2])
    cells = [
        f"import sys; sys.path.insert(0, {repository!r})",
        "from tests.widgets.fake_labs import PowersLab; from rlbook.widgets.explorer import explore",
        "explorer = explore(PowersLab()); explorer",
        "explorer.set(discount=0.95); assert explorer.wait(20); print(explorer.verdict.status)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    assert "holds: first power = 0.5" in notebook.cells[2].outputs[0]["data"]["text/plain"]
    assert notebook.cells[3].outputs[0]["text"] == "fails\n"


def test_a_lab_that_raises_in_its_first_cell_is_a_sentence_there() -> None:
    """Defect: the cell of a reader's own lab ends in a traceback, with no controls to move away from what failed."""
    import nbclient
    import nbformat

    repository = str(Path(__file__).resolve().parents[2])
    cells = [
        f"import sys; sys.path.insert(0, {repository!r})",
        "from tests.widgets.fake_labs import PowersLab; from rlbook.widgets.explorer import explore",
        "class Mine(PowersLab):\n"
        "    name = 'mine'\n"
        "    def run(self, parameters, seeds, context):\n"
        "        return super().run(parameters, seeds, context) / (parameters.discount - 0.5 or None)\n"
        "explorer = explore(Mine()); explorer",
        "explorer.set(discount=0.75); assert explorer.wait(20); print(repr(explorer.problem), explorer.verdict.n)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    (shown,) = notebook.cells[2].outputs
    assert shown["output_type"] == "execute_result"
    assert "This lab stopped with TypeError: " in shown["data"]["text/plain"]
    assert notebook.cells[3].outputs[0]["text"] == "'' 2\n"
