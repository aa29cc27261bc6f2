"""What a page consists of, whoever shows it: sections of paragraphs, of text that keeps its lines, and of tables."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """Running text, on one line."""

    text: str


@dataclass(frozen=True)
class Lines:
    """Text that keeps its lines: equations, code, commands."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of texts; all rows are as long as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Paragraph | Lines | Table


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: tuple[Block, ...]


def blocks_of(text: str) -> tuple[Block, ...]:
    """The blocks of a docstring, or of simple Markdown: what is indented, or fenced by ```, keeps its lines."""
    found: list[Block] = []
    fenced = False
    for part in inspect.cleandoc(text).split("```"):
        if fenced:
            # A fence may name a language behind its first ticks.
            found.append(Lines(part.partition("\n")[2].rstrip()))
        else:
            found += [_block(chunk) for chunk in part.split("\n\n") if chunk.strip()]
        fenced = not fenced
    return tuple(found)


def _block(chunk: str) -> Block:
    lines = chunk.strip("\n").splitlines()
    if all(line.startswith("    ") for line in lines):
        return Lines(textwrap.dedent("\n".join(lines)))
    return Paragraph(" ".join(line.strip() for line in lines))


def sections_of(markdown: str) -> dict[str, tuple[Block, ...]]:
    """The blocks below each `## title` of a Markdown text."""
    parts = [part.partition("\n") for part in ("\n" + markdown).split("\n## ")[1:]]
    return {title.strip(): blocks_of(body) for title, _, body in parts}


def markdown(title: str, sections: tuple[Section, ...]) -> str:
    """A whole page as Markdown."""
    pieces = [f"# {title}"]
    for section in sections:
        pieces += [f"## {section.title}", *map(_markdown, section.blocks)]
    return "\n\n".join(pieces) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Paragraph(text):
            return text
        case Lines(text):
            return f"```text\n{text}\n```"
        case Table(header, rows):
            ruled = [header, ("---",) * len(header), *rows]
            return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in ruled)
