"""Deep reinforcement learning in JAX (extra `deep`): so far the ground that agents stand on, a compiled finite MDP."""

from rlbook.deep.finite_mdp import FiniteMDPEnvironment, MDPState

__all__ = ["FiniteMDPEnvironment", "MDPState"]
