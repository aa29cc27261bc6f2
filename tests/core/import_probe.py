"""What one run of a lab imports, seen from a process that has imported nothing of ours before."""

from __future__ import annotations

import sys
from importlib import import_module


def loaded_by_a_run(module: str, name: str) -> tuple[list[str], list[str]]:
    """The modules of the book that were there before and after lab `name` of `module` ran and was judged."""
    before = _ours()
    from rlbook.lab import Context

    lab = getattr(import_module(module), name)()
    result = lab.run(lab.canonical[0], range(lab.preview_seeds), Context())
    lab.verdict(result)
    return before, _ours()


def _ours() -> list[str]:
    return [name for name in sys.modules if name == "rlbook" or name.startswith("rlbook.")]
