"""The command `rlbook`: the composition root, which imports the rest of the book when a command needs it."""

from rlbook.cli.commands import main

__all__ = ["main"]
