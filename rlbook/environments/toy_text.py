"""Gymnasium's toy-text environments, as Gymnasium defines them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from rlbook.environments.registry import Discount, environment
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_gymnasium import from_gymnasium

Slippery = Annotated[bool, Field(description="whether moves go astray, a third each way to the perpendicular ones")]

# FrozenLake counts its actions from the left, against the clock; CliffWalking from the top, with it.
_LAKE_ARROWS = ((0, -1), (1, 0), (0, 1), (-1, 0))
_LAKE_NAMES = ("left", "down", "right", "up")
_CLIFF_ARROWS = ((-1, 0), (0, 1), (1, 0), (0, -1))
_CLIFF_NAMES = ("up", "right", "down", "left")
_TAXI_NAMES = ("south", "north", "east", "west", "pick up", "drop off")


@environment("frozenlake-4x4", "FrozenLake, 4x4: reach the goal (+1) over slippery ice without falling into a hole")
def frozenlake_4x4(*, slippery: Slippery = True, discount: Discount = 0.99) -> FiniteMDP:
    """Gymnasium's `FrozenLake-v1` with its 4x4 map (Towers et al., *Gymnasium*, 2024)."""
    return _frozen_lake("4x4", slippery, discount)


@environment("frozenlake-8x8", "FrozenLake, 8x8: reach the goal (+1) over slippery ice without falling into a hole")
def frozenlake_8x8(*, slippery: Slippery = True, discount: Discount = 0.99) -> FiniteMDP:
    """Gymnasium's `FrozenLake-v1` with its 8x8 map (Towers et al., *Gymnasium*, 2024)."""
    return _frozen_lake("8x8", slippery, discount)


@environment("taxi", "Taxi: fetch a passenger and drop them off where they want to go (+20, -1 per step)")
def taxi(*, discount: Discount = 0.99) -> FiniteMDP:
    """Gymnasium's `Taxi`, after Dietterich, *Hierarchical Reinforcement Learning with MAXQ* (2000)."""
    from gymnasium.envs.toy_text.taxi import TaxiEnv

    return _closing(TaxiEnv(), discount, name="taxi", action_names=_TAXI_NAMES)


@environment("cliff-walking", "Gymnasium's CliffWalking: -1 per move, -100 and back to the start for a fall")
def cliff_walking(*, slippery: Slippery = False, discount: Discount = 0.99) -> FiniteMDP:
    """Gymnasium's `CliffWalking-v1`, after Sutton & Barto (2018), Example 6.6."""
    from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv

    layout = GridLayout(4, 12, cell=tuple(range(48)), action_arrows=_CLIFF_ARROWS)
    env = CliffWalkingEnv(is_slippery=slippery)
    return _closing(env, discount, name="cliff-walking", action_names=_CLIFF_NAMES, layout=layout)


def _frozen_lake(map_name: str, slippery: bool, discount: float) -> FiniteMDP:
    from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv

    env = FrozenLakeEnv(map_name=map_name, is_slippery=slippery)
    layout = GridLayout(env.nrow, env.ncol, cell=tuple(range(env.nrow * env.ncol)), action_arrows=_LAKE_ARROWS)
    return _closing(env, discount, name=f"frozenlake-{map_name}", action_names=_LAKE_NAMES, layout=layout)


def _closing(env: Any, discount: float, **options: Any) -> FiniteMDP:
    try:
        return from_gymnasium(env, discount, **options)
    finally:
        env.close()
