"""Deep reinforcement learning in JAX (extra `deep`): so far the ground that agents stand on, compiled environments."""

from rlbook.deep.environments import FiniteMDPEnvironment, make, to_gymnasium

__all__ = ["FiniteMDPEnvironment", "make", "to_gymnasium"]
