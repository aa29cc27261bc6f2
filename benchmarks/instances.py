"""The MDPs of the race, from the catalogue: each by name, at full size and at a size for trying things out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlbook import make
from rlbook.mdp import FiniteMDP


@dataclass(frozen=True)
class Instance:
    """One MDP of the race.

    large: whether the goal is 5 times the best peer, not only no slower. quick: what is smaller in a quick run.
    """

    name: str
    title: str
    environment: str
    parameters: Mapping[str, Any]
    large: bool = True
    quick: Mapping[str, Any] = field(default_factory=dict)

    def build(self, quick: bool = False) -> FiniteMDP:
        """Make the MDP; raises MissingExtraError where its data is not installed."""
        return make(self.environment, **{**self.parameters, **(self.quick if quick else {})})


def _grid(discount: float) -> Instance:
    return Instance(
        f"grid-{discount}",
        f"300x300 slippery grid, discount {discount}",
        "slippery-grid",
        {"rows": 300, "columns": 300, "discount": discount},
        quick={"rows": 20, "columns": 20},
    )


INSTANCES: dict[str, Instance] = {
    instance.name: instance
    for instance in (
        Instance(
            "random-sparse",
            "random sparse, S=200,000 A=4 b=8, discount 0.99",
            "garnet",
            {"states": 200_000, "actions": 4, "branching": 8, "discount": 0.99},
            quick={"states": 500},
        ),
        _grid(0.999),
        _grid(0.9999),
        Instance("icu-sepsis", "ICU-Sepsis, S=716, discount 0.99", "icu-sepsis", {"discount": 0.99}, large=False),
        Instance("taxi", "Taxi, S=500, discount 0.99", "taxi", {"discount": 0.99}, large=False),
        Instance(
            "garnet-dense",
            "dense Garnet, S=2,000 A=10 b=2,000, discount 0.99",
            "garnet",
            {"states": 2000, "actions": 10, "branching": 2000, "discount": 0.99},
            quick={"states": 60, "branching": 60},
        ),
        Instance(
            "inventory",
            "(s, S) inventory, Poisson demand, S=5,000, discount 0.99",
            "inventory",
            {
                "capacity": 4999,
                "mean_demand": 100.0,
                "lot": 100,
                "fixed_cost": 1000.0,
                "holding_cost": 0.1,
                "discount": 0.99,
            },
            quick={"capacity": 199, "mean_demand": 10.0, "lot": 5, "fixed_cost": 50.0},
        ),
        Instance(
            "queue-network",
            "queueing network, 3 stations, S=1e6, discount 0.99",
            "queue-network",
            {"stations": 3, "room": 99, "discount": 0.99},
            quick={"room": 7},
        ),
        Instance(
            "slow-chain",
            "slowly mixing chain, S=100,000, discount 0.9999",
            "slow-chain",
            {"states": 100_000, "waves": 100, "discount": 0.9999},
            quick={"states": 300, "waves": 3},
        ),
    )
}
