"""The toy-text environments say what their `P` says."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP

CASES = {
    "frozenlake-4x4": ("FrozenLake-v1", {"map_name": "4x4"}, {}),
    "frozenlake-8x8": ("FrozenLake-v1", {"map_name": "8x8"}, {}),
    "frozenlake-4x4, dry": ("FrozenLake-v1", {"is_slippery": False}, {"slippery": False}),
    "taxi": (next(name for name in sorted(gymnasium.registry, reverse=True) if name.startswith("Taxi-v")), {}, {}),
    "cliff-walking": ("CliffWalking-v1", {}, {}),
    "cliff-walking, wet": ("CliffWalking-v1", {"is_slippery": True}, {"slippery": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_transitions_equal_the_environments(case):
    """Prevents merged rewards, lost terminations and shifted states, against the environment's own model."""
    gym_name, options, parameters = CASES[case]
    env = gymnasium.make(gym_name, **options)
    made = make(case.split(",")[0], discount=0.9, **parameters)
    read = FiniteMDP.from_gymnasium(env, 0.9)
    assert made == read
    model = env.unwrapped.P
    assert read.n_states == len(model)
    for state, choices in model.items():
        for action, listed in choices.items():
            expected = defaultdict(float)
            for probability, following, reward, stops in listed:
                expected[int(following), float(reward), bool(stops)] += probability
            found = {(after, paid, over): weight for weight, after, paid, over in read.transitions(state, action)}
            assert found == {key: weight for key, weight in expected.items() if weight > 0}
    np.testing.assert_array_equal(read.start, env.unwrapped.initial_state_distrib)
    env.close()


@pytest.mark.parametrize("name", ["frozenlake-4x4", "cliff-walking"])
def test_arrows_point_where_the_actions_lead(name):
    """Prevents a figure whose arrows turn the wrong way: the two environments number their actions differently."""
    mdp = make(name, slippery=False)
    layout = mdp.layout
    moved = 0
    for state in range(mdp.n_states):
        row, column = divmod(layout.cell[state], layout.columns)
        for action, (down, right) in enumerate(layout.action_arrows):
            ((_, following, reward, _),) = mdp.transitions(state, action)
            if following != state and reward > -100:
                assert divmod(layout.cell[following], layout.columns) == (row + down, column + right)
                moved += 1
    assert moved > mdp.n_states


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (SimpleNamespace(), "env is a SimpleNamespace, which exposes no model P.*from_dense or from_csr"),
        (SimpleNamespace(P={}), "exposes no model P"),
        (SimpleNamespace(P="table"), "exposes no model P"),
        (SimpleNamespace(P={1: {0: []}}), "P of SimpleNamespace has state 1; its 1 states must be numbered from 0"),
        (SimpleNamespace(P={0: {0: [(1.0, 0, 0.0)]}}), r"P\[0\]\[0\] of SimpleNamespace holds \(1\.0, 0, 0\.0\); give"),
        (SimpleNamespace(P={0: {0: [(0.5, 0, 0.0, False)]}}), r"row for state 0, action 0 sums to 0\.5"),
        (SimpleNamespace(P=[[[(1.0, 1, 0.0, False)]]]), "next state of state 0, action 0 is 1"),
    ],
)
def test_environments_without_a_sound_model_are_refused(env, message):
    """Prevents CartPole, and half-written models, from ending in an AttributeError."""
    with pytest.raises(MDPError, match=message):
        FiniteMDP.from_gymnasium(env, 0.9)


def test_cartpole_is_refused_with_its_name():
    """Prevents the most natural wrong guess from being met with a traceback."""
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(MDPError, match="env is a CartPoleEnv, which exposes no model P"):
        FiniteMDP.from_gymnasium(env, 0.9)
    env.close()


def test_lists_serve_as_models_too_and_options_pass_through():
    """Prevents a home-made environment with lists for dictionaries from being refused."""
    env = SimpleNamespace(P=[[[(1.0, 1, 1.0, True)]], [[(1.0, 1, 0.0, True)]]])
    mdp = FiniteMDP.from_gymnasium(env, 0.5, name="mine", start=[1.0, 0.0])
    assert (mdp.name, mdp.start.tolist()) == ("mine", [1.0, 0.0])
    assert mdp.transitions(0, 0) == [(1.0, 1, 1.0, True)]
