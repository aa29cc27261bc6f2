"""The command line that a page or a notebook offers for what it shows."""

from __future__ import annotations

import shlex

from rlbook.cli.lab_runs import parameters_from
from rlbook.command_line import command_for
from rlbook.figures.html import page
from rlbook.parameters import Parameters
from rlbook.registry import registered
from rlbook.running import preview
from rlbook.widgets.code_button import code_for

from .fake_lab import DrawsParameters, DrawsView, UniformMean


def test_the_page_and_the_button_offer_the_same_command() -> None:
    """Prevents a page whose command computes other seeds, or other parameters, than the notebook's."""
    with registered(UniformMean):
        lab, parameters = UniformMean(), DrawsParameters(draws=7)
        command = command_for(lab, parameters, lab.preview_seeds)
        assert command == "rlbook run uniform-mean --set draws=7 --set centre=0.5 --seeds 1"
        assert f"# {command}\n" in code_for(lab, parameters, DrawsView(), lab.preview_seeds)
        assert f"<code>{command}</code>" in page(lab, preview(lab, parameters))


class OpenParameters(Parameters):
    """Parameters that may be absent, and numbers whose text is long."""

    most: int | None = 3
    share: float = 0.1
    fast: bool = False


class Open(UniformMean):
    name = "open"
    Parameters = OpenParameters
    canonical = (OpenParameters(),)
    controls = (OpenParameters(share=0.2),)


def test_the_command_means_the_parameters_it_was_made_from() -> None:
    """Prevents None, booleans or long numbers from coming back as something else, or not at all."""
    for chosen in (OpenParameters(most=None, share=1 / 3, fast=True), OpenParameters(most=4, share=1e-300)):
        words = shlex.split(command_for(Open(), chosen, 5))
        assert words[:3] == ["rlbook", "run", "open"]
        assert words[-2:] == ["--seeds", "5"]
        assert parameters_from(Open(), words[4:-2:2]) == chosen
