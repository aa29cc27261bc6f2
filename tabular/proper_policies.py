"""Policies under which episodes end with probability 1 (*proper* ones, Bertsekas & Tsitsiklis 1991): which states have
one, and a quick one."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import float64, int64, kernel, reads, writes
from rlbook.tabular.episodes import GRAPH, endless_states, predecessors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

_LONGEST = 1e300  # less than infinity, so that a state is reached however unlikely its way out is


@kernel(*GRAPH, reads(float64), writes(int64))
def _quick_policy(
    state_ptr: Any, row_ptr: Any, continuing_end: Any, next_state: Any, probability: Any, choice: Any
) -> None:
    """Write a pair for each state that some policy ends from with probability 1, and -1 for the others.

    First the greatest set of states is found from which an end can be reached by pairs that never leave the set. Then
    Dijkstra's algorithm goes through it from the ends, with (1 + sum of p t) / (sum of p), over the successors whose
    time t is known, for the time of a pair: as if it were tried again until it leads there.
    """
    states, pairs = len(state_ptr) - 1, len(row_ptr) - 1
    owner = np.empty(pairs, np.int64)
    for s in range(states):
        owner[state_ptr[s] : state_ptr[s + 1]] = s
    allowed, inside = np.ones(pairs, np.bool_), np.ones(states, np.bool_)
    first, entering = predecessors(row_ptr, continuing_end, next_state, allowed, states)
    weight, filled = np.empty(len(entering), np.float64), first[:-1].copy()
    for i in range(pairs):
        for k in range(row_ptr[i], continuing_end[i]):
            weight[filled[next_state[k]]] = probability[k]
            filled[next_state[k]] += 1

    queue = np.empty(states, np.int64)
    outside = -1
    while True:
        reached = np.zeros(states, np.bool_)
        tail, head = 0, 0
        for i in range(pairs):
            if allowed[i] and continuing_end[i] < row_ptr[i + 1] and not reached[owner[i]]:
                reached[owner[i]] = True
                queue[tail] = owner[i]
                tail += 1
        while head < tail:
            t = queue[head]
            head += 1
            for at in range(first[t], first[t + 1]):
                i = entering[at]
                if allowed[i] and not reached[owner[i]]:
                    reached[owner[i]] = True
                    queue[tail] = owner[i]
                    tail += 1
        if states - tail == outside:
            break
        outside = states - tail
        for t in range(states):
            if inside[t] and not reached[t]:
                inside[t] = False
                for i in range(state_ptr[t], state_ptr[t + 1]):
                    allowed[i] = False
                for at in range(first[t], first[t + 1]):
                    allowed[entering[at]] = False

    known, total = np.zeros(pairs, np.float64), np.zeros(pairs, np.float64)
    best = np.full(states, np.inf)
    choice[:] = -1
    heap: Any = [(0.0, np.int64(-1))]  # its type, for the compiler
    heap.pop()
    for i in range(pairs):
        if allowed[i]:
            for k in range(continuing_end[i], row_ptr[i + 1]):
                known[i] += probability[k]
            if known[i] > 0:
                tried = min(1 / known[i], _LONGEST)
                if tried < best[owner[i]]:
                    best[owner[i]] = tried
                    heapq.heappush(heap, (tried, i))
    while len(heap) > 0:
        time, i = heapq.heappop(heap)
        t = owner[i]
        if choice[t] >= 0:
            continue
        choice[t] = i
        for at in range(first[t], first[t + 1]):
            j = entering[at]
            if allowed[j] and choice[owner[j]] < 0:
                known[j] += weight[at]
                total[j] += weight[at] * time
                tried = min((1 + total[j]) / known[j], _LONGEST)
                if tried < best[owner[j]]:
                    best[owner[j]] = tried
                    heapq.heappush(heap, (tried, j))


def quick_policy(mdp: FiniteMDP) -> NDArray[np.int64]:
    """A proper policy, and a rather quick one, as a pair per state, (S,); -1 where every policy may go on for ever."""
    choice = np.empty(mdp.n_states, dtype=np.int64)
    _quick_policy(mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability, choice)
    return choice


def endless_under(mdp: FiniteMDP, greedy: NDArray[np.int64]) -> int | None:
    """A state where the policy of these pairs never ends, or None."""
    used = np.zeros(mdp.n_pairs, dtype=np.bool_)
    used[greedy] = True
    endless = endless_states(mdp, used)
    return int(endless[0]) if len(endless) else None
