"""Scenes can be played one after another, and show what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import plotly.graph_objects as go

from rlbook.deep.environments import Discrete, make, to_gymnasium
from rlbook.deep.environments.drawing import scene, scene_in_words
from rlbook.deep.environments.interface import Environment
from rlbook.errors import ParameterError

DRAWN = [
    "CartPole-v1",
    "MountainCar-v0",
    "Acrobot-v1",
    "Pendulum-v1",
    "Catch",
    "DeepSea",
    "MinAtar/Breakout-v1",
    "cliff",
    "four-rooms",
    "taxi",
]


def episode(environment, steps=4):
    played = to_gymnasium(environment)
    played.reset(seed=0)
    states = [played.state]
    space = environment.action_space
    for n in range(steps):
        *_, terminated, _, _ = played.step(n % space.n if isinstance(space, Discrete) else np.ones(1, np.float32))
        states.append(played.state)
        if terminated:
            break
    return states


@pytest.mark.parametrize("name", DRAWN)
def test_scenes_can_be_played(name):
    """Prevents frames that jump: axes that follow the state, or traces that come and go."""
    environment = make(name)
    states = episode(environment)
    scenes = [scene(environment, state) for state in states]
    assert all(one["layout"] == scenes[0]["layout"] for one in scenes)
    assert len({tuple((trace["type"], trace.get("name")) for trace in one["data"]) for one in scenes}) == 1
    assert len({go.Figure(one).to_json() for one in scenes}) == len({str(state) for state in states})
    said = [scene_in_words(environment, state) for state in states]
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in said)
    assert len(set(said)) > 1
    colours = json.dumps([go.Figure(one).to_dict()["layout"].get("paper_bgcolor") for one in scenes])
    assert "#" not in colours


def trace_of(environment, state, name):
    return next(trace for trace in scene(environment, state)["data"] if trace.get("name") == name)


def test_the_pole_leans_to_the_side_of_its_angle():
    """Prevents a drawing that is mirrored: the reader then sees the agent push the wrong way."""
    environment = make("CartPole-v1")
    state = type(environment.reset(jax.random.key(0))[0])(0.5, 0.0, 0.1, 0.0)
    x, y = trace_of(environment, state, "pole")["x"], trace_of(environment, state, "pole")["y"]
    assert x[1] - x[0] == pytest.approx(np.sin(0.1))
    assert y[1] - y[0] == pytest.approx(np.cos(0.1))
    assert x[0] == 0.5
    assert "0.50 m right of the middle, and the pole leans 5.7 degrees to the right" in scene_in_words(
        environment, state
    )


def test_links_reach_the_line_where_the_episode_ends():
    environment = make("Acrobot-v1")
    kind = type(environment.reset(jax.random.key(0))[0])
    up = kind(*(jnp.float32(v) for v in (np.pi, 0.0, 0.0, 0.0)))
    assert trace_of(environment, up, "lower link")["y"][1] == pytest.approx(2.0)
    hanging = kind(*(jnp.float32(0.0) for _ in range(4)))
    assert trace_of(environment, hanging, "lower link")["y"][1] == pytest.approx(-2.0)
    assert "2.00 m below the bar" in scene_in_words(environment, hanging)


def test_the_rod_stands_upright_at_zero():
    environment = make("Pendulum-v1")
    kind = type(environment.reset(jax.random.key(0))[0])
    rod = trace_of(environment, kind(0.0, 0.0), "rod")
    assert (rod["x"][1], rod["y"][1]) == pytest.approx((0.0, 1.0))
    # The angle is counted against the clock, so a quarter turn points to the left.
    assert trace_of(environment, kind(np.pi / 2, 0.0), "rod")["x"][1] == pytest.approx(-1.0)


def test_cells_are_those_of_the_observation():
    """Prevents rows and columns that are exchanged."""
    environment = make("MinAtar/Breakout-v1")
    for state in episode(environment)[:-1]:
        step = environment.step(state, jnp.int32(0), jax.random.key(0))
        image, z = np.asarray(step.observation), np.array(scene(environment, step.state)["data"][0]["z"])
        assert np.argwhere(z == 4).tolist() == np.argwhere(image[:, :, 1] == 1).tolist()
        assert np.argwhere(z == 1).tolist() == np.argwhere(image[:, :, 3] * (z != 4) * (z != 3) == 1).tolist()


def test_what_has_no_drawing_says_so():
    class Other(Environment):
        name: str = "other"
        observation_shape: tuple[int, ...] = (1,)
        action_space: Discrete = Discrete(1)
        time_limit: int = 1

        def reset(self, key):
            return None, jnp.zeros(1)

        def step(self, state, action, key):
            return None

    with pytest.raises(ParameterError, match="environment is other, of which there is no drawing"):
        scene(Other(), None)
