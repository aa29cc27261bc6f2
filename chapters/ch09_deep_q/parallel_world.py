"""What the lab on parallel environments trains on and with, and how long its rounds take on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rlbook.environments import make
from rlbook.tabular import evaluate_policy, solve
from rlbook.tabular.policies import uniform_policy

if TYPE_CHECKING:
    from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment

DISCOUNT = 0.9
ROLLOUT = 16  # steps of each environment in a round
EPOCHS, MINIBATCHES = 2, 4  # so 8 updates in each round, whatever the number of environments
_WORLD = 1  # the seed of the one random MDP; seeds of the lab train
_TIME_LIMIT = 20  # steps of an episode
_TIMED = 200  # rounds


@lru_cache(maxsize=1)
def world() -> FiniteMDPEnvironment:
    """A Garnet with 30 states, 4 actions and 4 next states of each pair, whose states are seen as one-hot vectors."""
    from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment

    mdp = make("garnet", states=30, actions=4, branching=4, seed=_WORLD, discount=DISCOUNT)
    return FiniteMDPEnvironment(mdp, time_limit=_TIME_LIMIT)


@lru_cache(maxsize=1)
def gap() -> float:
    """What the best policy is worth at the start more than the uniform one, in units of return."""
    mdp = world().mdp
    even = evaluate_policy(mdp, uniform_policy(mdp)).value_at_start
    return float(mdp.start @ solve(mdp, 1e-9).values - even)


def settings(environments: int, rollout: int = ROLLOUT, step_size: float = 0.01) -> dict[str, Any]:
    """Settings of PQN. Those that are part of the compiled program are the same for all but the first two arguments."""
    return {
        "environments": environments,
        "rollout": rollout,
        "learning_rate": step_size,
        "discount": DISCOUNT,
        "exploration_start": 0.3,
        "exploration_end": 0.3,
        "epochs": EPOCHS,
        "minibatches": MINIBATCHES,
        "first_width": 32,
        "second_width": 32,
    }


def seconds_of_rounds(environments: Sequence[int] = (2, 16, 128)) -> dict[int, float]:
    """Seconds of a round on this machine for each number of environments, with one seed on one thread.

    Measured when called, after one run that is not timed, so no part of any lab's result. Greedy episodes at the end of
    training count as well; they are a thousandth of it or less.
    """
    from rlbook.deep import pqn

    seconds = {}
    for count in environments:
        for _ in range(2):
            began = time.perf_counter()
            pqn.train(
                world(),
                seeds=1,
                steps=_TIMED * count * ROLLOUT,
                evaluations=1,
                evaluation_episodes=1,
                workers=1,
                **settings(count),
            )
            seconds[count] = (time.perf_counter() - began) / _TIMED
    return seconds
