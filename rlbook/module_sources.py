"""Reads what a module imports from its syntax tree, without importing it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# They show results and never compute one.
EXCLUDED = ("rlbook.cli", "rlbook.widgets")

_IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Place:
    """Where a module lies: its source file (None for a package without `__init__`), and a package's folders."""

    path: Path | None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ModuleSource:
    """What one source file asks for.

    imports: dotted names, each a module or a name in one; offers: names that a lazy package hands on, and where they
    come from; data: files beside it that it names; words: all short strings in it, among them names of distributions.
    """

    path: Path
    package: str
    imports: tuple[str, ...]
    offers: dict[str, str]
    data: tuple[Path, ...]
    words: frozenset[str]


def locate(name: str) -> Place | None:
    """Find a module by its dotted name, importing at most its top package; None where there is no source."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        folders = tuple(Path(folder) for folder in getattr(loaded, "__path__", ()))
        return _place(file, folders)
    parent, _, leaf = name.rpartition(".")
    if parent in ("", "rlbook"):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            return None
        return None if spec is None else _place(spec.origin, tuple(map(Path, spec.submodule_search_locations or ())))
    above = locate(parent)
    for folder in above.folders if above else ():
        if (folder / leaf / "__init__.py").is_file():
            return Place(folder / leaf / "__init__.py", (folder / leaf,))
        if (folder / f"{leaf}.py").is_file():
            return Place(folder / f"{leaf}.py")
        if (folder / leaf).is_dir():
            return Place(None, (folder / leaf,))
    return None


@cache
def read(name: str) -> ModuleSource | None:
    """Read a module's source; None where it has none of its own."""
    place = locate(name)
    if place is None or place.path is None:
        return None
    package = name if place.folders else name.rpartition(".")[0]
    tree = ast.parse(place.path.read_bytes())
    reader = _Reader(package, lazy=bool(place.folders) and _has_getattr(tree))
    reader.visit(tree)
    if reader.imports_any_name:
        # The name comes from a table; every module that the file names in full may be meant.
        reader.imports += sorted(word for word in reader.words if "." in word and word.replace(".", "").isidentifier())
    beside = (place.path.parent / word for word in sorted(reader.words) if _names_a_file(word))
    return ModuleSource(
        place.path,
        package,
        tuple(dict.fromkeys(reader.imports)),
        reader.offers if reader.lazy else {},
        tuple(path for path in beside if path.is_file()),
        frozenset(reader.words),
    )


def reached(dotted: str, inside: tuple[str, ...]) -> Iterator[str]:
    """The modules that importing or using `dotted` needs: its packages, itself, and where a lazy package takes it from.

    inside: the top packages that are followed.
    """
    parts = dotted.split(".")
    if parts[0] not in inside:
        return
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        if name in EXCLUDED:
            return
        if locate(name) is not None:
            yield name
            continue
        package = read(".".join(parts[: end - 1]))
        if package is not None and parts[end - 1] in package.offers:
            yield from reached(package.offers[parts[end - 1]], inside)
        return


def submodules(name: str) -> list[str]:
    """Dotted names of the modules and packages right below a package."""
    place = locate(name)
    found = set()
    for folder in place.folders if place else ():
        found |= {path.stem for path in folder.glob("*.py")} | {
            path.parent.name for path in folder.glob("*/__init__.py")
        }
    return [f"{name}.{leaf}" for leaf in sorted(found - {"__init__"})]


class _Reader(ast.NodeVisitor):
    """Collects imports in one pass; a lazy package's imports for type checkers say where its names come from."""

    def __init__(self, package: str, lazy: bool) -> None:
        self.package = package
        self.lazy = lazy
        self.imports: list[str] = []
        self.offers: dict[str, str] = {}
        self.words: set[str] = set()
        self.imports_any_name = False
        self._bound: dict[str, str] = {}

    def visit_Module(self, node: ast.Module) -> None:
        # Names are bound first: a function may use an import that stands below it.
        for child in ast.walk(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                self._bound |= {name: dotted for name, dotted in self._names(child) if name}
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if not ast.unparse(node.test).endswith("TYPE_CHECKING"):
            self.generic_visit(node)
            return
        for child in node.body:
            if isinstance(child, ast.ImportFrom):
                self.offers |= {name: dotted for name, dotted in self._names(child) if name}
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        self.imports += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports += [dotted for _, dotted in self._names(node)]

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = ast.unparse(node)
        root, _, rest = chain.partition(".")
        if root in self._bound and rest.replace(".", "").isidentifier():
            self.imports.append(f"{self._bound[root]}.{rest}")
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and 0 < len(node.value) < 100:
            self.words.add(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        if node.args and ast.unparse(node.func).rpartition(".")[2] in _IMPORTERS and not self.lazy:
            self.imports += self._imported_by_name(node.args[0])
        self.generic_visit(node)

    def _imported_by_name(self, argument: ast.expr) -> list[str]:
        match argument:
            case ast.Constant(value=str(name)):
                return [self._absolute(name)]
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]) if "." in start:
                # Which one is known only at run time: count them all.
                return submodules(self._absolute(start.rpartition(".")[0] or "."))
            case _:
                self.imports_any_name = True
                return []

    def _names(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
        """Pairs of the name that an import binds and the dotted name it stands for."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
            return
        base = self._absolute("." * node.level + (node.module or ""))
        for alias in node.names:
            yield ("", base) if alias.name == "*" else (alias.asname or alias.name, f"{base}.{alias.name}")

    def _absolute(self, name: str) -> str:
        rest = name.lstrip(".")
        level = len(name) - len(rest)
        if not level:
            return name
        parts = self.package.split(".")
        return ".".join([*parts[: len(parts) - level + 1], *([rest] if rest else [])])


def _place(file: str | None, folders: tuple[Path, ...]) -> Place | None:
    path = Path(file) if file and file.endswith(".py") and Path(file).is_file() else None
    return Place(path, folders) if path is not None or folders else None


def _has_getattr(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)


def _names_a_file(word: str) -> bool:
    return "." in word[1:] and word.isprintable() and not word.endswith(".py") and not set(word) & set('/\\:*?"<>|')
