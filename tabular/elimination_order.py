"""In which order to eliminate states from (I - discount P) v = r, and what that costs, known before it is done.

Gaussian elimination of a state joins all its neighbours to one another, so that sparse equations fill up: on a chain
hardly, on a grid a little, on a random graph almost completely. The order here is that of *approximate minimum degree*
(Amestoy, Davis & Duff 1996): eliminate next the state with the fewest neighbours, bounded from above. Eliminated
states are kept as "elements", sets of neighbours that are joined to one another, so that no joint is ever stored.

Since the pivots are taken from the diagonal (rows are dominated by it, so this is stable), the sizes of the sets are
those of the factors of a matrix with the symmetric pattern of P + P': an upper bound, and nearly exact. The search
gives up as soon as the bound passes what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import boolean, float64, int32, int64, kernel, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.policy_rows import PolicyRows

_HUB = 10.0  # a state with more than this times sqrt(S) neighbours is eliminated last, as in Amestoy, Davis & Duff


@dataclass(frozen=True)
class DirectSolveCost:
    """What a direct solve takes: entries of the factors (12 bytes each, and as much again while they are made), and
    multiplications to find them.

    affordable: whether both are within what was allowed; if not, they are lower bounds, found before giving up.
    """

    entries: float
    operations: float
    affordable: bool


@kernel(
    *(writes(int64), writes(int64), writes(int32), writes(boolean), float64, float64, writes(int64), writes(float64))
)
def _minimum_degree(
    start: Any,
    length: Any,
    neighbour: Any,
    hub: Any,
    most_entries: float,
    most_operations: float,
    order: Any,
    cost: Any,
) -> bool:
    """Write the order and (entries, operations) into `cost`; False as soon as these pass what is allowed.

    neighbour[start[i] : start[i] + length[i]]: those of i, symmetric, without i itself; overwritten. There, and in the
    same room, stand at any time first the elements next to i (`elements[i]` of them), then its other neighbours.
    """
    states = len(length)
    elements = np.zeros(states, np.int64)
    waiting = np.ones(states, np.bool_)  # not yet eliminated
    element_alive = np.zeros(states, np.bool_)  # eliminated, and not yet swallowed by a later element
    member = np.empty(len(neighbour) + states, np.int32)
    first, size = np.zeros(states, np.int64), np.zeros(states, np.int64)  # where an element's members stand
    used = 0
    degree, head = np.zeros(states, np.int64), np.full(states + 1, -1, np.int64)
    after, before = np.full(states, -1, np.int64), np.full(states, -1, np.int64)
    seen, beyond = np.zeros(states, np.int64), np.zeros(states, np.int64)

    hubs = 0
    for i in range(states):
        if hub[i]:
            hubs += 1
            waiting[i] = False
            order[states - hubs] = i
    live = states - hubs
    for i in range(states):
        if hub[i]:
            continue
        to = start[i]
        for q in range(start[i], start[i] + length[i]):
            if not hub[neighbour[q]]:
                neighbour[to] = neighbour[q]
                to += 1
        length[i] = degree[i] = to - start[i]
        after[i] = head[degree[i]]
        if after[i] >= 0:
            before[after[i]] = i
        head[degree[i]] = i

    entries, operations = float(states + hubs * (hubs - 1) / 2), float(hubs) ** 3 / 3
    least, base = 0, np.int64(1)
    for step in range(live):
        while head[least] < 0:
            least += 1
        p = head[least]
        head[least] = after[p]
        if after[p] >= 0:
            before[after[p]] = -1
        order[step] = p
        waiting[p] = False

        # The new element: all that p is joined to, directly or through elements, which it swallows.
        room = used
        for q in range(start[p], start[p] + length[p]):
            room += size[neighbour[q]] if q < start[p] + elements[p] else 1
        if room > len(member):
            larger = np.empty(2 * room, np.int32)
            larger[:used] = member[:used]
            member = larger
        first[p] = used
        for q in range(start[p], start[p] + length[p]):
            j = neighbour[q]
            if q < start[p] + elements[p]:
                if element_alive[j]:
                    element_alive[j] = False
                    for z in range(first[j], first[j] + size[j]):
                        i = member[z]
                        if waiting[i] and seen[i] != step + 1:
                            seen[i] = step + 1
                            member[used] = i
                            used += 1
            elif waiting[j] and seen[j] != step + 1:
                seen[j] = step + 1
                member[used] = j
                used += 1
        size[p] = used - first[p]
        element_alive[p] = True

        # What is left includes the members, all joined to one another: at least that must still be eliminated.
        width = float(size[p] + hubs)
        entries += width
        operations += width * width
        cost[0], cost[1] = max(2 * entries, width * width), max(operations, width**3 / 3)
        if cost[0] > most_entries or cost[1] > most_operations:
            return False

        # How many members each neighbouring element has beyond those of p.
        for z in range(first[p], used):
            i = member[z]
            for q in range(start[i], start[i] + elements[i]):
                e = neighbour[q]
                if element_alive[e]:
                    if beyond[e] < base:
                        beyond[e] = base + size[e]
                    beyond[e] -= 1

        for z in range(first[p], used):
            i = member[z]
            bound, to = size[p] - 1, start[i]
            others = start[i] + elements[i]
            for q in range(start[i], others):
                e = neighbour[q]
                if element_alive[e]:
                    if beyond[e] > base:
                        bound += beyond[e] - base
                        neighbour[to] = e
                        to += 1
                    else:
                        element_alive[e] = False
            kept = others
            for q in range(others, start[i] + length[i]):
                j = neighbour[q]
                if waiting[j] and seen[j] != step + 1:
                    neighbour[kept] = j
                    kept += 1
            plain = kept - others
            # One place is free for p: it was a neighbour itself, or an element next to it was swallowed.
            if to < others:
                for q in range(plain):
                    neighbour[to + 1 + q] = neighbour[others + q]
            else:
                for q in range(plain, 0, -1):
                    neighbour[others + q] = neighbour[others + q - 1]
            neighbour[to] = p
            elements[i] = to - start[i] + 1
            length[i] = elements[i] + plain
            # Out of the list of its old degree, into that of the new one.
            if before[i] >= 0:
                after[before[i]] = after[i]
            else:
                head[degree[i]] = after[i]
            if after[i] >= 0:
                before[after[i]] = before[i]
            degree[i] = max(0, min(bound + plain, degree[i] + size[p] - 1, live - step - 2))
            after[i], before[i] = head[degree[i]], -1
            if after[i] >= 0:
                before[after[i]] = i
            head[degree[i]] = i
            least = min(least, degree[i])
        base += states + 1
    cost[0], cost[1] = 2 * entries, operations
    return True


def elimination_order(
    rows: PolicyRows, most_entries: float, most_operations: float
) -> tuple[NDArray[np.int64], DirectSolveCost]:
    """The order of elimination, int64 (S,), and its cost; the order is of no use where that is not affordable."""
    import scipy.sparse as sp

    states = rows.n_states
    # The matrix shares memory with what it is given, and sums may sort it, so it gets a copy.
    ones = np.ones(len(rows.mass), dtype=np.int32)
    pattern = sp.csr_array((ones, rows.following.copy(), rows.pointer), shape=(states, states))
    joined = (pattern + pattern.T).tocoo()
    apart = joined.row != joined.col
    neighbour = joined.col[apart].astype(np.int32)
    length = np.bincount(joined.row[apart], minlength=states).astype(np.int64)
    start = np.cumsum(length) - length
    hub = length > max(16.0, _HUB * np.sqrt(states))
    order, cost = np.empty(states, dtype=np.int64), np.zeros(2)
    affordable = _minimum_degree(start, length, neighbour, hub, most_entries, most_operations, order, cost)
    return order, DirectSolveCost(float(cost[0]), float(cost[1]), bool(affordable))
