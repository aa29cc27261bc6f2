"""The `rlbook` command: the composition root, which alone may import every layer, and does so inside its commands.

Exit codes: 0 fine, 1 a checked claim does not hold (or a lab of `atlas --run` broke, or a seed of `train` diverged), 2
bad input, with a sentence on standard error; 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rlbook import __version__
from rlbook.cli import terminal
from rlbook.cli.completion import (
    complete_agent,
    complete_agent_setting,
    complete_criterion,
    complete_lab,
    complete_mdp,
    complete_method,
    complete_setting,
    complete_world,
)
from rlbook.cli.terminal import note, say, say_json

app = typer.Typer(
    name="rlbook",
    help="A reinforcement-learning book whose every claim runs.",
    # Rich takes as long to load as everything else that `--help` needs.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _folder(text: str | Path) -> Path:
    """The value of a folder option; an empty one would silently mean the current folder."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; name a folder, or . for the current one")
    return Path(text)


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the given arguments, or those of the process; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) > 1 and given[0] in ("--show-completion", "--install-completion"):
        # Typer's only switch between asking the terminal which shell it is and taking the one that is named.
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    return terminal.ending(lambda: app(args=given, prog_name="rlbook"))


def solver_names() -> list[str]:
    """Names that `rlbook solve --method` takes."""
    from rlbook.tabular.solving import METHODS

    return ["auto", *METHODS]


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"rlbook {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A reinforcement-learning book whose every claim runs."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the labs, the environments and the agents."""
    from rlbook.cli import listing, training
    from rlbook.environments import catalogue
    from rlbook.registry import labs

    content = listing.describe(labs().values(), catalogue(), training.agent_names())
    if json:
        say_json(content)
    else:
        say(listing.text(content))


@app.command()
def solve(
    mdp: Annotated[
        str,
        typer.Argument(
            metavar="MDP",
            help="An environment, like taxi or 'garnet(states=200)', or an .npz file.",
            autocompletion=complete_mdp,
        ),
    ],
    method: Annotated[str, typer.Option(help="A solver, or auto.", autocompletion=complete_method)] = "auto",
    discount: Annotated[
        float | None, typer.Option(help="Weight of the next step's value, in [0, 1]; default: the MDP's own.")
    ] = None,
    tol: Annotated[float | None, typer.Option(help="Certified gap to reach, in units of return.")] = None,
    criterion: Annotated[
        str,
        typer.Option(
            metavar="[discounted|average|finite]",
            help="What to maximise: discounted values, the average reward per step, or those of --horizon steps.",
            autocompletion=complete_criterion,
        ),
    ] = "discounted",
    horizon: Annotated[
        int | None, typer.Option(metavar="N", help="With --criterion finite: how many decisions there are.")
    ] = None,
    json: Json = False,
) -> None:
    """Solve an MDP to certified bounds."""
    from rlbook.cli import criteria, listing
    from rlbook.cli.mdp_naming import open_mdp

    criteria.check_options(criterion, method, tol, horizon)
    summary = terminal.interruptible(
        lambda context: criteria.solve_for(
            open_mdp(mdp, discount), criterion, method=method, tol=tol, horizon=horizon, cancel=context.cancel_flag
        ),
        "solving",
        "interrupted",
        measured=False,
    )
    if json:
        say_json(summary)
    else:
        say(listing.solution_text(summary))


@app.command()
def run(
    lab: Annotated[
        str, typer.Argument(metavar="LAB", help="A lab, as rlbook list shows it.", autocompletion=complete_lab)
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set a parameter; may be given several times.",
            autocompletion=complete_setting,
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds; default: the lab's verdict budget.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only the few seeds that a slider shows.")] = False,
    json: Json = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=_folder, help="Save page, data and verdict in this folder."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when the claim does not hold.")] = False,
) -> None:
    """Run a lab and print its verdict."""
    from rlbook.cli import listing, saving
    from rlbook.cli.lab_runs import parameters_from, run_and_judge
    from rlbook.registry import find_lab

    found = find_lab(lab)
    parameters = parameters_from(found, settings or [])
    if preview and seeds is not None:
        terminal.fail(f"--seeds {seeds} and --preview exclude each other; a preview has {found.preview_seeds} seeds")
    if save is not None:
        saving.prepare(save)
    outcome = terminal.interruptible(
        lambda context: run_and_judge(
            found, parameters, seeds, preview=preview, with_result=save is not None, context=context
        ),
        found.name,
        "interrupted" if preview else "interrupted; finished seeds are kept",
    )
    summary = outcome.to_json()
    if save is not None and outcome.result is not None:
        files = saving.save_run(found, outcome.result, outcome.verdict, summary, save)
        summary["files"] = [str(path) for path in files]
    if json:
        say_json(summary)
    else:
        say(listing.outcome_text(found, outcome, summary.get("files", ())))
    if check and outcome.verdict.status != "holds":
        raise typer.Exit(terminal.CLAIM_FAILS)


@app.command()
def train(
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="An agent: dqn, double_dqn, c51, ...", autocompletion=complete_agent)
    ],
    env: Annotated[
        str, typer.Option(help="An environment, like CartPole-v1 or 'DeepSea(size=8)'.", autocompletion=complete_world)
    ] = "CartPole-v1",
    seeds: Annotated[int, typer.Option(help="How many seeds; they are 0, 1, ...")] = 8,
    steps: Annotated[int, typer.Option(help="Steps of training under each seed.")] = 50_000,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set what --settings lists; may be given several times.",
            autocompletion=complete_agent_setting,
        ),
    ] = None,
    driver: Annotated[
        str, typer.Option(metavar="[compiled|gym]", help="Environments in JAX, or any of Gymnasium's.")
    ] = "compiled",
    evaluations: Annotated[int, typer.Option(help="How often the greedy policy is tried.")] = 20,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=_folder, help="Keep policies and checkpoints here, and go on from them."),
    ] = None,
    json: Json = False,
    show_settings: Annotated[bool, typer.Option("--settings", help="List the agent's settings and exit.")] = False,
) -> None:
    """Train a deep agent under several seeds; exits with 1 if one of them diverged."""
    from rlbook.cli import training
    from rlbook.parameters import controls

    chosen, preset = training.named_agent(agent)
    if show_settings:
        settings_known = controls(chosen.Config)
        if json:
            say_json([control.to_json() for control in settings_known])
        else:
            say(training.settings_text(settings_known))
        return
    order = training.Order(chosen, env, seeds, steps, (*preset, *(settings or ())), driver, evaluations, folder)
    outcome = training.train(order, show=not json)
    if json:
        say_json(outcome.to_json())
    else:
        say(outcome.text())
    if outcome.sentence:
        note(outcome.sentence)
        raise typer.Exit(terminal.INTERRUPTED)
    if outcome.diverged:
        raise typer.Exit(terminal.CLAIM_FAILS)


@app.command()
def agent(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[AGENT]", help="An agent: dqn, double_dqn, c51, ...", autocompletion=complete_agent),
    ] = None,
    json: Json = False,
) -> None:
    """Show what is known of a deep agent: equations, settings, measured results; without a name, list the agents."""
    from rlbook.cli import agent_pages
    from rlbook.deep.pages import page
    from rlbook.deep.pages.agents import AGENTS

    if name is None:
        if json:
            say_json([{"name": each.name, "title": each.title} for each in AGENTS])
        else:
            say(agent_pages.list_text(AGENTS))
        return
    shown = page(name)
    if json:
        say_json(shown.to_json())
    else:
        say(agent_pages.text(shown))


@app.command()
def lab(
    jupyter: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="JupyterLab's own arguments, after --.")
    ] = None,
    dir: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            parser=_folder,
            help="Your folder for the chapters; missing ones are copied into it.",
        ),
    ] = Path("~/rlbook-chapters"),
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; the next free one when in use.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser where there is one.")] = True,
) -> None:
    """Open the book in JupyterLab."""
    from rlbook import chapters
    from rlbook.cli import chapter_copies, launching

    extra = jupyter or []
    if extra and not extra[0].startswith("-"):
        terminal.fail(f"argument {extra[0]!r} is not one of `rlbook lab`; to run a lab here: rlbook run {extra[0]}")
    folder = dir.expanduser()
    if not chapter_copies.is_source(folder):
        copies = chapter_copies.copy_chapters(Path(next(iter(chapters.__path__))), folder)
        for name in copies.updated:
            note(f"updated {name}")
        for name in copies.outdated:
            note(f"kept your own {name}; the book has a newer one: rename yours and start again to get it")
    raise typer.Exit(launching.serve(folder, port=port, browser=browser, extra=extra))


@app.command()
def atlas(
    json: Json = False,
    run: Annotated[bool, typer.Option("--run", help="First run the canonical labs that have no verdict yet.")] = False,
    chapter: Annotated[int | None, typer.Option(help="With --run: only the labs of this chapter.")] = None,
    jobs: Annotated[int | None, typer.Option(help="With --run: labs at a time; default: one per core.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show all papers, also those without labs.")] = False,
) -> None:
    """Show what the book has found about each paper."""
    from rlbook.atlas import atlas as atlas_rows
    from rlbook.cli import listing

    if not run and (chapter is not None or jobs is not None):
        terminal.fail("--chapter and --jobs say what to run; add --run")
    broken = _judge_canonical(chapter, jobs) if run else 0
    rows = atlas_rows()
    if json:
        say_json([row.to_json() for row in rows])
    else:
        say(listing.atlas_text(rows, every))
    if broken:
        raise typer.Exit(terminal.CLAIM_FAILS)


def _judge_canonical(chapter: int | None, jobs: int | None) -> int:
    """Run what has no verdict yet, with a line per lab; return how many could not be finished."""
    from rlbook.atlas import Outcome, run_atlas
    from rlbook.cli import listing

    with terminal.progress_bar("atlas") as show:

        def ended(done: int, total: int, outcome: Outcome) -> None:
            show(done / total, outcome.lab)
            if not outcome.reused:
                note(listing.canonical_text(outcome))

        try:
            outcomes = run_atlas(chapter=chapter, workers=jobs, progress=ended)
        except KeyboardInterrupt:
            note("interrupted; finished verdicts and seeds are kept")
            raise typer.Exit(terminal.INTERRUPTED) from None
    return sum(outcome.error is not None for outcome in outcomes)


@app.command()
def warm(
    jobs: Annotated[int | None, typer.Option(help="Processes that compile; default: one per core.")] = None,
) -> None:
    """Compile all kernels now, and what labs run in JAX, so that the first slider is not slow."""
    from rlbook import chapters, tabular
    from rlbook.cli.warming import warm as warm_kernels

    with terminal.progress_bar("warm") as show:
        warmed = warm_kernels((tabular, chapters), show, jobs)
    programs = f", programs of {warmed.labs} labs compiled" if warmed.labs else ""
    say(f"{warmed.kernels} kernels ready{programs} in {warmed.seconds:.1f} s, kept in {warmed.folder.parent.parent}")
