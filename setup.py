"""The package list, derived from the folders: a typed list forgets chapters, and `packages.find` cannot map folders.

Everything else about the build stands in pyproject.toml.
"""

from __future__ import annotations

import os

from setuptools import setup

FOLDERS = {
    "rlbook": "rlbook",
    "rlbook.tabular": "tabular",
    "rlbook.deep": "deep",
    "rlbook.widgets": "widgets",
    "rlbook.chapters": "chapters",
}


def packages(root: str = ".") -> list[str]:
    """Import names of the five top folders and of every folder below them that holds an `__init__.py`."""
    found = []
    for name, folder in FOLDERS.items():
        top = os.path.join(root, folder)
        for where, children, files in os.walk(top):
            if where != top and "__init__.py" not in files:
                children.clear()
                continue
            children.sort()
            below = os.path.relpath(where, top)
            found.append(name if below == "." else ".".join([name, *below.split(os.sep)]))
    return sorted(found)


if __name__ == "__main__":
    setup(package_dir=FOLDERS, packages=packages())
