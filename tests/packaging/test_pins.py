"""constraints.txt, pyproject.toml and the stored notebooks: what a reader gets is what was tested."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2].partition(" ")[0] for line in LINES}


def test_constraints_are_names_and_versions_only() -> None:
    """Prevents: a pin that names a host, a path, a range, or this project."""
    shape = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*( ; python_version [<>=]+ '3\.\d+')?")
    assert [line for line in LINES if not shape.fullmatch(line)] == []
    assert len(PINS) == len(LINES)
    assert "rlbook" not in PINS


def test_every_dependency_is_pinned_within_its_range() -> None:
    """Prevents: a dependency added without its pin, so that next year's version arrives untested."""
    extras = PROJECT["optional-dependencies"]
    stated = [*PROJECT["dependencies"], *(line for name in ("data", "deep", "book", "test") for line in extras[name])]
    for requirement in map(Requirement, stated):
        if requirement.name != "rlbook":
            assert requirement.specifier.contains(Version(PINS[canonicalize_name(requirement.name)])), requirement


def test_every_pin_is_needed() -> None:
    """Prevents: a pin that outlives its dependency, and a dependency of a dependency without a pin."""
    extras = PROJECT["optional-dependencies"]
    waiting = [*PROJECT["dependencies"], *(line for name in ("data", "deep", "book", "test") for line in extras[name])]
    wanted = {(canonicalize_name(one.name), extra) for one in map(Requirement, waiting) for extra in ("", *one.extras)}
    reached: set[tuple[str, str]] = {("rlbook", "data"), ("rlbook", "deep")}
    while wanted - reached:
        name, extra = place = min(wanted - reached)
        reached.add(place)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # needed on another system, or by another Python
            wanted.discard(place)
            continue
        for one in map(Requirement, lines):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                wanted |= {(canonicalize_name(one.name), inner) for inner in ("", *one.extras)}
    assert {name for name, _ in wanted} - {"rlbook"} - set(PINS) == set()
    assert set(PINS) - {name for name, _ in wanted} == set()


def test_make_lab_brings_every_extra_that_chapters_use() -> None:
    """Prevents: a reader whose chapter ends at its first import, while `make test`, which installs more, is green."""
    extras, brought = PROJECT["optional-dependencies"], {"book"}
    for requirement in map(Requirement, extras["book"]):
        if requirement.name == "rlbook":
            brought |= requirement.extras
    sources = [path for suffix in ("*.py", "*.ipynb") for path in (ROOT / "chapters").rglob(suffix)]
    used = {extra for extra in ("deep", "gpu") if any(f"rlbook.{extra} import" in path.read_text() for path in sources)}
    assert used == {"deep"}
    assert used <= brought
    lab = (ROOT / "Makefile").read_text().partition("\nlab:\n")[2].partition("\n\n")[0]
    assert "set -- book;" in lab


def test_the_readme_is_the_description_of_the_package() -> None:
    """Prevents: a package whose page in an index is blank."""
    assert PROJECT.get("readme") == "README.md"
    assert (ROOT / "README.md").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "chapters").glob("*/*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    """Prevents: numbers in a stored notebook that no run of the present code gave."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["source"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []
