"""Environments as pure functions in JAX, to be compiled together with the agents that act in them."""

from rlbook.deep.environments.acrobot import Acrobot
from rlbook.deep.environments.breakout import Breakout
from rlbook.deep.environments.cartpole import CartPole
from rlbook.deep.environments.catch import Catch
from rlbook.deep.environments.deep_sea import DeepSea
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.deep.environments.interface import Continuous, Discrete, Environment, Step, episode_key, step_key
from rlbook.deep.environments.mountain_car import MountainCar
from rlbook.deep.environments.pendulum import Pendulum
from rlbook.deep.environments.registry import make, names
from rlbook.deep.environments.to_gymnasium import GymnasiumEnvironment, to_gymnasium

__all__ = [
    "Acrobot",
    "Breakout",
    "CartPole",
    "Catch",
    "Continuous",
    "DeepSea",
    "Discrete",
    "Environment",
    "FiniteMDPEnvironment",
    "GymnasiumEnvironment",
    "MountainCar",
    "Pendulum",
    "Step",
    "episode_key",
    "make",
    "names",
    "step_key",
    "to_gymnasium",
]
