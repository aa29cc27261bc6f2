"""Pages of agents: every agent has one, its numbers are those of code and stored files, and its commands are real."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import gymnasium
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from rlbook.cli import main
from rlbook.cli import training as command_training
from rlbook.deep import algorithms, pages
from rlbook.deep.pages import blocks, results, stored
from rlbook.deep.pages.agents import AGENTS, agent
from rlbook.deep.pages.peers import PEERS
from rlbook.deep.pages.results import Found, judged, reached, result
from rlbook.deep.pages.tasks import TASKS, Goal, task
from rlbook.errors import ParameterError, UnknownNameError

SECTIONS = ["Quick facts", "Equations", "Pseudocode", "Settings", "Results", "Papers"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of that of the stored results."""
    monkeypatch.setattr(stored, "folder", lambda: tmp_path)
    return tmp_path


def invented(name: str = "dqn", environment: str = "CartPole-v1", **changed: Any) -> stored.StoredRun:
    """A stored result that nobody measured."""
    who, one = agent(name), task(environment)
    metrics = [goal.metric for goal in one.goals]
    told: dict[str, Any] = {
        **{"agent": name, "environment": environment, "steps": one.steps, "command": "rlbook train"},
        **{
            "config": json.loads(who.config(environment).canonical_json()),
            "date": "2030-01-01",
            "machine": "an abacus",
        },
        **{"versions": {"rlbook": "9"}, "seconds": 1.0, "seeds": (0, 1, 2), "diverged_at": (-1, -1, -1)},
        "final": {metric: (480.0, 490.0, 500.0) for metric in metrics},
        "step": (10, 20),
        "curves": {metric: {"mean": (None, 2), "low": (None, 1), "high": (None, 3)} for metric in metrics},
    }
    return stored.StoredRun(**{**told, **changed})


def store(folder: Path, run: stored.StoredRun) -> None:
    (folder / stored.file_name(run.agent, run.environment)).write_text(run.text())


def shown(name: str) -> str:
    """The results of a page as Markdown."""
    return pages.page(name).markdown().partition("## Results")[2]


def test_every_algorithm_has_a_page() -> None:
    """Prevents an agent that nobody can look up."""
    assert set(algorithms.names()) <= set(pages.names())
    assert {each.algorithm_name for each in AGENTS} == set(algorithms.names())


@pytest.mark.parametrize("name", pages.names())
def test_a_page_is_whole(name: str) -> None:
    """Prevents a page with a part missing, equations of another agent, and a count of weights that is typed."""
    page = pages.page(name)
    assert [section.title for section in page.sections] == SECTIONS
    assert all(section.blocks for section in page.sections)
    code = page.to_json()
    assert "loss = " in code["equations"] or "delta = " in code["equations"]
    assert code["pseudocode"].count("\n") >= 2
    assert [row["name"] for row in code["settings"]] == list(page.agent.algorithm.Config.model_fields)
    assert page.facts["actions"] == "finitely many"
    assert page.facts["replay"] == ("no" if name in ("pqn", "stream_q") else "yes")
    text = page.markdown()
    assert text == page._repr_markdown_()
    assert text.count("```") % 2 == 0
    assert text.count("\n## ") == len(SECTIONS)
    assert re.search(r"arXiv:\d{4}\.\d{4}", text)


def test_the_count_of_weights_is_right() -> None:
    """Prevents a count with the target network or the optimiser in it."""
    assert pages.page("dqn").facts["parameters"].startswith(f"{4 * 120 + 120 + 120 * 84 + 84 + 84 * 2 + 2:,} on ")


def test_a_variant_shows_its_own_settings() -> None:
    """Prevents a page that lists the defaults of another agent."""
    values = {row["name"]: row["value"] for row in pages.page("prioritised_dqn").to_json()["settings"]}
    assert (values["double"], values["dueling"], values["prioritised"], values["n_step"]) == (True, True, True, 3)


def test_goals_are_those_of_gymnasium() -> None:
    """Prevents a goal that was made easier."""
    for each in TASKS:
        if each.environment in gymnasium.registry:
            assert {goal.bound for goal in each.goals} == {gymnasium.spec(each.environment).reward_threshold}


def test_peers_stand_beside_agents_and_metrics_that_exist() -> None:
    """Prevents a published number that no page shows, or beside another metric."""
    for peer in PEERS:
        assert peer.agent in pages.names()
        assert peer.metric in {goal.metric for goal in task(peer.environment).goals}
        assert peer.source.startswith("https://")


def test_without_stored_results_a_page_says_so(folder: Path) -> None:
    """Prevents an empty table, and a traceback, where nothing has been measured."""
    text = shown("stream_q")
    assert text.count("Nothing is stored; to measure it") == len(TASKS)
    assert "python -m benchmarks quality --agent stream_q --task CartPole-v1 --write" in text
    assert "No published number of the same metric is at hand." in text
    assert not pages.page("stream_q").figure().data


