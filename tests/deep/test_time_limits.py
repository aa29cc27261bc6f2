"""The probe of time limits can fail: drivers that make the classic mistakes come to the answers of those mistakes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from rlbook.deep import dqn
from rlbook.deep.algorithm import Algorithm
from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.config import Config
from rlbook.deep.environments import to_gymnasium
from rlbook.deep.experience import Stream
from rlbook.deep.gymnasium_driver import GymnasiumTraining

from .doctored import MISTAKES, doctor
from .probes import DISCOUNT, PROBES, error, train
from .test_probes import AGENTS, CLOSE

pytestmark = pytest.mark.usefixtures("quick_compilation")

PROBE, ANSWER = PROBES["time limit"]
# State 1 pays 1 for ever. As an end of the world, its value is that of one reward; where the next episode is taken for
# what follows, v(1) = 1 + v(0) / 2 and v(0) = v(1) / 2.
ANSWERS = {
    None: np.array(ANSWER)[:, 0],
    "the world ends": np.array([0.5, 1.0]),
    "the last observation is lost": np.array([2 / 3, 4 / 3]),
}


def _place(seen: Any) -> Any:
    return (seen[0] > 0).astype(jnp.int32)


class StepConfig(Config):
    """step_size: how far a value moves."""

    step_size: float = Field(0.1, gt=0, le=1)


def _update(config: StepConfig, values: Any, row: Any, key: Any) -> Any:
    here = _place(row.observation)
    later = jnp.where(row.terminated, 0.0, values[_place(row.next_observation)])
    return values.at[here].add(config.step_size * (row.reward + DISCOUNT * later - values[here])), {}


# It learns a value of each of the probe's two states from every step as it happens.
TABLE = Algorithm(
    name="two values",
    title="Two values",
    Config=StepConfig,
    experience=lambda config: Stream(),
    init=lambda config, spaces, key: jnp.zeros(2),
    act=lambda config, state, observation, key, progress: jax.random.randint(key, (), 0, 2),
    greedy=lambda config, state, observation: jnp.int32(0),
    update=_update,
)


@pytest.mark.parametrize("mistake", ANSWERS)
@pytest.mark.parametrize("driver", ["compiled", "gym"])
def test_a_driver_comes_to_the_answer_of_what_it_does(
    driver: str, mistake: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a probe that any driver passes, and a driver that ends the world or loses an observation."""
    if mistake is not None:
        doctor(MISTAKES[mistake], monkeypatch)
    algorithm, steps = replace(TABLE, name=f"two values, {driver}, {mistake}"), 400
    training: Any = (
        CompiledTraining(algorithm, StepConfig(), PROBE, 0, steps, steps)
        if driver == "compiled"
        else GymnasiumTraining(algorithm, StepConfig(), partial(to_gymnasium, PROBE), 0, steps)
    )
    training.advance(steps, learning=True)
    assert np.abs(np.asarray(training.state) - ANSWERS[mistake]).max() < 0.02


def test_the_probe_of_agents_fails_where_time_ends_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a probe of agents whose margin would let a mistake through."""
    mistake = "the world ends"
    doctor(MISTAKES[mistake], monkeypatch)
    _, config, steps = AGENTS["DQN"]
    algorithm = replace(dqn.ALGORITHM, name=f"DQN, {mistake}")
    state = train(algorithm, config, PROBE, steps)
    assert error(algorithm, config, PROBE, ANSWER, state) > 3 * CLOSE
    assert error(algorithm, config, PROBE, np.tile(ANSWERS[mistake], (2, 1)).T, state) < CLOSE
