"""The machinery of the race: instances, limits, ratios, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dynamic_programming import Entry, _ratio, _row
from benchmarks.instances import INSTANCES
from benchmarks.memory import _measure, goal
from benchmarks.peers import PEERS, DoesNotApply, Solver, ours
from benchmarks.report import Row
from benchmarks.trial import Limits, Outcome, attempt, in_process
from rlbook.environments import find, make
from rlbook.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[2]
MDP = make("chain")
QUICK = Limits(build=20.0, call=20.0, compiling=0.0, repetitions=2)

# The children here run no kernel and no JAX, which is what makes forking from a process with threads a risk. Python
# warns of it, and so does JAX where a test before these has used it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning"),
]


class Fake:
    """A solver that sleeps, fails or answers."""

    def __init__(self, seconds=0.0, error=None, memory=0, dies=False):
        self.seconds, self.error, self.memory, self.dies = seconds, error, memory, dies

    def __call__(self, mdp, tol):
        return self

    def ready(self):
        pass

    def solve(self):
        if self.error:
            raise self.error
        if self.dies:
            os._exit(3)
        self.kept = np.ones(self.memory // 8)
        time.sleep(self.seconds)

    def values(self):
        return np.zeros(5)

    def detail(self):
        return "fine"


def fake(**options) -> Solver:
    return Solver("Fake", "method", "rlbook", Fake(**options))


@pytest.mark.parametrize("name", INSTANCES)
def test_every_instance_is_made_and_its_full_size_is_allowed(name):
    """Prevents a race that ends after half an hour with a parameter that is out of bounds."""
    instance = INSTANCES[name]
    assert find(instance.environment).model.parse(instance.parameters)
    try:
        mdp = instance.build(quick=True)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert mdp.n_states <= 2000
    assert mdp.discount == instance.parameters["discount"]


def test_the_race_is_that_of_the_issue():
    """Prevents an instance or a peer from falling out of the race."""
    assert set(INSTANCES) == {
        "random-sparse", "grid-0.999", "grid-0.9999", "icu-sepsis", "taxi", "garnet-dense", "inventory",
        "queue-network", "slow-chain",
    }  # fmt: skip
    assert {solver.library for solver in PEERS} == {"QuantEcon.py", "mdpsolver", "mdptoolbox"}
    assert len({solver.who for solver in PEERS}) == len(PEERS)


def test_a_solver_that_answers():
    outcome = attempt(fake(seconds=0.01), MDP, 1e-3, QUICK)
    assert outcome.failure == ""
    assert len(outcome.seconds) == 2
    assert outcome.median is not None
    assert outcome.median >= 0.01
    assert outcome.values is not None
    assert outcome.values.tolist() == [0.0] * 5
    assert outcome.detail == "fine"


@pytest.mark.parametrize(
    ("options", "failure"),
    [
        ({"error": ValueError("three\nlines\nof text")}, "ValueError: three"),
        ({"error": DoesNotApply("needs more")}, "needs more"),
        ({"error": MemoryError()}, "out of memory"),
        ({"memory": 10**15}, "out of memory"),
        ({"dies": True}, "the process ended with code 3"),
        ({"error": SystemExit("Error: no")}, "SystemExit: Error: no"),
    ],
)
def test_a_solver_that_fails_is_shown_so(options, failure):
    """Prevents one peer's failure from ending the race."""
    outcome = attempt(fake(**options), MDP, 1e-3, QUICK)
    assert outcome.failure == failure
    assert (outcome.median, outcome.values) == (None, None)


@pytest.mark.serial
def test_a_solver_that_takes_too_long_is_stopped():
    """Prevents a race that never ends."""
    began = time.perf_counter()
    outcome = attempt(fake(seconds=60.0), MDP, 1e-3, Limits(call=0.3, compiling=0.0, repetitions=1))
    assert time.perf_counter() - began < 10
    assert outcome.failure == "a call took more than 0 s"
    assert outcome.at_least == 0.3


def test_a_peer_that_is_not_installed_is_shown_so():
    """Prevents `make bench` from failing where a peer has no wheel."""
    missing = Solver("Missing", "method", "surely-not-installed", Fake())
    assert attempt(missing, MDP, 1e-3, QUICK).failure == "not installed"


def test_who_is_not_accurate_enough_does_not_count():
    """Prevents a peer from winning by stopping early."""
    truth, instance = Outcome(values=np.zeros(5)), INSTANCES["taxi"]
    wrong = Outcome(seconds=[1.0, 1.0], values=np.full(5, 2e-3))
    row = _row(instance, fake(), wrong, truth, QUICK)
    assert row.median is None
    assert "error 2e-03" in row.remark
    unknown = Outcome(seconds=[1.0, 1.0], values=np.full(5, np.nan))
    assert _row(instance, fake(), unknown, truth, QUICK).median is None
    right = Outcome(seconds=[1.0], values=np.full(5, 9e-4), detail="7 iterations")
    row = _row(instance, fake(), right, truth, QUICK)
    assert (row.median, row.remark) == (1.0, "7 iterations, error 9e-04, 1 repetition")


def entry(solver: Solver, median: float | None, stopped_at: float = 0.0) -> Entry:
    return Entry(solver, Row("taxi", solver.who, median, "s"), stopped_at)


def test_the_ratio_is_that_of_the_best_peer():
    """Prevents a ratio against a peer that failed, or one that hides that every peer was stopped."""
    mine, instance = entry(ours("auto"), 2.0), INSTANCES["slow-chain"]
    other = entry(ours("value-iteration"), 0.1)
    ratio = _ratio(instance, [mine, other, entry(fake(), 30.0), entry(fake(), 8.0), entry(fake(), None, 60.0)])
    assert ratio is not None
    assert (ratio.median, ratio.goal, ratio.remark) == (4.0, 5.0, "best peer: Fake method")
    ratio = _ratio(instance, [mine, entry(fake(), None), entry(fake(), None, 60.0)])
    assert ratio is not None
    assert ratio.median == 30.0
    assert ratio.remark.startswith("at least")
    assert _ratio(instance, [mine, other]) is None
    ratio = _ratio(instance, [entry(ours("auto"), None), entry(fake(), 1.0)])
    assert ratio is not None
    assert ratio.median is None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's record of the peak of memory")
def test_peak_memory_is_that_of_the_second_call():
    """Prevents a measurement that misses what a method takes, or counts what its compilers took."""
    failure, extra = in_process(
        lambda send: _measure(fake(memory=80_000_000), MDP, send), [("a call", 20.0)] * 2, lambda _: True, QUICK
    )
    assert failure == ""
    assert 75e6 < extra < 100e6


def test_the_memory_goal_counts_vectors_and_a_policys_rows():
    """Prevents a goal that no method could reach, or that any would."""
    mdp = make("garnet", states=1000, actions=4, branching=8)
    assert goal(mdp) == pytest.approx(1.3 + 1000 * (8 * 12 + 24 + 64) / mdp.nbytes)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_command_races():
    """Prevents a benchmark that no longer starts, found on the day of the release."""
    done = command("dynamic_programming", "--quick", "--no-peers", "--instance", "taxi", "--repetitions", "1")
    assert done.returncode == 0, done.stderr
    assert "taxi, small" in done.stdout
    assert "rlbook solve" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_command_refuses_what_it_does_not_know():
    """Prevents a typing error from starting all benchmarks, or from being ignored."""
    done = command("dynamic-programming")
    assert done.returncode == 2
    assert "known: imports, dynamic_programming" in done.stderr
    assert command("imports", "--quick").returncode == 2
