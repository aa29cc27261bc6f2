"""The catalogue's queueing network of two stations, told by functions of state and action instead of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlbook.function_mdp import FunctionMDP

ARRIVAL, SLOW, FAST = 1.0, 1.1, 1.6
SPEED_COST, REJECTION_COST = 3.0, 10.0


def queue_functions(room: int, holding_cost: float, discount: float) -> Callable[[], FunctionMDP]:
    """A function that makes `queue-network(stations=2)` with its usual rates, of which nothing is stored or known."""
    import numba

    levels = room + 1
    events = ARRIVAL + 2 * FAST
    arriving, slow, fast = ARRIVAL / events, SLOW / events, FAST / events
    holding, speeding, rejecting = holding_cost / events, SPEED_COST / events, REJECTION_COST * ARRIVAL / events

    @numba.njit
    def feasible(state: int, action: int) -> bool:
        return action % 2 == 0 or state // levels < room

    @numba.njit
    def reward(state: int, action: int) -> float:
        cost = holding * (state // levels + state % levels)
        if action >= 2:
            cost += speeding
        if action % 2 == 0:
            cost += rejecting
        return -cost

    @numba.njit
    def successors(state: int, action: int, next_state: Any, probability: Any) -> int:
        first, second = state // levels, state % levels
        rate = fast if action >= 2 else slow
        count, rest = 0, 1.0
        if first > 0 and second < room:
            next_state[count], probability[count] = state - levels + 1, rate
            count, rest = count + 1, rest - rate
        if second > 0:
            next_state[count], probability[count] = state - 1, rate
            count, rest = count + 1, rest - rate
        if action % 2 == 1:
            next_state[count], probability[count] = state + levels, arriving
            count, rest = count + 1, rest - arriving
        if rest > 1e-12:
            next_state[count], probability[count] = state, rest
            count += 1
        return count

    start = np.zeros(levels**2)
    start[0] = 1.0

    def fresh() -> FunctionMDP:
        return FunctionMDP(
            levels**2, 4, successors, reward, discount, feasible=feasible, most_successors=4, start=start, name="queues"
        )

    return fresh
