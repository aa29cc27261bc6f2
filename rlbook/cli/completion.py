"""What the shell offers on Tab; whatever goes wrong here offers nothing, since the shell shows no errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps

import typer

Pairs = list[tuple[str, str]]


def _quietly(offer: Callable[[typer.Context, str], Iterator[tuple[str, str]]]) -> Callable[[typer.Context, str], Pairs]:
    @wraps(offer)
    def offered(ctx: typer.Context, incomplete: str) -> Pairs:
        found: Pairs = []
        with suppress(Exception):
            found.extend(pair for pair in offer(ctx, incomplete) if pair[0].startswith(incomplete))
        return found

    # Typer tells a completion's arguments apart by their annotations, which `wraps` would hand over as text.
    offered.__annotations__ = {"ctx": typer.Context, "incomplete": str}
    del offered.__wrapped__  # type: ignore[attr-defined]
    return offered


@_quietly
def complete_lab(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of labs, with their titles."""
    from rlbook.registry import labs

    for lab in labs().values():
        yield lab.name, lab.title


@_quietly
def complete_mdp(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of environments, and files that may hold an MDP."""
    from pathlib import Path

    from rlbook.environments import catalogue

    for entry in catalogue():
        yield entry.name, entry.summary
    folder, _, _ = incomplete.rpartition("/")
    prefix = f"{folder}/" if folder or incomplete.startswith("/") else ""
    for path in sorted(Path(prefix or ".").iterdir()):
        if path.is_dir() or path.suffix == ".npz":
            yield f"{prefix}{path.name}{'/' if path.is_dir() else ''}", "folder" if path.is_dir() else "file"


@_quietly
def complete_method(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of solvers."""
    # The command line may import every layer; it lends the names to this module.
    from rlbook.cli.commands import solver_names

    for name in solver_names():
        yield name, ""


@_quietly
def complete_criterion(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """What `rlbook solve` can maximise."""
    from rlbook.cli.criteria import CRITERIA

    for name in CRITERIA:
        yield name, ""


@_quietly
def complete_agent(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of deep agents, with their titles."""
    from rlbook.deep.pages.agents import AGENTS

    for agent in AGENTS:
        yield agent.name, agent.title


@_quietly
def complete_world(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of environments that agents can be trained on."""
    from rlbook.deep.environments import names

    for name in names():
        yield name, ""


@_quietly
def complete_agent_setting(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """`name=` of the settings of the agent that is already on the line."""
    from rlbook.cli.training import named_agent
    from rlbook.parameters import controls

    for control in controls(named_agent(ctx.params.get("agent") or ctx.args[0])[0].Config):
        yield f"{control.name}=", control.description


@_quietly
def complete_setting(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """`name=` of the parameters of the lab that is already on the line."""
    from rlbook.parameters import controls
    from rlbook.registry import find_lab

    # After an unfinished option the lab has not been given its name yet.
    for control in controls(find_lab(ctx.params.get("lab") or ctx.args[0]).Parameters):
        yield f"{control.name}=", control.description