def test_a_stored_result_stands_beside_the_published_one_of_the_same_metric(folder: Path) -> None:
    """Prevents greedy evaluation beside the return of training."""
    store(folder, invented())
    rows = [line.split(" | ") for line in shown("dqn").splitlines() if " | training return | " in line]
    assert [row[0].strip("| ") for row in rows[:3]] == ["rlbook", "CleanRL dqn_jax.py", "CleanRL dqn.py"]
    assert rows[0][2:5] == ["490", "10", "465.2 to 514.8"]
    assert "Mean 490, 95% interval 465.2 to 514.8; 3 of 3 seeds are there." in shown("dqn")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "Invalid JSON"),
        ("[]", "all of it"),
        (invented().text().replace('"seconds": 1.0', '"seconds": "long"'), "seconds"),
        (invented().text().replace('"seeds": [0, 1, 2]', '"seeds": [0, 1]'), "lengths differ"),
        (invented().text().replace('"batch_size": 128', '"batch_size": 32'), "its config is not that of today"),
        (invented("c51").text(), "its agent is not that of today"),
        (invented(steps=10).text(), "its steps is not that of today"),
        (invented(final={}).text(), "its final values is not that of today"),
    ],
    ids=range(8),
)
def test_a_broken_file_is_a_sentence(folder: Path, content: str, part: str) -> None:
    """Prevents a traceback, numbers of another configuration, and a page that is lost with one of its files."""
    (folder / stored.file_name("dqn", "CartPole-v1")).write_text(content)
    text = shown("dqn")
    (said,) = [line for line in text.splitlines() if "cannot be used" in line]
    assert said.startswith("The stored result dqn-CartPole-v1.json cannot be used: ")
    assert part in said
    assert "measure again with: python -m benchmarks quality --agent dqn --task CartPole-v1 --write" in said
    assert "Acrobot-v1" in text


def test_an_unknown_agent_is_a_sentence() -> None:
    with pytest.raises(UnknownNameError, match="agent 'doubledqn' is unknown; did you mean double_dqn"):
        pages.page("doubledqn")


@pytest.mark.parametrize(
    ("values", "at_least", "expected"),
    [
        ((10.0, 10.0, 10.0), True, True),
        ((10.0, 10.0, 10.0), False, True),
        ((9.0, 9.1, 9.2), True, False),
        ((9.0, 9.1, 9.2), False, True),
        ((11.0, 11.1, 11.2), False, False),
        ((5.0, 10.0, 20.0), True, None),
        ((5.0, 10.0, 20.0), False, None),
        ((20.0, 20.0, None), True, False),
        ((None, None, None), True, False),
    ],
)
def test_a_goal_is_reached_by_a_whole_interval_only(values: Any, at_least: bool, expected: bool | None) -> None:
    """Prevents a success by a lucky mean, by the wrong side, or by leaving out the seeds that failed."""
    goal = Goal("training_return", 10.0, at_least, "ten")
    found = Found.of(invented(final={"training_return": values}), "training_return")
    assert reached(goal, found) is expected
    said = judged(goal, found)
    assert ("): reached. " in said) == (expected is True)
    assert ("): not reached" in said and "on average" not in said) == (expected is False)
    assert ("on average" in said) == (expected is None)
    assert "nan" not in said


STORED = [(each, one) for each in AGENTS for one in TASKS if stored.stored_run(each, one) is not None]


@pytest.mark.parametrize(("who", "one"), STORED, ids=[f"{who.name}-{one.environment}" for who, one in STORED])
def test_a_stored_command_is_one_that_runs_the_stored_configuration(
    who: Any, one: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prevents a command beside a result that it would not give again."""
    run = stored.stored_run(who, one)
    assert run is not None
    orders = []

    def kept(order: Any, *, show: bool) -> None:
        orders.append(order)
        raise ParameterError("not now")

    monkeypatch.setattr(command_training, "train", kept)
    words = shlex.split(run.command)
    assert words[0] == "rlbook"
    assert main(words[1:]) == 2
    assert "not now" in capsys.readouterr().err
    (order,) = orders
    config = order.algorithm.Config.parse(dict(text.split("=") for text in order.settings))
    assert json.loads(config.canonical_json()) == run.config
    assert (order.environment, order.steps, order.driver) == (one.environment, one.steps, "compiled")
    assert (order.seeds, list(run.seeds)) == (len(run.seeds), list(range(order.seeds)))
    assert len(run.seeds) >= 10
    assert len(run.step) <= 50


def test_stored_files_belong_to_an_agent_and_a_task() -> None:
    """Prevents a file that no page reads."""
    known = {stored.file_name(each.name, one.environment) for each in AGENTS for one in TASKS}
    assert {path.name for path in stored.folder().iterdir()} <= known


def test_curves_are_drawn_with_their_goals(folder: Path) -> None:
    """Prevents a figure that fails on a task without, or on numbers that are missing."""
    store(folder, invented())
    store(folder, invented(environment="frozenlake-4x4"))
    figure = pages.page("dqn").figure()
    assert {trace.name for trace in figure.data if trace.showlegend} == {
        *("evaluation return", "training return", "root mean square Q-error", "regret", "goal")
    }
    assert {trace.xaxis for trace in figure.data} == {"x", "x2"}
    assert figure.layout.xaxis2.title.text == "steps on frozenlake-4x4"


def test_text_becomes_blocks_and_markdown() -> None:
    """Prevents equations that are wrapped, and tables that a bar breaks."""
    made = blocks.blocks_of("One\ntwo.\n\n    x = 1\n        y\n\nThree.\n\n```text\ncode\n\n  more\n```\n")
    assert made == (
        *(blocks.Paragraph("One two."), blocks.Lines("x = 1\n    y"), blocks.Paragraph("Three.")),
        blocks.Lines("code\n\n  more"),
    )
    text = blocks.markdown("T", (blocks.Section("S", (blocks.Table(("a", "b"), (("c|d", "e"),)), *made)),))
    assert "| c\\|d | e |" in text
    assert "```text\nx = 1\n    y\n```" in text


def test_every_result_is_judged_or_explained() -> None:
    """Prevents a result without a sentence."""
    for each in AGENTS:
        for found in results.results(each):
            assert found.problem == ""
            assert len(found.sentences()) == (0 if found.run is None else len(found.task.goals))
    assert result(agent("dqn"), task("CartPole-v1")).peers
