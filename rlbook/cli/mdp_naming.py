"""Opens an MDP that a reader names: an environment of the catalogue, with parameters if need be, or a file."""

from __future__ import annotations

import os
from pathlib import Path

from rlbook.environments import catalogue, make, parse_call
from rlbook.errors import ParameterError, RlbookError, suggest
from rlbook.mdp import FiniteMDP


def open_mdp(text: str, discount: float | None = None) -> FiniteMDP:
    """The MDP called `text`: "taxi", "garnet(states=200)", or the path of an `.npz` file.

    discount: in [0, 1]; None for the environment's or the file's own. A name of the catalogue comes before a file of
    the same name. Raises RlbookError with a sentence that says what was tried.
    """
    if not text.strip():
        raise RlbookError("MDP is empty; give an environment that `rlbook list` names, or the path of an .npz file")
    known = [entry.name for entry in catalogue()]
    try:
        name, parameters = parse_call(text)
    except ParameterError:
        if not Path(text).exists():
            raise
        name, parameters = "", {}
    if name in known:
        if discount is not None and "discount" in parameters:
            raise ParameterError(f"{name}: the discount is given twice, in {text!r} and by --discount; give it once")
        return make(name, **parameters, **({} if discount is None else {"discount": discount}))
    path = Path(text).expanduser()
    if path.exists():
        return FiniteMDP.load(path, discount=discount)
    # Of what looks like a path, the folders say nothing about the name that was meant.
    nearest = suggest(path.stem if path.suffix or os.sep in text else name, known)
    raise RlbookError(f"{text!r} is neither a file that exists nor an environment of the catalogue; {nearest}")
