"""Pages of agents as plain text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlbook.cli.terminal import table

if TYPE_CHECKING:
    from rlbook.deep.pages import Page
    from rlbook.deep.pages.agents import Agent
    from rlbook.deep.pages.blocks import Block

_MOST_COLUMNS = 100


def list_text(agents: Sequence[Agent]) -> str:
    """Names and titles."""
    return table(("agent", "title"), [(agent.name, agent.title) for agent in agents])


def text(page: Page) -> str:
    """The page for people: section by section, wrapped to the terminal's width."""
    pieces = [f"{page.title} ({page.agent.name})"]
    for section in page.sections:
        pieces += [section.title.upper(), *map(_block, section.blocks)]
    return "\n\n".join(pieces)


def _block(block: Block) -> str:
    from rlbook.deep.pages.blocks import Lines, Paragraph, Table

    match block:
        case Paragraph(words):
            width = min(shutil.get_terminal_size((_MOST_COLUMNS, 24)).columns, _MOST_COLUMNS)
            return textwrap.fill(words, width, break_long_words=False, break_on_hyphens=False)
        case Lines(lines):
            return textwrap.indent(lines, "    ")
        case Table(header, rows):
            return table(header, rows)
