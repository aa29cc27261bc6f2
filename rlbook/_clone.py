"""Lets a clone's root work as the current folder when rlbook is not installed editable.

There `import rlbook` finds the clone's `rlbook/`, but `rlbook.tabular` lies beside it, in `tabular/`. Adding the root
to `rlbook.__path__` would do, and would also make `rlbook.tests` and `rlbook.rlbook` importable: second copies of
modules. So only the mapped folders are offered. In a wheel they lie inside the package and nothing here applies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

FOLDERS = ("tabular", "deep", "widgets", "chapters")


class FolderFinder:
    """Finds `rlbook.<folder>` in `root` for the mapped folders, and nothing else."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a mapped folder, None for every other name."""
        package, _, folder = name.partition(".")
        if package != "rlbook" or folder not in FOLDERS:
            return None
        return PathFinder.find_spec(name, [self.root], target)


def make_folders_importable() -> None:
    """Put one `FolderFinder` on `sys.meta_path` when this package lies in a clone; at most once.

    It goes first: an editable install of another clone would otherwise lend this core its `tabular`.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(package)
    in_clone = os.path.isfile(os.path.join(root, "pyproject.toml")) and os.path.isdir(os.path.join(root, "tabular"))
    if in_clone and not any(type(finder).__name__ == "FolderFinder" for finder in sys.meta_path):
        sys.meta_path.insert(0, FolderFinder(root))
