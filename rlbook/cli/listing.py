"""What the commands show to people: labs, environments, solutions, verdicts and the atlas as plain text."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from rlbook.cli.terminal import table

if TYPE_CHECKING:
    from rlbook.atlas import Outcome, Row
    from rlbook.cli.lab_runs import LabRun
    from rlbook.environments import Environment
    from rlbook.lab import Lab

LAB_KEYS = ("name", "claim", "chapter", "papers", "parameters")


def describe(
    labs: Iterable[Lab[Any, Any]], environments: Iterable[Environment], agents: Iterable[str] = ()
) -> dict[str, Any]:
    """Plain values of all labs and environments, and names of agents, as `rlbook list --json` prints them."""
    described = [lab.describe() for lab in labs]
    return {
        "labs": [{key: lab[key] for key in LAB_KEYS} for lab in described],
        "environments": [entry.describe() for entry in environments],
        "agents": list(agents),
    }


def text(content: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = ["Labs (rlbook run LAB)", ""]
    for lab in content["labs"]:
        names = ", ".join(f"{control['name']}={control['default']}" for control in lab["parameters"])
        lines += [
            f"  {lab['name']}  (chapter {lab['chapter']:02d})",
            _wrapped(lab["claim"]),
            _wrapped(f"parameters: {names}"),
            "",
        ]
    rows = [(entry["name"], entry["states"], entry["actions"], entry["summary"]) for entry in content["environments"]]
    shown = table(("name", "states", "actions", "what it is"), rows)
    lines += ["Environments (rlbook solve MDP)", "", shown]
    if content["agents"]:
        lines += ["", "Agents (rlbook train AGENT)", "", f"  {', '.join(content['agents'])}"]
    return "\n".join(lines)


def solution_text(solution: Mapping[str, Any]) -> str:
    """A solution of any criterion, from its JSON values."""
    criterion = solution["criterion"]
    what = "gain" if criterion == "average" else "value"
    work = f"{solution['iterations']} iterations, " if "iterations" in solution else ""
    facts = [
        (f"{what} at start", f"{solution[f'{what}_at_start']:.10g}" + (" per step" if what == "gain" else "")),
        # In full: rounded bounds would certify nothing.
        ("certified within", f"[{solution['lower']!r}, {solution['upper']!r}]"),
        ("largest gap", f"{solution['gap']:.3g} over all states"),
        ("method", f"{solution['method']}, {work}{solution['seconds']:.3g} s"),
    ]
    if solution.get("chosen_because"):
        facts.append(("chosen because", solution["chosen_because"]))
    if "structure" in solution:
        facts.append(("structure", solution["structure"]))
    if "reason" in solution:
        facts.append(("stopped", solution["reason"]))
    if "optimal_actions" in solution:
        counts = solution["optimal_actions"]
        facts.append(
            (
                "actions",
                f"{counts['optimal']} proven optimal, {counts['suboptimal']} proven suboptimal, "
                f"{counts['undecided']} undecided at this gap",
            )
        )
    rule = "the discount plays no part" if criterion == "average" else f"discount {solution['discount']:.12g}"
    if criterion == "finite":
        rule += f", {solution['horizon']} decision{'s' if solution['horizon'] != 1 else ''}"
    size = f"{solution['states']} states, {solution['actions']} actions, {rule}"
    return "\n".join([f"{solution['mdp'] or 'MDP'}: {size}", *(f"  {name:<18}{value}" for name, value in facts)])


def outcome_text(lab: Lab[Any, Any], run: LabRun, files: Sequence[str]) -> str:
    """A lab's claim, what it was held against, and the verdict."""
    lines = [
        f"{lab.name}  (chapter {lab.chapter:02d})",
        _wrapped(lab.claim),
        _wrapped(f"source: {lab.source}"),
        _wrapped(f"parameters: {_settings(run.parameters.model_dump(mode='json'))}"),
        "",
        run.verdict.sentence(),
        f"({run.verdict.interval_kind}; {run.seeds} seed{'s' if run.seeds != 1 else ''}, {run.seconds:.3g} s)",
    ]
    return "\n".join([*lines, *(f"saved {path}" for path in files)])


def canonical_text(outcome: Outcome) -> str:
    """One line on one canonical parameter set of a lab."""
    what = f"{outcome.lab} ({_settings(outcome.parameters.model_dump(mode='json'))})"
    if outcome.verdict is None:
        return f"{what}: could not be finished: {outcome.error}"
    return f"{what}: {outcome.verdict.sentence()}"


def atlas_text(rows: Sequence[Row], every: bool) -> str:
    """How many papers are in which state, then the papers that have labs, or all of them."""
    from rlbook.atlas import State

    counts = Counter(row.state for row in rows)
    states = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    shown = [row for row in rows if every or row.labs]
    if not shown:
        return f"{len(rows)} papers: {states}"
    cells = [(row.state, row.tier, row.slug, ", ".join(row.labs), row.title) for row in shown]
    return f"{len(rows)} papers: {states}\n\n" + table(("state", "tier", "slug", "labs", "title"), cells)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _wrapped(paragraph: str) -> str:
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    return textwrap.fill(
        paragraph,
        width,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
