"""`rlbook list` and `rlbook solve`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlbook.cli.criteria import solve_for
from rlbook.environments import make
from rlbook.errors import RlbookError
from rlbook.mdp_files import load

from .conftest import Command

SOLVE_KEYS = [
    *("criterion", "mdp", "method", "chosen_because", "discount", "states", "actions", "value_at_start"),
    *("lower", "upper", "gap", "iterations", "seconds", "converged", "reason", "optimal_actions"),
]
AVERAGE_KEYS = [
    *("criterion", "mdp", "method", "structure", "bias", "states", "actions", "gain_at_start", "lower", "upper", "gap"),
    *("iterations", "seconds", "converged", "reason", "optimal_actions"),
]
FINITE_KEYS = [
    *("criterion", "mdp", "method", "horizon", "discount", "states", "actions", "value_at_start", "lower", "upper"),
    *("gap", "iterations", "seconds", "converged", "reason"),
]


def test_list_as_json_has_the_documented_keys(rlbook: Command) -> None:
    """Prevents: programs that read the list breaking on a renamed key."""
    content = rlbook("list", "--json").json
    assert list(content) == ["labs", "environments", "agents"]
    assert all(list(lab) == ["name", "claim", "chapter", "papers", "parameters"] for lab in content["labs"])
    assert all(list(entry) == ["name", "states", "actions", "summary"] for entry in content["environments"])
    assert "value-iteration-contraction" in [lab["name"] for lab in content["labs"]]
    assert {"name": "taxi", "states": 500, "actions": 6} in [
        {key: entry[key] for key in ("name", "states", "actions")} for entry in content["environments"]
    ]


def test_list_for_people_names_labs_claims_and_environments(rlbook: Command) -> None:
    """Prevents: a list that leaves out what to type next."""
    shown = rlbook("list").out
    assert "value-iteration-contraction  (chapter 02)" in shown
    assert "discount=0.9" in shown
    assert "riverswim" in shown


def test_solve_as_json_has_the_documented_keys_and_bounds_that_hold(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: a renamed key, or bounds that do not hold the known value 0.64 of the gambler with 75."""
    gambler = make("gambler")
    gambler.replace(start=np.eye(gambler.n_states)[75]).save(tmp_path / "with-75.npz")
    ended = rlbook("solve", str(tmp_path / "with-75.npz"), "--json", "--tol", "1e-9", "--discount", "1")
    assert ended.code == 0
    assert list(ended.json) == SOLVE_KEYS
    assert ended.json["lower"] <= 0.64 <= ended.json["upper"]
    assert abs(ended.json["value_at_start"] - 0.64) <= ended.json["gap"] <= 1e-9
    solved = rlbook("solve", "frozenlake-4x4", "--discount", "0.5", "--method", "value-iteration", "--json").json
    assert (solved["discount"], solved["method"], solved["states"]) == (0.5, "value-iteration", 16)
    assert solved["lower"] <= solved["value_at_start"] <= solved["upper"]
    assert solved["converged"] is True


def test_solve_for_people_shows_the_certified_interval_and_why_it_stopped(rlbook: Command) -> None:
    """Prevents: a number without what it is worth."""
    shown = rlbook("solve", "garnet(states=20, seed=4)").out
    assert "20 states" in shown
    assert "certified within  [" in shown
    assert "the certified gap reached the tolerance" in shown


def test_solve_counts_actions_whose_standing_is_proven(rlbook: Command) -> None:
    """Prevents: ties sold as one optimal policy, and counts that do not add up to the actions there are."""
    counts = rlbook("solve", "gambler", "--json").json["optimal_actions"]
    assert sum(counts.values()) == make("gambler").n_pairs
    assert counts["undecided"] > 100
    assert counts["optimal"] > 0
    shown = rlbook("solve", "gambler").out
    assert f"{counts['suboptimal']} proven suboptimal, {counts['undecided']} undecided at this gap" in shown


def test_solve_says_why_it_took_a_method_it_chose(rlbook: Command) -> None:
    """Prevents: a choice that nobody can check, and a reason where the reader chose."""
    solved = rlbook("solve", "taxi", "--json").json
    shown = rlbook("solve", "taxi").out
    if solved["chosen_because"]:
        assert f"chosen because    {solved['chosen_because']}" in shown
    asked = rlbook("solve", "taxi", "--method", "value-iteration")
    assert "chosen because" not in asked.out


