"""Deep reinforcement learning in JAX (extra `deep`): so far the ground that agents stand on, compiled environments."""

from importlib.util import find_spec

from rlbook.errors import MissingExtraError

if any(find_spec(package) is None for package in ("jax", "equinox")):
    raise MissingExtraError("JAX with Equinox", "deep", "jax equinox")

from rlbook.deep.environments import FiniteMDPEnvironment, make, to_gymnasium

__all__ = ["FiniteMDPEnvironment", "make", "to_gymnasium"]
