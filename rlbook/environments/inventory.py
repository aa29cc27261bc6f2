"""Stock of one product, ordered against random demand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, environment
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

Money = Annotated[float, Field(ge=0)]

MOST_TRANSITIONS = 100_000_000
_NEGLIGIBLE = 1e-17  # demands less likely than this part of the likeliest one are left out


@environment("inventory", "Order stock against Poisson demand: a fixed cost per order makes (s, S) policies optimal")
def inventory(
    *,
    capacity: Annotated[int, Field(ge=1, le=100_000, description="most units in stock")] = 60,
    mean_demand: Annotated[float, Field(gt=0, le=10_000, description="mean of a period's Poisson demand")] = 8.0,
    lot: Annotated[int, Field(ge=1, le=100_000, description="units per lot; orders are whole lots")] = 1,
    price: Annotated[Money, Field(description="earned per unit sold")] = 8.0,
    unit_cost: Annotated[Money, Field(description="paid per unit ordered")] = 2.0,
    fixed_cost: Annotated[Money, Field(description="paid per order, however large")] = 20.0,
    holding_cost: Annotated[Money, Field(description="paid per unit in stock before demand comes")] = 1.0,
    discount: Discount = 0.99,
) -> FiniteMDP:
    """Puterman, *Markov Decision Processes* (1994), section 3.2, with Poisson demand; demand that is not met is lost.

    A state is the stock, 0 to `capacity`; action k orders k lots, which arrive before the period's demand. With lots of
    one unit a policy is optimal that orders up to S whenever the stock is below s (Scarf, *The optimality of (S, s)
    policies in the dynamic inventory problem*, 1960). Demands too unlikely to matter in double precision are left out,
    and the others rescaled. What a pair pays is its expectation: how much was sold is not told apart.
    """
    economy = Economy(price, unit_cost, fixed_cost, holding_cost)
    return stock_control(_poisson_demand(mean_demand), capacity, lot, economy, discount, name="inventory")


@dataclass(frozen=True)
class Economy:
    """Money per unit sold, per unit ordered, per order, and per unit held."""

    price: float
    unit_cost: float
    fixed_cost: float
    holding_cost: float


def stock_control(
    demand: NDArray[np.float64], capacity: int, lot: int, economy: Economy, discount: float, *, name: str
) -> FiniteMDP:
    """The inventory problem of Puterman (1994), section 3.2, for any law of demand.

    demand: probabilities of 0, 1, 2, ... units, summing to 1. Raises ParameterError where the MDP would not fit memory.
    """
    levels = np.arange(capacity + 1)
    row_ptr, following, mass, sold = _after_demand(demand, capacity)
    transitions = int(np.diff(row_ptr) @ (levels // lot + 1))  # as many orders lead to each level
    if transitions > MOST_TRANSITIONS:
        raise ParameterError(
            f"parameter 'lot' is {lot}, which makes {transitions} transitions; make it larger, or 'capacity' or "
            f"'mean_demand' smaller, so that there are at most {MOST_TRANSITIONS}"
        )
    lots = (capacity - levels) // lot
    pairs = int((lots + 1).sum())
    state_ptr = np.concatenate([[0], np.cumsum(lots + 1)])
    action = np.arange(pairs) - np.repeat(state_ptr[:-1], lots + 1)
    stock = np.repeat(levels, lots + 1) + lot * action
    lengths = np.diff(row_ptr)[stock]
    pointer = np.concatenate([[0], np.cumsum(lengths)])
    entry = np.arange(pointer[-1]) + np.repeat(row_ptr[stock] - pointer[:-1], lengths)
    ordered = lot * action
    return from_rows(
        state_ptr=state_ptr,
        action=action,
        row_ptr=pointer,
        next_state=following[entry],
        probability=mass[entry],
        reward=economy.price * sold[stock]
        - economy.unit_cost * ordered
        - economy.fixed_cost * (ordered > 0)
        - economy.holding_cost * stock,
        discount=discount,
        name=name,
        action_names=[f"order {count}" for count in range(0, lot * int(lots[0]) + 1, lot)],
    )


def _after_demand(
    demand: NDArray[np.float64], capacity: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """For each stock u before demand: what is left, as compressed rows, and the expected sales E[min(D, u)]."""
    likely = np.flatnonzero(demand)
    least, most = int(likely[0]), int(likely[-1])
    at_least = np.append(np.cumsum(demand[::-1])[::-1], 0.0)  # at_least[u] is the probability of u units or more
    rows, masses = [], []
    for stock in range(capacity + 1):
        met = np.arange(min(most, stock - 1), least - 1, -1)  # demands that leave something
        sold_out = at_least[stock : stock + 1]
        rows.append(np.concatenate([np.zeros(len(sold_out), dtype=np.int64), stock - met]))
        masses.append(np.concatenate([sold_out, demand[met]]))
    pointer = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    # E[min(D, u)] adds up the probabilities of each unit's being sold.
    sold = np.concatenate([[0.0], np.cumsum(at_least[1:])])[np.minimum(np.arange(capacity + 1), len(demand))]
    return pointer, np.concatenate(rows), np.concatenate(masses), sold


def _poisson_demand(mean: float) -> NDArray[np.float64]:
    """Probabilities of 0, 1, 2, ... units as far as they matter, summing to 1."""
    counts = np.arange(math.ceil(mean + 12 * math.sqrt(mean) + 40))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    exponent = counts * math.log(mean) - log_factorial
    law = np.exp(exponent - exponent.max())
    law[law < _NEGLIGIBLE] = 0.0
    return np.trim_zeros(law, "b") / law.sum()
