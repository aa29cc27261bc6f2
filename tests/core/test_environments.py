"""The catalogue: names, parameters, and errors that a reader can act on."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.csgraph import breadth_first_order

from rlbook.environments import catalogue, find, make, parse_call, registry
from rlbook.environments.registry import environment
from rlbook.errors import MissingExtraError, ParameterError, RlbookError, UnknownNameError
from rlbook.mdp import FiniteMDP
from rlbook.tabular import solve

NAMES = [entry.name for entry in catalogue()]
# The data of this one is an optional extra; its own tests skip where it is missing.
WITHOUT_DATA = [name for name in NAMES if name != "icu-sepsis"]


def test_the_catalogue_holds_what_the_book_promises():
    """Prevents an environment from disappearing with a forgotten import."""
    promised = {
        "frozenlake-4x4", "frozenlake-8x8", "taxi", "cliff-walking", "gridworld", "gridworld-5x5", "gridworld-4x4",
        "cliff", "windy", "four-rooms", "random-walk", "chain", "riverswim", "deep-sea", "garnet", "gambler",
        "icu-sepsis",
    }  # fmt: skip
    assert promised <= set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_every_environment_is_made_described_and_cited(name):
    """Prevents an entry that cannot be built, listed or traced to its source."""
    entry = find(name)
    mdp = entry.make()
    assert isinstance(mdp, FiniteMDP)
    assert mdp.name.startswith(name)
    assert mdp.discount == entry.parameters["discount"]
    description = entry.describe()
    assert json.loads(json.dumps(description)) == {
        "name": name,
        "states": mdp.n_states,
        "actions": mdp.n_actions,
        "summary": entry.summary,
    }
    assert "\n" not in entry.summary
    assert len(entry.summary) < 110
    assert re.search(r"(1|2)\d{3}\)|Russell & Norvig", entry.source), "the docstring must say where it comes from"


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_every_environment_takes_a_discount_and_is_the_same_each_time(name):
    """Prevents an environment that ignores its discount, or draws anew."""
    mdp = make(name, discount=0.5)
    assert mdp.discount == 0.5
    assert make(name, discount=0.5) == mdp
    assert mdp == make(name).replace(discount=0.5)


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_layouts_show_moves_as_they_are(name):
    """Prevents arrows that no transition of their action follows, but where wind, teleports or falls take over."""
    without_luck = {"slip": 0.0, "slippery": False}
    mdp = make(name, **{key: value for key, value in without_luck.items() if key in find(name).parameters})
    layout = mdp.layout
    if layout is None or mdp.n_actions == 1 or not layout.action_arrows:
        pytest.skip("nothing is drawn with arrows")
    agreeing = checked = 0
    for state in range(mdp.n_states):
        row, column = divmod(layout.cell[state], layout.columns)
        for action, (down, right) in enumerate(layout.action_arrows):
            reached = {
                divmod(layout.cell[following], layout.columns) for _, following, _, _ in mdp.transitions(state, action)
            }
            if reached != {(row, column)}:
                checked += 1
                agreeing += (row + down, column + right) in reached
    assert agreeing > 0.3 * checked


def test_names_that_are_nearly_right():
    """Prevents a typing error from ending without the right name."""
    with pytest.raises(UnknownNameError, match="environment 'frozen-lake-8x8' is unknown; did you mean frozenlake-8x8"):
        make("frozen-lake-8x8")
    with pytest.raises(UnknownNameError, match="known: baird-star, battery, chain, "):
        make("qqqq")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("garnet", {"seeds": 3}, "garnet: parameter 'seeds' is unknown; did you mean seed or states"),
        ("garnet", {"states": 0}, "garnet: parameter 'states' is 0, but input should be greater than or equal to 1"),
        ("garnet", {"states": 2.5}, "garnet: parameter 'states' is 2.5"),
        ("garnet", {"states": 3, "branching": 4}, "garnet: parameter 'branching' is 4, but there are only 3 states"),
        ("gridworld", {"slip": 1.5}, "gridworld: parameter 'slip' is 1.5, but input should be less than or equal to 1"),
        ("gridworld", {"slip": float("nan")}, "gridworld: parameter 'slip' is nan"),
        ("gridworld", {"step_reward": float("inf")}, "gridworld: parameter 'step_reward' is inf"),
        ("taxi", {"discount": -1}, "taxi: parameter 'discount' is -1"),
        ("windy", {"king_moves": "perhaps"}, "windy: parameter 'king_moves' is 'perhaps'"),
        ("gridworld", {"text": "ab"}, "line 1, column 1 of the map holds 'a'"),
    ],
)
def test_parameters_that_are_wrong(name, parameters, message):
    """Prevents a wrong parameter from being ignored or ending in pydantic's own many-line error."""
    with pytest.raises(RlbookError, match=re.escape(message)) as caught:
        make(name, **parameters)
    assert "\n" not in str(caught.value)


