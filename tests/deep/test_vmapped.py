"""All seeds as one program, as an accelerator wants it."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.deep import dqn
from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.environments import make
from rlbook.deep.vmapped import VmappedTraining

CONFIG = dqn.Config(learning_starts=40, buffer_size=80, batch_size=8, first_width=8, second_width=8)


@pytest.mark.usefixtures("quick_compilation")
def test_seeds_are_what_they_are_alone() -> None:
    """Prevents seeds that share draws or episodes, and an update that a map would skip or repeat."""
    agent, config, world, seeds = dqn.ALGORITHM, CONFIG, make("Catch"), [3, 0]
    idle = agent.experience(config).idle_units
    together = VmappedTraining(agent, config, world, seeds, 200, 10)
    together.advance(idle, learning=False)
    found = together.advance(6, learning=True)
    returns = together.evaluate(4)
    assert returns.shape == (2, 4)
    for row, seed in enumerate(seeds):
        alone = CompiledTraining(agent, config, world, seed, 200, 10)
        alone.advance(idle, learning=False)
        metrics, _ = alone.advance(6, learning=True)
        for name, values in metrics.items():
            np.testing.assert_allclose(found[name][row], values, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(returns[row], alone.evaluate(0, 4)[0])
    assert not np.array_equal(*found["loss"])