def test_the_average_reward_of_a_ring_is_what_its_steps_pay(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: a criterion that is read and not used. Three states in a ring, of which one pays 3: 1 per step."""
    path = tmp_path / "ring.npz"
    np.savez(path, P=np.roll(np.eye(3), 1, axis=1)[:, None, :], R=np.array([[3.0], [0.0], [0.0]]))
    solved = rlbook("solve", str(path), "--discount", "0.5", "--criterion", "average", "--json").json
    assert list(solved) == AVERAGE_KEYS
    assert solved["lower"] <= 1.0 <= solved["upper"]
    assert solved["gap"] < 1e-3
    shown = rlbook("solve", str(path), "--discount", "0.5", "--criterion", "average").out
    assert "gain at start" in shown
    assert "the discount plays no part" in shown
    assert "3 proven optimal" in shown


def test_a_finite_horizon_adds_up_its_steps(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: one decision too many or too few. A state that pays 1 for ever: 1 + 0.5 + 0.25 in three decisions."""
    path = tmp_path / "payer.npz"
    np.savez(path, P=np.ones((1, 1, 1)), R=np.ones((1, 1)))
    ended = rlbook("solve", str(path), "--discount", "0.5", "--criterion", "finite", "--horizon", "3", "--json")
    assert list(ended.json) == FINITE_KEYS
    assert ended.json["lower"] <= 1.75 <= ended.json["upper"]
    assert ended.json["horizon"] == ended.json["iterations"] == 3
    assert ended.json["converged"]
    shown = rlbook("solve", str(path), "--discount", "0.5", "--criterion", "finite", "--horizon", "3").out
    assert "discount 0.5, 3 decisions" in shown


def test_a_finite_criterion_never_falls_back_on_another() -> None:
    """Prevents: a caller of `solve_for` who forgets the horizon, or misspells, and gets discounted values."""
    common = {"method": "auto", "tol": None, "horizon": None, "cancel": np.zeros(1, dtype=np.uint8)}
    with pytest.raises(RlbookError, match="horizon is None, but the criterion is finite"):
        solve_for(make("chain"), "finite", **common)
    with pytest.raises(RlbookError, match="did you mean finite"):
        solve_for(make("chain"), "finit", **common)


def test_solve_reads_files(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: a saved MDP that solves to something else than the environment it was made of."""
    make("riverswim").save(tmp_path / "own.npz")
    own = rlbook("solve", str(tmp_path / "own.npz"), "--json").json
    assert own["value_at_start"] == rlbook("solve", "riverswim", "--json").json["value_at_start"]


def test_solve_reads_plain_arrays_with_a_discount(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: `--discount` ignored for files."""
    path = tmp_path / "plain.npz"
    np.savez(path, P=np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), R=np.array([[0.0], [1.0]]))
    assert "has no discount" in rlbook("solve", str(path)).sentence
    solved = rlbook("solve", str(path), "--discount", "0.5", "--json").json
    assert solved["discount"] == 0.5
    assert abs(solved["value_at_start"] - 1.5) < 1e-6 or solved["lower"] <= 1.5 <= solved["upper"]


def test_a_name_of_the_catalogue_wins_over_a_folder_of_that_name(
    rlbook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: `rlbook solve chain` failing since some folder is called chain."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chain").mkdir()
    assert rlbook("solve", "chain", "--json").json["states"] == 5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([""], ["MDP is empty", "rlbook list", ".npz"]),
        (["  "], ["MDP is empty", "rlbook list", ".npz"]),
        (["taxii"], ["'taxii'", "neither a file that exists nor an environment", "did you mean taxi"]),
        (["missing/taxi.npz"], ["neither a file that exists nor an environment", "taxi"]),
        (["garnet(states=0)"], ["garnet", "states", "0"]),
        (["garnet(200)"], ["by name", "garnet(states=200"]),
        (["taxi", "--discount", "1.5"], ["discount", "1.5"]),
        (["taxi(discount=0.5)", "--discount", "0.5"], ["twice"]),
        (["taxi", "--method", "value-iterations"], ["method", "did you mean value-iteration"]),
        (["taxi", "--tol", "-1"], ["tol", "-1"]),
        (["taxi", "--criterion", "averge"], ["criterion", "'averge'", "did you mean average"]),
        (["taxi", "--criterion", "finite"], ["--horizon N"]),
        (["taxi", "--criterion", "finite", "--horizon", "-2"], ["horizon", "-2", "0 or more"]),
        (["taxi", "--horizon", "5"], ["--horizon 5", "discounted", "--criterion finite"]),
        (["taxi", "--criterion", "average", "--method", "value-iteration"], ["value-iteration", "leave --method out"]),
        (["taxi", "--criterion", "finite", "--horizon", "5", "--tol", "0.1"], ["--tol 0.1", "leave --tol out"]),
    ],
)
def test_bad_input_gives_a_sentence(rlbook: Command, arguments: list[str], parts: list[str]) -> None:
    """Prevents: a traceback, or a sentence without the value found and the way out."""
    sentence = rlbook("solve", *arguments).sentence
    assert [part for part in parts if part not in sentence] == []


def test_foreign_and_unreadable_files_give_a_sentence(rlbook: Command, tmp_path: Path) -> None:
    """Prevents: numpy's own words on a file that is no MDP."""
    foreign = tmp_path / "foreign.npz"
    foreign.write_bytes(b"not a zip file")
    assert "foreign.npz" in rlbook("solve", str(foreign)).sentence
    assert str(tmp_path) in rlbook("solve", str(tmp_path)).sentence


def test_a_file_too_large_for_the_limit_says_how_to_read_it(
    rlbook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: an error whose way out does not exist on the command line."""
    make("riverswim").save(tmp_path / "own.npz")
    monkeypatch.setattr("rlbook.mdp_files.load.__kwdefaults__", {**load.__kwdefaults__, "max_bytes": 100})
    sentence = rlbook("solve", str(tmp_path / "own.npz")).sentence
    for part in ("own.npz", "more than 100 bytes", "in Python: FiniteMDP.load(path, max_bytes="):
        assert part in sentence