def test_one_string_says_it_all():
    """Prevents the command line from needing options of its own for each environment."""
    assert make("garnet(states=20, seed=3)") == make("garnet", states=20, seed=3)
    assert make(" frozenlake-4x4( slippery = False ) ") == make("frozenlake-4x4", slippery=False)
    assert make("garnet(states=20)", seed=3) == make("garnet", states=20, seed=3)
    assert make("gridworld(text='S.G', slip=0)").n_states == 3
    assert make("chain()") == make("chain")
    assert parse_call("riverswim") == ("riverswim", {})
    assert parse_call("x(step=-0.5, on=True, text=None)") == ("x", {"step": -0.5, "on": True, "text": None})


@pytest.mark.parametrize(
    "text",
    [
        "garnet(3)",
        "garnet(",
        "garnet)",
        "garnet(states=3",
        "garnet(states=3) + 1",
        "garnet(states=3)(4)",
        "garnet(**{'states': 3})",
        "garnet(*[3])",
        "garnet(states=open('x'))",
        "garnet(states=__import__('os').getpid())",
        "garnet(states=3, states=4)",
        "garnet(states=" + "(" * 5000,
        "garnet(states=\0)",
    ],
)
def test_strings_that_are_no_call(text):
    """Prevents a name from the command line from being evaluated, or from ending in a traceback."""
    with pytest.raises((ParameterError, UnknownNameError)) as caught:
        make(text)
    assert "\n" not in str(caught.value)


def test_a_parameter_given_twice():
    """Prevents one of two values from winning in silence."""
    with pytest.raises(ParameterError, match="garnet: parameter 'states' is given twice"):
        make("garnet(states=20)", states=30)


def test_missing_data_is_listed_with_the_way_to_get_it(monkeypatch):
    """Prevents `rlbook list` from failing, or hiding an entry, because an optional package is not installed."""
    monkeypatch.setattr(registry, "_registered", {})

    @environment("far-away", "Somewhere else")
    def far_away(*, discount: registry.Discount = 0.9) -> FiniteMDP:
        raise MissingExtraError("its data", "data", "some-package")

    assert registry._registered["far-away"].describe() == {
        "name": "far-away",
        "states": None,
        "actions": None,
        "summary": "Somewhere else (its data is not installed; run: pip install some-package; "
        "rlbook's extra [data] brings it)",
    }


def test_a_name_cannot_be_taken_twice():
    """Prevents one module from replacing another's environment."""
    with pytest.raises(RlbookError, match="environment 'taxi' is already in the catalogue; choose another name"):

        @environment("taxi", "Another taxi")
        def another(*, discount: registry.Discount = 0.9) -> FiniteMDP:
            return make("chain")


@pytest.mark.parametrize("size", range(3, 40))
def test_the_goal_of_the_gridworld_can_be_reached_at_every_size(size):
    """Prevents a size at which the walls close the way, so that a slider shows a world without a solution."""
    mdp = make("gridworld", size=size, slip=0.0)
    # Without slip each pair has one transition, so transitions are numbered as pairs are.
    (goal,) = set(mdp.next_state[mdp.expected_reward == 1.0].tolist())
    edges = scipy.sparse.csr_array(
        (np.ones(mdp.n_pairs), (mdp.pair_state, mdp.next_state)), shape=(mdp.n_states, mdp.n_states)
    )
    reached = breadth_first_order(edges, int(np.argmax(mdp.start)), return_predecessors=False)
    assert goal in reached
    assert len(reached) == mdp.n_states, "no free cell is walled in"


def test_listing_draws_in_neither_compiler_nor_old_gym():
    """Prevents `rlbook list` from paying for numba, or from running the unmaintained gym through icu-sepsis."""
    code = (
        "import sys, json; from rlbook.environments import catalogue;"
        "[entry.describe() for entry in catalogue()];"
        "print([m for m in ('gym', 'icu_sepsis', 'numba', 'plotly', 'xarray', 'jax', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_every_entry_can_be_solved_as_it_comes(entry):
    """Prevents a catalogue that `rlbook solve` refuses at an entry's own default discount."""
    solution = solve(entry.make(), 1e-6)
    assert solution.reason == "tolerance"
