"""Prioritised sweeping: back up next the state whose value is furthest from its backup (Moore & Atkeson 1993).

The model is known here, so that this is a planner. Each state s has a priority, an upper bound on its Bellman residual
|(T v)(s) - v(s)|. It starts as that residual. Backing up s sets it to 0, and where v(s) moves by delta, each
predecessor s_ gets

    priority(s_) += discount * max_a p(s | s_, a) |delta|,

since (T v)(s_) cannot move by more. (Moore & Atkeson keep the larger of the two terms; their sum bounds the residual.)
States above a threshold wait in a heap; once it is empty, every residual is at most the threshold, a synchronous backup
certifies the gap and measures all residuals anew, and the threshold shrinks.

It shines where news spreads from few states, such as a goal, since nothing is backed up before news reaches it. Like
Gauss-Seidel it destroys span convergence where nothing terminates and the chain mixes fast: see `gauss_seidel`. The
heap and the predecessors cost time for each backup that a plain sweep does not spend (Wingate & Seppi 2005 measure it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError
from rlbook.kernel import float64, inline, int32, int64, kernel, reads, uint8, writes
from rlbook.tabular.bellman import backup_kernel, expectation, kernel_arguments, value_vector
from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.gauss_seidel import gap_to_aim_at
from rlbook.tabular.policy_rows import require_stored
from rlbook.tabular.stopping import DEFAULT_TOLERANCE, cancel_flag

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.certificate import Contraction
    from rlbook.tabular.operator import BellmanOperator
    from rlbook.tabular.solution import Solution

_MOST_SWEEPS = 20  # backups between two certificates, in sweeps: priorities are sums, and drift above the residuals
_POLLED_EVERY = 1024  # backups


@kernel(
    *(reads(int64), reads(int64), reads(int64), reads(int32), reads(float64), float64),
    *(writes(int64), writes(int64), writes(int32), writes(float64)),
)
def _predecessors(
    state_ptr: Any,
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    gamma: float,
    first: Any,
    end: Any,
    predecessor: Any,
    weight: Any,
) -> None:
    """Write who leads to state t into predecessor[first[t]:end[t]], in increasing order, each once.

    weight: gamma * max_a p(t | predecessor, a).
    """
    states = len(state_ptr) - 1
    first[:] = 0
    for i in range(len(row_ptr) - 1):
        for k in range(row_ptr[i], continuing_end[i]):
            first[next_state[k] + 1] += 1
    for t in range(states):
        first[t + 1] += first[t]
        end[t] = first[t]
    mass = np.zeros(states)
    owner = np.full(states, -1, np.int64)  # the pair whose probability of going to t is in mass[t]
    for s in range(states):
        for i in range(state_ptr[s], state_ptr[s + 1]):
            for k in range(row_ptr[i], continuing_end[i]):
                t = next_state[k]
                mass[t] = probability[k] + (mass[t] if owner[t] == i else 0.0)
                owner[t] = i
                last = end[t] - 1
                if last >= first[t] and predecessor[last] == s:
                    weight[last] = max(weight[last], gamma * mass[t])
                else:
                    predecessor[end[t]] = s
                    weight[end[t]] = gamma * mass[t]
                    end[t] += 1


@inline
def _before(priority: Any, s: int, t: int) -> bool:
    """Whether s is backed up before t: the higher priority, and among equals the lower state."""
    return priority[s] > priority[t] or (priority[s] == priority[t] and s < t)


@inline
def _rise(heap: Any, position: Any, priority: Any, at: int) -> None:
    """Move the state at this place of the heap up to where its priority belongs."""
    s = heap[at]
    while at > 0 and _before(priority, s, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        position[heap[at]] = at
        at = (at - 1) // 2
    heap[at] = s
    position[s] = at


@inline
def _sink(heap: Any, position: Any, priority: Any, size: int, at: int) -> None:
    """Move the state at this place of the heap down to where its priority belongs."""
    s = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _before(priority, heap[child + 1], heap[child]):
            child += 1
        if not _before(priority, heap[child], s):
            break
        heap[at] = heap[child]
        position[heap[at]] = at
        at = child
    heap[at] = s
    position[s] = at


@kernel(
    *(reads(int64), reads(int64), reads(int64), reads(int32), reads(float64), reads(float64), float64),
    *(writes(int64), writes(int64), writes(int32), writes(float64)),
    *(writes(float64), writes(float64), writes(int64), writes(int64), float64, int64, writes(int64), writes(uint8)),
)
def _prioritised_backups(
    state_ptr: Any,
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    expected_reward: Any,
    gamma: float,
    first: Any,
    end: Any,
    predecessor: Any,
    weight: Any,
    v: Any,
    priority: Any,
    heap: Any,
    position: Any,
    threshold: float,
    most: int,
    order: Any,
    cancel: Any,
) -> tuple[int, int]:
    """Back up the state of highest priority, in place, until none is above `threshold` or `most` backups are done.

    Returns the states and the pairs backed up. The states go into `order` while it has room. heap, position: room for
    one number per state.
    """
    size = 0
    for s in range(len(v)):
        position[s] = -1
        if priority[s] > threshold:
            heap[size] = s
            position[s] = size
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, position, priority, size, at)
    done, pairs = 0, 0
    while size > 0 and done < most:
        if done % _POLLED_EVERY == 0 and cancel[0] != 0:
            break
        s = heap[0]
        position[s] = -1
        size -= 1
        if size > 0:
            heap[0] = heap[size]
            _sink(heap, position, priority, size, 0)
        best = -np.inf
        for i in range(state_ptr[s], state_ptr[s + 1]):
            q = expected_reward[i] + gamma * expectation(probability, next_state, row_ptr[i], continuing_end[i], v)
            if q > best:
                best = q
        change = abs(best - v[s])
        v[s] = best
        priority[s] = 0.0
        if done < len(order):
            order[done] = s
        done += 1
        pairs += state_ptr[s + 1] - state_ptr[s]
        if change == 0.0:
            continue
        for k in range(first[s], end[s]):
            t = predecessor[k]
            priority[t] += weight[k] * change
            if position[t] >= 0:
                _rise(heap, position, priority, position[t])
            elif priority[t] > threshold:
                heap[size] = t
                _rise(heap, position, priority, size)
                size += 1
    return done, pairs


class _Queue:
    """The predecessors of all states, and room for their priorities and the heap.

    Memory: 12 bytes for each continuing transition, and 40 for each state.
    """

    def __init__(self, mdp: FiniteMDP) -> None:
        self._arguments = kernel_arguments(mdp)
        states, continuing = mdp.n_states, int(np.sum(mdp.continuing_end - mdp.row_ptr[:-1]))
        self._predecessors = (
            *(np.empty(states + 1, np.int64), np.empty(states, np.int64)),
            *(np.empty(continuing, np.int32), np.empty(continuing)),
        )
        self._room = (np.empty(states, np.int64), np.empty(states, np.int64))
        self._pairs = mdp.n_pairs
        _predecessors(*self._arguments[:5], mdp.discount, *self._predecessors)

    def run(
        self,
        v: NDArray[np.float64],
        priority: NDArray[np.float64],
        threshold: float,
        most: int,
        order: NDArray[np.int64],
        cancel: NDArray[np.uint8] | None,
    ) -> tuple[int, float]:
        """Back up in the order of priorities; return the states done, and the work as a part of a full backup."""
        flag = cancel_flag(cancel)
        done, pairs = _prioritised_backups(
            *self._arguments,
            *self._predecessors,
            *(v, priority, *self._room, threshold, most, order, flag),
        )
        return int(done), pairs / self._pairs


def prioritised_sweeping(
    mdp: FiniteMDP,
    tol: float = DEFAULT_TOLERANCE,
    *,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 100_000,
    cancel: NDArray[np.uint8] | None = None,
) -> Solution:
    """Solve an MDP by prioritised sweeping (Moore & Atkeson 1993), its model known; arguments as in `value_iteration`.

    `iterations` counts certificates, each a backup of all pairs. `history.work` counts the pairs backed up, with those
    of certificates; what the heap and the predecessors cost shows in `history.seconds` only. It runs on one core.
    """
    require_stored(mdp, "prioritised_sweeping")
    queue: _Queue | None = None
    nowhere = np.empty(0, dtype=np.int64)
    before = np.zeros(mdp.n_states) if initial_values is None else value_vector(mdp, initial_values)

    def sweep(
        operator: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        nonlocal queue
        queue = queue or _Queue(mdp)
        work = 0.0
        residual = np.abs(v - before)
        # Residuals of at most c in size leave a gap of at most 2 c times the weight.
        threshold = gap_to_aim_at(contraction, v, gap, tol) / (2 * contraction.gap_weights[0])
        if residual.max() > threshold:
            v[:] = before  # at which the residuals are known; T v has others
            _, work = queue.run(v, residual, threshold, _MOST_SWEEPS * mdp.n_states, nowhere, cancel)
        before[:] = v
        return work

    return certified_iteration(
        mdp,
        "prioritised-sweeping",
        tol,
        initial_values=initial_values,
        max_iterations=max_iterations,
        cancel=cancel,
        between=sweep,
    )


def prioritised_sweeping_order(
    mdp: FiniteMDP, backups: int, initial_values: ArrayLike | None = None
) -> NDArray[np.int64]:
    """The states that prioritised sweeping backs up, one after the other, int64 (backups,).

    initial_values: (S,), zeros by default. Among equal priorities the lowest state comes first. Fewer states are
    returned only where all residuals have vanished. Raises MDPError for a wrong shape or number of backups.
    """
    require_stored(mdp, "prioritised_sweeping_order")
    if backups < 0:
        raise MDPError(f"backups is {backups}; it must not be negative")
    v = np.zeros(mdp.n_states) if initial_values is None else value_vector(mdp, initial_values)
    tv, greedy = np.empty_like(v), np.empty(mdp.n_states, dtype=np.int64)
    backup_kernel(mdp)(*kernel_arguments(mdp), v, tv, greedy)
    order = np.empty(backups, dtype=np.int64)
    done, _ = _Queue(mdp).run(v, np.abs(tv - v), 0.0, backups, order, None)
    return order[:done]


def prioritised_sweeps(mdp: FiniteMDP, values: ArrayLike, sweeps: int) -> NDArray[np.float64]:
    """What prioritised sweeping passes through: `values`, then the vector after each S backups, (sweeps + 1, S).

    Raises MDPError for a wrong shape or number of sweeps.
    """
    require_stored(mdp, "prioritised_sweeps")
    if sweeps < 0:
        raise MDPError(f"sweeps is {sweeps}; it must not be negative")
    iterates = np.empty((sweeps + 1, mdp.n_states))
    iterates[0] = value_vector(mdp, values)
    tv, greedy = np.empty(mdp.n_states), np.empty(mdp.n_states, dtype=np.int64)
    backup_kernel(mdp)(*kernel_arguments(mdp), iterates[0], tv, greedy)
    priority, nowhere = np.abs(tv - iterates[0]), np.empty(0, dtype=np.int64)
    queue = _Queue(mdp)
    for k in range(sweeps):
        iterates[k + 1] = iterates[k]
        queue.run(iterates[k + 1], priority, 0.0, mdp.n_states, nowhere, None)
    return iterates
