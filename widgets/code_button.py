"""The button "copy as code": what stands on the page, as a few lines of Python and one of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from rlbook.command_line import command_for
from rlbook.errors import RlbookError
from rlbook.lab import Lab
from rlbook.parameters import Parameters, View


class CodeButton(anywidget.AnyWidget):
    """Copies `code` to the clipboard and shows it, selected, for browsers that do not let pages write there."""

    _esm = Path(__file__).with_name("code_button.js")

    code = traitlets.Unicode().tag(sync=True)


def code_for(lab: Lab[Any, Any], parameters: Parameters, view: View, seeds: int) -> str:
    """Code that computes and draws the same by import, for seeds 0 to `seeds` - 1, and the command line for it."""
    registered = _is_registered(lab)
    kind = type(lab)
    if registered:
        importing, finding = "from rlbook import find_lab", f"find_lab({lab.name!r})"
    else:
        importing = f"from {kind.__module__} import {kind.__qualname__.split('.')[0]}"
        finding = f"{kind.__qualname__}()"
    code = f"""\
{importing}
from rlbook.running import run_lab

lab = {finding}
parameters = lab.parse({parameters.model_dump()!r})
result = run_lab(lab, parameters, {seeds})
figure = lab.figure(result, lab.make_view(result, {view.model_dump()!r}))
print(lab.verdict(result).sentence())
figure
"""
    # The command line knows registered labs only.
    return f"{code}\n# On the command line:\n# {command_for(lab, parameters, seeds)}\n" if registered else code


def _is_registered(lab: Lab[Any, Any]) -> bool:
    from rlbook.registry import find_lab

    try:
        return type(find_lab(lab.name)) is type(lab)
    except RlbookError:
        return False
