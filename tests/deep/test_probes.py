"""Every agent finds the action values of environments whose answers are known, through time limits too."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import numpy as np

from rlbook.deep import algorithms, c51, dqn, pqn, qr_dqn, stream_q
from rlbook.deep.compiled import CompiledTraining
from tests.deep.probes import DISCOUNT, PROBES, error, train
from tests.deep.test_training import compilations

pytestmark = pytest.mark.usefixtures("quick_compilation")

CLOSE = 0.1  # wrong ways to bootstrap are off by 1/3 at least

SMALL = {"discount": DISCOUNT, "first_width": 16, "second_width": 16, "exploration_end": 1.0}
REPLAY = {
    **SMALL,
    "learning_rate": 3e-3,
    "train_every": 4,
    "batch_size": 32,
    "buffer_size": 2_000,
    "learning_starts": 100,
    "target_every": 20,
}
AGENTS = {
    "DQN": (dqn, dqn.Config(**REPLAY), 8_000),
    "prioritised n-step double dueling DQN": (
        dqn,
        dqn.Config(**REPLAY, double=True, dueling=True, prioritised=True, n_step=3),
        8_000,
    ),
    "double DQN": (dqn, dqn.Config(**REPLAY, double=True), 8_000),
    "C51": (c51, c51.Config(**REPLAY, lowest=-2.5, highest=2.5, atoms=21), 8_000),
    "QR-DQN": (qr_dqn, qr_dqn.Config(**REPLAY, quantiles=11), 8_000),
    "PQN": (
        pqn,
        pqn.Config(**SMALL, learning_rate=3e-3, environments=8, rollout=16, epochs=2, minibatches=4),
        32_000,
    ),
    "stream Q": (stream_q, stream_q.Config(**SMALL), 20_000),
}


def test_no_agent_is_left_out():
    """Prevents an agent of the book that no probe ever meets."""
    assert {module.ALGORITHM.name for module, _, _ in AGENTS.values()} == set(algorithms.names())


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("probe", PROBES)
def test_an_agent_finds_the_known_values(agent, probe):
    """Prevents a target, a discount, an action or an observation that is another's, and ends that are none."""
    module, config, steps = AGENTS[agent]
    environment, answer = PROBES[probe]
    state = train(module.ALGORITHM, config, environment, steps)
    assert error(module.ALGORITHM, config, environment, answer, state) < CLOSE
    best = np.argmax(answer, axis=1)
    for s in range(2):
        if not np.isnan(answer[s]).any() and answer[s][0] != answer[s][1]:
            assert module.greedy(config, state, environment.seen[s][None]) == best[s]


@pytest.mark.parametrize("agent", AGENTS)
def test_no_float_of_a_configuration_is_part_of_the_program(agent):
    """Prevents a slider of an agent that waits for a compiler."""
    module, config, steps = AGENTS[agent]
    environment, kind = PROBES["constant value"][0], module.experience(config)
    units = steps // (kind.length * kind.environments)

    def run(config):
        # Of a chunk of the length that the other tests of this module compile, a few units.
        training = CompiledTraining(module.ALGORITHM, config, environment, 1, steps, units)
        training.advance(3, learning=True)

    run(config)
    floats = [name for name in config.traced() if getattr(config, name) != 0]
    assert len(floats) >= 6
    with compilations() as compiled:
        for name in floats:
            run(config.model_copy(update={name: 0.9 * getattr(config, name)}))
    assert compiled == []
