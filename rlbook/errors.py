"""Errors whose message is one sentence a reader can act on: the argument, the value, the rule, the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RlbookError(ValueError):
    """Base of every error that rlbook raises on bad input; its text is shown to readers as it stands."""


class MDPError(RlbookError):
    """A Markov decision process is malformed, or a method does not apply to it."""


class ParameterError(RlbookError):
    """A lab or environment parameter is unknown or out of range."""


class UnknownNameError(RlbookError):
    """A catalogue holds nothing under this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"{kind} {name!r} is unknown; {suggest(name, known)}")


class MissingExtraError(RlbookError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str, packages: str) -> None:
        super().__init__(f"{what} is not installed; run: pip install {packages}; rlbook's extra [{extra}] brings it")


class Cancelled(Exception):
    """A run was cancelled or superseded by a newer one; never an error in itself."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean ..." with the nearest names, or the whole list where none is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(name.lower(), choices, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "known: " + ", ".join(choices)
