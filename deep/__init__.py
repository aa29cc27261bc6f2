"""Deep reinforcement learning in JAX (extra `deep`): agents, one file each, and environments compiled with them.

    from rlbook.deep import dqn
    result = dqn.train("CartPole-v1", seeds=8, steps=50_000)

`rlbook.deep.algorithms.names()` lists the agents, `rlbook.deep.environments.names()` the environments.
"""

from importlib.util import find_spec

from rlbook.errors import MissingExtraError

if any(find_spec(package) is None for package in ("jax", "equinox")):
    raise MissingExtraError("JAX with Equinox", "deep", "jax equinox")

from rlbook.deep.environments import FiniteMDPEnvironment, make, to_gymnasium
from rlbook.deep.policy import Policy

__all__ = ["FiniteMDPEnvironment", "Policy", "make", "to_gymnasium"]
