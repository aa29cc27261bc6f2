"""`rlbook agent`."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

from rlbook.deep.pages import names

from .conftest import Command


def test_a_page_is_shown_as_text_and_as_json(rlbook: Command) -> None:
    """Prevents two pages that say different things."""
    shown, told = rlbook("agent", "double_dqn"), rlbook("agent", "double_dqn", "--json").json
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("Double DQN (double_dqn)\n")
    for title in ("QUICK FACTS", "EQUATIONS", "PSEUDOCODE", "SETTINGS", "RESULTS", "PAPERS"):
        assert f"\n{title}\n" in shown.out
    assert (told["name"], told["title"]) == ("double_dqn", "Double DQN")
    for sentence in (sentence for result in told["results"] for sentence in result["sentences"]):
        assert sentence in " ".join(shown.out.split())
    for row in told["settings"]:
        assert f"\n{row['name']} " in shown.out


def test_without_a_name_agents_are_listed(rlbook: Command) -> None:
    assert [line.split()[0] for line in rlbook("agent").out.splitlines()[1:]] == list(names())
    assert [row["name"] for row in rlbook("agent", "--json").json] == list(names())


def test_an_unknown_agent_is_a_sentence(rlbook: Command) -> None:
    assert "agent 'dqm' is unknown; did you mean dqn" in rlbook("agent", "dqm").sentence
