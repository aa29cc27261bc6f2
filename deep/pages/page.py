"""The page of an agent, put together from its code, its prose and its stored results."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rlbook.deep.pages.agents import Agent, agent
from rlbook.deep.pages.blocks import Block, Lines, Paragraph, Section, Table, blocks_of, markdown, sections_of
from rlbook.deep.pages.peers import Peer
from rlbook.deep.pages.results import Result, interval, number, results, words
from rlbook.deep.pages.stored import how_to_measure
from rlbook.deep.pages.tasks import TASKS
from rlbook.deep.results import described
from rlbook.parameters import controls

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHOWN_ON = "CartPole-v1"


@dataclass(frozen=True)
class Page:
    """What there is to say about an agent; a notebook shows it as Markdown.

    facts: by what they are about. sections: the whole page, in order. results: on each task, stored or not.
    """

    agent: Agent
    facts: dict[str, str]
    sections: tuple[Section, ...]
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        return self.agent.title

    def markdown(self) -> str:
        """The page as Markdown."""
        return markdown(self.title, self.sections)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def figure(self) -> go.Figure:
        """Learning curves of the stored results, one part for each task."""
        from rlbook.deep.pages.curves import curves

        return curves(self.title, self.results)

    def to_json(self) -> dict[str, Any]:
        """Plain values: the page in pieces, stored results as they are, and what follows from them."""
        prose = {section.title: section.blocks for section in self.sections}
        return {
            "name": self.agent.name,
            "title": self.title,
            "facts": self.facts,
            "equations": "\n\n".join(block.text for block in prose["Equations"] if not isinstance(block, Table)),
            "pseudocode": "\n".join(block.text for block in prose["Pseudocode"] if isinstance(block, Lines)),
            "settings": _settings(self.agent),
            "results": [_told(result) for result in self.results],
        }


def page(name: str) -> Page:
    """The page of an agent, see `rlbook.deep.pages.names`; raises UnknownNameError with the nearest ones."""
    chosen = agent(name)
    prose = sections_of(files("rlbook.deep.pages").joinpath("prose", f"{name}.md").read_text(encoding="utf-8"))
    facts = _facts(chosen, prose["Kind"])
    known = results(chosen)
    sections = (
        Section("Quick facts", (Table(("fact", "here"), tuple(facts.items())),)),
        Section("Equations", blocks_of(_docstring(chosen))),
        Section("Pseudocode", prose["Pseudocode"]),
        Section("Settings", _settings_blocks(chosen)),
        Section("Results", (_metrics(), *(block for result in known for block in _result_blocks(result)))),
        Section("Papers", prose["Papers"]),
    )
    return Page(chosen, facts, sections, known)


def _docstring(chosen: Agent) -> str:
    return sys.modules[chosen.algorithm.init.__module__].__doc__ or ""


def _facts(chosen: Agent, kind: tuple[Block, ...]) -> dict[str, str]:
    from rlbook.deep.experience import Rollout
    from rlbook.deep.replay import Replay

    config, algorithm = chosen.config(), chosen.algorithm
    experience = algorithm.experience(config)
    match experience:
        case Replay():
            source = (
                f"replay: after {experience.warm_up:,} steps, one update for every {experience.every:,}, from "
                f"{experience.batch:,} of the last {experience.capacity:,}"
            )
        case Rollout():
            source = f"rollouts: {experience.length:,} steps of {experience.environments:,} environments side by side"
        case _:
            source = "a stream: every step once, as it happens"
    return {
        "learns from": source,
        "replay": "yes" if isinstance(experience, Replay) else "no",
        "policy": " ".join(block.text for block in kind if isinstance(block, Paragraph)),
        "actions": "finitely many" if not _takes_vectors(chosen) else "finitely many, or vectors",
        "what it learns": "action values" if algorithm.return_law is None else "laws of the return",
        "parameters": f"{_weights(chosen):,} on {_SHOWN_ON}",
        "settings": ", ".join(f"{name}={value}" for name, value in chosen.settings.items()) or "the defaults",
        "code": algorithm.init.__module__,
    }


def _takes_vectors(chosen: Agent) -> bool:
    import jax

    from rlbook.deep.algorithm import Spaces
    from rlbook.deep.environments.interface import Continuous
    from rlbook.errors import ParameterError

    spaces = Spaces((3,), Continuous((-1.0,), (1.0,)))
    try:
        jax.eval_shape(partial(chosen.algorithm.init, chosen.config(), spaces), jax.random.key(0))
    except ParameterError:
        return False
    return True


def _weights(chosen: Agent) -> int:
    import jax

    from rlbook.deep.algorithm import Spaces
    from rlbook.deep.environments import make

    world = make(_SHOWN_ON)
    spaces = Spaces(world.observation_shape, world.action_space)
    state = jax.eval_shape(partial(chosen.algorithm.init, chosen.config(), spaces), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(state.network))


def _settings(chosen: Agent) -> list[dict[str, Any]]:
    values = json.loads(chosen.config().canonical_json())
    return [{**control.to_json(), "value": values[control.name]} for control in controls(chosen.algorithm.Config)]


def _settings_blocks(chosen: Agent) -> tuple[Block, ...]:
    values = chosen.config()
    rows = tuple(
        (control.name, str(getattr(values, control.name)), control.range, control.description)
        for control in controls(chosen.algorithm.Config)
    )
    return (Table(("setting", "value", "range", "what it is"), rows),)


def _metrics() -> Paragraph:
    goals = dict.fromkeys(goal.metric for task in TASKS for goal in task.goals)
    told = "; ".join(f"{words(metric)}: {described(metric)}" for metric in goals)
    return Paragraph(f"All numbers are those at the end of training. {told[0].upper()}{told[1:]}.")


def _result_blocks(result: Result) -> list[Block]:
    task, run = result.task, result.run
    heading = Paragraph(f"{task.environment}, {task.steps:,} steps of training.")
    beside = [_peer_row(peer) for peer in result.peers]
    header = ("who", "metric", "mean", "deviation", "95% interval of the mean", "seeds", "steps")
    others = Paragraph(_sources(result))
    if run is None:
        missing = f"Nothing is stored; to measure it, in a clone of the book: {how_to_measure(result.agent, task)}"
        told = f"{result.problem[0].upper()}{result.problem[1:]}." if result.problem else missing
        return [heading, Paragraph(told), *([Table(header, tuple(beside))] if beside else []), others]
    ours = [
        (
            "rlbook",
            words(found.metric),
            number(found.mean),
            number(found.deviation),
            interval(found),
            str(found.seeds),
            f"{run.steps:,}",
        )
        for found in result.found
    ]
    because = result.agent.because.get(task.environment)
    settings = ", ".join(f"{name}={value}" for name, value in result.agent.on_task.get(task.environment, {}).items())
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return [
        heading,
        Table(header, (*ours, *beside)),
        *map(Paragraph, result.sentences()),
        *([Paragraph(f"Here with {settings}: {because}.")] if because else []),
        others,
        Lines(run.command),
        Paragraph(f"Measured on {run.date} in {run.seconds:,.0f} s: {run.machine}; {versions}. {result.agent.tuned}"),
    ]


def _sources(result: Result) -> str:
    if any(goal.metric == "regret" for goal in result.task.goals):
        return "It is held against the exact solution of the same problem."
    if not result.peers:
        return "No published number of the same metric is at hand."
    who: dict[str, list[str]] = {}
    for peer in result.peers:
        note = "; ".join(filter(None, (peer.source, peer.differs)))
        who.setdefault(note, []).append(peer.who)
    notes = [f"{' and '.join(names)}: {note}." for note, names in who.items()]
    return " ".join(["Deviations are over seeds.", *notes])


def _peer_row(peer: Peer) -> tuple[str, ...]:
    numbers = (number(peer.mean), number(peer.deviation), "-", str(peer.seeds), f"{peer.steps:,}")
    return (peer.who, words(peer.metric), *numbers)


def _told(result: Result) -> dict[str, Any]:
    return {
        "environment": result.task.environment,
        "goals": [{"metric": goal.metric, "bound": goal.bound} for goal in result.task.goals],
        "problem": result.problem,
        "run": None if result.run is None else result.run.model_dump(mode="json"),
        "summary": [{**vars(found), "seeds": found.seeds} for found in result.found],
        "sentences": list(result.sentences()),
        "peers": [vars(peer) for peer in result.peers],
    }
