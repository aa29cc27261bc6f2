"""Watching agents while they learn: what they believe of returns, and when they are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlbook.deep import qr_dqn
from rlbook.deep.environments import FiniteMDPEnvironment
from rlbook.deep.watched_laws import WatchedLaws
from rlbook.environments import make
from rlbook.errors import ParameterError

from .small import SMALL, WALKER, Corridor, TableConfig, table_algorithm
from .test_training import WALK, of_seed

WORLD = FiniteMDPEnvironment(make("frozenlake-4x4"), time_limit=30)


@pytest.mark.parametrize("driver", ["compiled", "gym"])
def test_an_agent_is_shown_before_it_learns_and_at_every_evaluation(driver: Any) -> None:
    """Prevents looks at other moments than evaluations, at another seed's state, or at what came later."""
    table = np.arange(64.0).reshape(16, 4)
    algorithm, config = table_algorithm(table), TableConfig(shift=0.5)
    watched = WatchedLaws(algorithm, config, WORLD)
    algorithm.run(
        WORLD, seeds=[3, 5], steps=20, evaluations=2, evaluation_episodes=1, config=config, driver=driver, watch=watched
    )
    atoms, mass = watched.laws([5, 3])
    assert watched.steps(5).tolist() == [0, 10, 20]
    assert atoms.shape == mass.shape == (2, 3, 16, 4, 1)
    np.testing.assert_allclose(atoms[0, :, :, :, 0], table + np.array([0, 5, 10])[:, None, None])
    assert (mass == 1).all()


def test_watched_laws_have_the_agent_s_action_values_as_means() -> None:
    """Prevents laws of another state or action than they are stored under, and a look that disturbs training."""
    told: dict[str, Any] = {"seeds": [1], "steps": 40, "evaluations": 1, "evaluation_episodes": 1}
    config = qr_dqn.Config(**SMALL, quantiles=3)
    watched = WatchedLaws(qr_dqn.ALGORITHM, config, WORLD)
    trained = qr_dqn.ALGORITHM.run(WORLD, config=config, watch=watched, **told)
    atoms, mass = watched.laws([1])
    means = (atoms * mass).sum(axis=-1)[0, -1]
    seen = np.eye(16, dtype=np.float32)
    values = [qr_dqn.action_values(config, trained.policies[0].state, observation) for observation in seen]
    np.testing.assert_allclose(means, np.array(values), atol=1e-6)
    assert of_seed(qr_dqn.train(WORLD, config=config, **told), 1).identical(of_seed(trained.result, 1))


def test_an_error_of_who_watches_ends_training() -> None:
    """Prevents a look that fails unheard."""

    def refuse(seed: int, step: int, state: Any) -> None:
        raise ValueError(f"not at {step}")

    with pytest.raises(ValueError, match="not at 0"):
        WALKER.run(Corridor(), seeds=2, watch=refuse, **WALK)
    with pytest.raises(ParameterError, match="no action values"):
        WatchedLaws(WALKER, WALKER.Config(), WORLD)
