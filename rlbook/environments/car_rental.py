"""Jack's car rental."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, environment
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import from_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

RENT, MOVE_COST = 10.0, 2.0  # dollars per car
REQUESTS, RETURNS = (3.0, 4.0), (3.0, 2.0)  # Poisson means per day, at the first and the second location
ROOM_IN_LOT = 10  # more cars than this overnight need a second parking lot


@environment("jacks-car-rental", "Sutton & Barto's car rental: move cars overnight between two locations (rent 10, -2)")
def jacks_car_rental(
    *,
    cars: Annotated[int, Field(ge=1, le=30, description="most cars at a location")] = 20,
    moves: Annotated[int, Field(ge=0, le=30, description="most cars moved in a night")] = 5,
    free_move: Annotated[bool, Field(description="whether one car goes to the second location for free")] = False,
    parking_cost: Annotated[float, Field(ge=0, description="paid per location with more than 10 cars overnight")] = 0.0,
    discount: Discount = 0.9,
) -> FiniteMDP:
    """Sutton & Barto, *Reinforcement Learning: An Introduction* (2nd ed., 2018), Example 4.2; discount 0.9 there.

    Exercise 4.7 is free_move=True, parking_cost=4. A state is the number of cars at both locations in the evening, an
    action how many of them go to the second location overnight (its label counts from `moves` to the first location;
    only cars that are there can be moved). The next day brings Poisson requests, 3 and 4 on average, each car rented
    pays 10, and Poisson returns, 3 and 2, ready on the day after. Cars beyond `cars` disappear. What a pair pays is its
    expectation: how many cars were rented is not told apart.
    """
    if moves > cars:
        raise ParameterError(f"parameter 'moves' is {moves}, but there are at most {cars} cars; make it {cars} or less")
    held = np.arange(cars + 1)
    (first_law, first_rented), (second_law, second_rented) = (
        one_day(cars, requested, returned) for requested, returned in zip(REQUESTS, RETURNS, strict=True)
    )
    moved = np.arange(-moves, moves + 1)
    first, second, change = np.meshgrid(held, held, moved, indexing="ij")
    feasible = (change <= first) & (-change <= second)
    first, second, change = first[feasible], second[feasible], change[feasible]
    first_after, second_after = np.minimum(first - change, cars), np.minimum(second + change, cars)
    paid_for = np.abs(change) - (free_move & (change > 0))
    lots = (first_after > ROOM_IN_LOT).astype(float) + (second_after > ROOM_IN_LOT)
    states, pairs = (cars + 1) ** 2, len(change)
    law = np.einsum("pi,pj->pij", first_law[first_after], second_law[second_after])
    down, across = np.divmod(np.arange(states), cars + 1)
    return from_rows(
        state_ptr=np.concatenate([[0], np.cumsum(feasible.sum(axis=2).ravel())]),
        action=change + moves,
        row_ptr=np.arange(pairs + 1) * states,
        next_state=np.tile(np.arange(states), pairs),
        probability=law.ravel(),
        reward=RENT * (first_rented[first_after] + second_rented[second_after])
        - MOVE_COST * paid_for
        - parking_cost * lots,
        discount=discount,
        name="jacks-car-rental",
        state_names=[f"({one}, {other})" for one, other in zip(down.tolist(), across.tolist(), strict=True)],
        action_names=[str(count) for count in moved.tolist()],
        # As in figure 4.2: cars at the first location upwards, at the second to the right.
        layout=GridLayout(cars + 1, cars + 1, cell=tuple(((cars - down) * (cars + 1) + across).tolist())),
    )


def one_day(cars: int, requested: float, returned: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a day makes of the cars that are there in the morning, 0 to `cars`, for Poisson means per day.

    Returns the law of the cars in the evening, (cars + 1, cars + 1), and the expected number of rentals, (cars + 1,).
    """
    asked, brought = poisson(requested, cars), poisson(returned, cars)
    left, back = np.zeros((2, cars + 1, cars + 1))
    rented = np.zeros(cars + 1)
    for count in range(cars + 1):
        outcomes = np.arange(count + 1)
        rentals = at_most(asked, count)
        left[count, count - outcomes] = rentals
        rented[count] = rentals @ outcomes
        back[count, count:] = at_most(brought, cars - count)
    return left @ back, rented


def poisson(mean: float, most: int) -> NDArray[np.float64]:
    """Poisson probabilities of 0 to `most`, for a positive mean."""
    counts = range(most + 1)
    return np.array([math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) for count in counts])


def at_most(law: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """The law of min(X, most), (most + 1,), where `law` gives the probabilities of X from 0 on."""
    cut = law[: most + 1].copy()
    cut[most] = max(1.0 - float(law[:most].sum()), 0.0)
    return cut
