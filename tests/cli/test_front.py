"""`rlbook` itself: help, version, completion, pipes, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import pytest

from rlbook import __version__
from rlbook.cli import terminal
from rlbook.errors import RlbookError

from .conftest import Command

COMMANDS = ("list", "solve", "run", "lab", "atlas", "warm")
HEAVY = {"numpy", "numba", "pydantic", "xarray", "plotly", "scipy", "gymnasium", "rich", "jupyterlab", "tqdm"}


def test_help_names_every_command(process: Command) -> None:
    """Prevents: a command that nobody finds."""
    ended = process("--help")
    assert (ended.code, ended.err) == (0, "")
    assert all(f"  {name} " in ended.out for name in COMMANDS)


def test_without_a_command_the_help_is_shown(rlbook: Command) -> None:
    """Prevents: an error for who only wants to look."""
    ended = rlbook()
    assert ended.code == 0
    assert ended.out.startswith("Usage: rlbook")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(rlbook: Command, name: str) -> None:
    """Prevents: an option without a word on what it does."""
    ended = rlbook(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: rlbook {name}" in ended.out


def test_help_loads_nothing_heavy() -> None:
    """Prevents: a second of imports before the first word of the help."""
    code = (
        "import json, sys, rlbook.cli as cli\nassert cli.main(['--help']) == 0\n"
        "print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_version(rlbook: Command) -> None:
    """Prevents: a version that differs from the package's."""
    assert rlbook("--version").out == f"rlbook {__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["run"], ["solve", "taxi", "--tol", "small"], ["list", "--no"]])
def test_wrong_usage_exits_with_2(rlbook: Command, arguments: list[str]) -> None:
    """Prevents: wrong usage that looks like a claim that fails."""
    ended = rlbook(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_shown_for_a_named_shell(process: Command, shell: str) -> None:
    """Prevents: completion that works only where the shell can be guessed."""
    ended = process("--show-completion", shell)
    assert ended.code == 0
    assert "_RLBOOK_COMPLETE" in ended.out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rlbook so", ["solve"]),
        ("rlbook solve tax", ["taxi"]),
        ("rlbook solve taxi --method val", ["value-iteration"]),
        ("rlbook run averages", ["averages-converge"]),
        ("rlbook run averages-converge --set epi", ["episodes="]),
        ("rlbook run no-such-lab --set epi", []),
    ],
)
def test_tab_offers_commands_and_names(process: Command, line: str, offered: list[str]) -> None:
    """Prevents: completion that offers nothing, or a traceback in the middle of a line."""
    place = str(len(line.split()) - 1)
    ended = process(COMP_WORDS=line, COMP_CWORD=place, _RLBOOK_COMPLETE="complete_bash")
    assert ended.out.split() == offered
    assert ended.err == ""


def test_a_reader_who_stops_reading_is_no_error() -> None:
    """Prevents: a traceback after `rlbook list | head -1`."""
    command = [sys.executable, "-m", "rlbook", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == terminal.READER_GONE


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RlbookError("size is 0\nbut must be more"), 2, "rlbook: error: size is 0 but must be more\n"),
        (FileNotFoundError(2, "No such file", "a.npz"), 2, "rlbook: error: 'a.npz' cannot be used: No such file\n"),
        (MemoryError(), 2, "rlbook: error: too little memory"),
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("a defect"), 70, "ZeroDivisionError: a defect"),
    ],
)
def test_every_end_has_its_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents: a defect that exits like a claim that fails, or bad input that prints a traceback."""

    def command() -> None:
        raise error

    assert terminal.ending(command) == code
    printed = capsys.readouterr().err
    assert said in printed
    assert ("Traceback" in printed) == (code == 70)


def test_json_stays_valid_with_infinities(capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: `Infinity` without quotes, which is no JSON."""
    terminal.say_json({"low": float("-inf"), "seen": [1.5, float("nan")], "high": (float("inf"),)})
    assert json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word)) == {
        "low": "-Infinity",
        "seen": [1.5, "NaN"],
        "high": ["Infinity"],
    }


def test_own_warnings_take_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: a path and a line of source before the sentence that matters."""
    from rlbook.store import StoreWarning

    def command() -> None:
        for category in (StoreWarning, FutureWarning):
            print(warnings.formatwarning("a file was damaged", category, "here.py", 3, "line()"), end="")

    usual = warnings.formatwarning
    assert terminal.ending(command) == 0
    own, *foreign = capsys.readouterr().out.splitlines()
    assert own == "rlbook: warning: a file was damaged"
    assert foreign[0] == "here.py:3: FutureWarning: a file was damaged"
    assert warnings.formatwarning is usual
