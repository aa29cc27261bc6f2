"""Do episodes end? Decided from the graph of an MDP alone, by exact reasoning on which probabilities are positive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import int32, int64, kernel, reads, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP


@kernel(reads(int64), reads(int64), reads(int64), reads(int32), writes(int64))
def _peel(state_ptr: Any, row_ptr: Any, continuing_end: Any, next_state: Any, staying: Any) -> None:
    """Write into `staying` how many actions keep state s among states with such actions, for ever (0: none).

    A pair stays while it never terminates and all its successors stay; a state stays while one of its pairs does. The
    greatest such set is found by removing what cannot stay, each transition looked at twice.
    """
    states, pairs = len(state_ptr) - 1, len(row_ptr) - 1
    owner = np.empty(pairs, np.int64)
    for s in range(states):
        for i in range(state_ptr[s], state_ptr[s + 1]):
            owner[i] = s
    first = np.zeros(states + 1, np.int64)
    for i in range(pairs):
        for k in range(row_ptr[i], continuing_end[i]):
            first[next_state[k] + 1] += 1
    for s in range(states):
        first[s + 1] += first[s]
    predecessor = np.empty(first[states], np.int64)
    filled = first[:-1].copy()
    for i in range(pairs):
        for k in range(row_ptr[i], continuing_end[i]):
            predecessor[filled[next_state[k]]] = i
            filled[next_state[k]] += 1
    alive = np.ones(pairs, np.bool_)
    queue = np.empty(states, np.int64)
    head, tail = 0, 0
    for s in range(states):
        staying[s] = state_ptr[s + 1] - state_ptr[s]
        for i in range(state_ptr[s], state_ptr[s + 1]):
            if continuing_end[i] < row_ptr[i + 1]:
                alive[i] = False
                staying[s] -= 1
        if staying[s] == 0:
            queue[tail] = s
            tail += 1
    while head < tail:
        removed = queue[head]
        head += 1
        for at in range(first[removed], first[removed + 1]):
            i = predecessor[at]
            if alive[i]:
                alive[i] = False
                staying[owner[i]] -= 1
                if staying[owner[i]] == 0:
                    queue[tail] = owner[i]
                    tail += 1


def endless_states(mdp: FiniteMDP) -> NDArray[np.int64]:
    """States from which some policy keeps the episode going for ever with probability 1, in increasing order.

    Empty exactly when episodes end with probability 1 under every policy (then optimal values exist at discount 1).
    The set is the union of the end components without termination (de Alfaro 1997).
    """
    staying = np.empty(mdp.n_states, dtype=np.int64)
    _peel(mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, staying)
    return np.flatnonzero(staying)
