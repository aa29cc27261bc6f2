"""Queues in a row, with control of who enters and of how fast the servers work."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, environment
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import from_rows

Rate = Annotated[float, Field(gt=0, le=1e6)]
Cost = Annotated[float, Field(ge=0)]

MOST_STATES = 20_000_000
_DRAWN = 90_000  # larger networks carry no layout and no names
ACTION_NAMES = ("reject, slow", "admit, slow", "reject, fast", "admit, fast")


@environment("queue-network", "Queues in a row: admit or reject arrivals, work fast or slowly; 1e6 states and more")
def queue_network(
    *,
    stations: Annotated[int, Field(ge=1, le=4, description="queues that each job passes, one after the other")] = 2,
    room: Annotated[int, Field(ge=1, le=10_000_000, description="most jobs at a station, the one in service too")] = 10,
    arrival_rate: Annotated[Rate, Field(description="mean arrivals per unit of time")] = 1.0,
    slow_rate: Annotated[Rate, Field(description="mean jobs that a slow server finishes per unit of time")] = 1.1,
    fast_rate: Annotated[Rate, Field(description="the same of a fast server; not less")] = 1.6,
    holding_cost: Annotated[Cost, Field(description="paid per job and unit of time")] = 1.0,
    speed_cost: Annotated[Cost, Field(description="paid per unit of time while the servers work fast")] = 3.0,
    rejection_cost: Annotated[Cost, Field(description="paid per job that is turned away")] = 10.0,
    discount: Discount = 0.99,
) -> FiniteMDP:
    """Tandem queues with control of admission (Stidham 1985) and of service rates (Weber & Stidham 1987).

    A state is the number of jobs at each station, 0 to `room`. Jobs arrive as a Poisson process at the first station,
    where they are admitted or turned away, as always when it is full; service times are exponential at the slow or the
    fast rate, the same at all stations; a server whose next station is full waits. Time is cut into steps of mean
    length 1 / (arrival_rate + stations * fast_rate), in which at most one event happens (uniformisation, Lippman 1975);
    rewards are minus the expected costs of a step, and the discount is per step. There are (room + 1) ** stations
    states: room=99, stations=3 make a million.
    """
    if fast_rate < slow_rate:
        raise ParameterError(f"parameter 'fast_rate' is {fast_rate}, less than slow_rate={slow_rate}; make it larger")
    levels = room + 1
    if levels**stations > MOST_STATES:
        raise ParameterError(
            f"parameter 'room' is {room}, which makes {levels**stations} states; make it smaller, so that there are "
            f"at most {MOST_STATES}"
        )
    states = levels**stations
    per_second = arrival_rate + stations * fast_rate
    strides = levels ** np.arange(stations - 1, -1, -1)
    jobs = np.arange(states)[:, None] // strides % levels
    open_to_arrivals = jobs[:, 0] < room
    # A full first station turns arrivals away, so that its states lack the actions that admit.
    pair_state = np.repeat(np.arange(states, dtype=np.int32), np.where(open_to_arrivals, 4, 2))
    state_ptr = np.concatenate([[0], np.cumsum(np.where(open_to_arrivals, 4, 2))])
    place = np.arange(len(pair_state)) - state_ptr[pair_state]
    action = np.where(open_to_arrivals[pair_state], place, 2 * place).astype(np.int32)
    admits, fast = action % 2 == 1, action >= 2
    finishing = np.where(fast, fast_rate, slow_rate) / per_second
    mass = np.zeros((len(pair_state), stations + 2))
    following = np.repeat(pair_state[:, None], stations + 2, axis=1)
    for station in range(stations):
        working = jobs[:, station] > 0
        move = -strides[station]
        if station < stations - 1:
            working &= jobs[:, station + 1] < room
            move += strides[station + 1]
        served = working[pair_state]
        mass[served, station] = finishing[served]
        following[served, station] += move
    mass[admits, -1] = arrival_rate / per_second
    following[admits, -1] += strides[0]
    mass[:, -2] = np.maximum(1.0 - mass.sum(axis=1), 0.0)  # nothing happens
    mass[mass[:, -2] < 1e-12, -2] = 0.0
    waiting = jobs.sum(axis=1)[pair_state]
    rate_of_costs = holding_cost * waiting + speed_cost * fast + rejection_cost * arrival_rate * ~admits
    drawn = states <= _DRAWN
    return from_rows(
        state_ptr=state_ptr,
        action=action,
        row_ptr=np.arange(len(pair_state) + 1) * (stations + 2),
        next_state=following.ravel(),
        probability=mass.ravel(),
        reward=-rate_of_costs / per_second,
        discount=discount,
        start=np.eye(1, states)[0],
        name=f"queue-network({stations}, {room})",
        state_names=[str(tuple(row)) for row in jobs.tolist()] if drawn else None,
        action_names=ACTION_NAMES,
        layout=_plane(levels, stations) if drawn else None,
    )


def _plane(levels: int, stations: int) -> GridLayout | None:
    """The first station's jobs downwards and the second's to the right, where there are no more than two."""
    if stations > 2:
        return None
    rows, columns = (levels, levels) if stations == 2 else (1, levels)
    return GridLayout(rows, columns, cell=tuple(range(rows * columns)))
