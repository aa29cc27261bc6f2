"""Bellman backups of a `FunctionMDP`: its functions are called again at every sweep, and no transition is stored.

    (T v)(s) = max_a [ r(s, a) + discount * sum_{s'} p(s' | s, a) v(s') ]        (Puterman 1994, eq. 6.2.2)

One pass over all pairs tries the functions and finds what the certificate needs (masses, the longest row, the largest
reward). From then on kernels call them without a guard, compiled into the loop. Memory: the vectors v, T v, one choice
per state, and one vector for sweeps under a policy. States are taken in portions that the model alone determines, so
results do not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import prange

from rlbook.function_passes import WORTH_PARALLEL, block_size, blocks, in_blocks
from rlbook.kernel import Kernel, float64, int64, writes
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.synchronous_sweeps import sweeps_until

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.function_mdp import FunctionMDP
    from rlbook.model_functions import ModelFunctions

_VECTORS = (float64, writes(float64), writes(float64), writes(int64), writes(float64, 2))


@dataclass(frozen=True)
class _Kernels:
    """Each serial and parallel."""

    backup: tuple[Kernel, Kernel]
    policy_sweep: tuple[Kernel, Kernel]


@lru_cache(maxsize=16)
def _kernels(functions: ModelFunctions) -> _Kernels:
    """The sweeps with these functions compiled into them."""
    successors, reward, feasible = functions.successors, functions.reward, functions.feasible

    @numba.njit(nogil=True)
    def continued(s: int, a: int, following: Any, mass: Any, v: Any) -> float:
        """The expectation of v after the pair (s, a)."""
        total = 0.0
        for k in range(min(successors(s, a, following, mass), len(following))):
            # Read as unsigned, what is negative is beyond the last state: one comparison finds all that terminates.
            t = np.uint64(following[k])
            if t < np.uint64(len(v)):
                total += mass[k] * v[t]
        return total

    @numba.njit(nogil=True)
    def backup_block(
        first: int, end: int, actions: int, room: int, gamma: float, v: Any, tv: Any, greedy: Any, reach: Any
    ) -> None:
        following, mass = np.empty(room, np.int64), np.empty(room)
        least, greatest = np.inf, -np.inf
        for s in range(first, end):
            best, choice = -np.inf, 0
            for a in range(actions):
                if feasible(s, a):
                    paid = float(reward(s, a))
                    if paid > -np.inf:
                        q = paid + gamma * continued(s, a, following, mass, v)
                        if q > best:
                            best, choice = q, a
            tv[s], greedy[s] = best, choice
            least, greatest = min(least, best - v[s]), max(greatest, best - v[s])
        reach[0], reach[1] = least, greatest

    def backup(states: int, actions: int, room: int, gamma: float, v: Any, tv: Any, greedy: Any, reach: Any) -> None:
        """Write T v into `tv` and a maximising action into `greedy`; each portion's extremes of T v - v."""
        size = block_size(states)
        for block in prange(len(reach)):
            first, end = block * size, min((block + 1) * size, states)
            backup_block(first, end, actions, room, gamma, v, tv, greedy, reach[block])

    @numba.njit(nogil=True)
    def policy_block(first: int, end: int, room: int, gamma: float, v: Any, new: Any, choice: Any, reach: Any) -> None:
        following, mass = np.empty(room, np.int64), np.empty(room)
        least, greatest = np.inf, -np.inf
        for s in range(first, end):
            value = float(reward(s, choice[s])) + gamma * continued(s, choice[s], following, mass, v)
            new[s] = value
            least, greatest = min(least, value - v[s]), max(greatest, value - v[s])
        reach[0], reach[1] = least, greatest

    def policy_sweep(states: int, room: int, gamma: float, v: Any, new: Any, choice: Any, reach: Any) -> None:
        """Write r + gamma P v of the policy `choice` into `new`, and each portion's extremes of the change."""
        size = block_size(states)
        for block in prange(len(reach)):
            first, end = block * size, min((block + 1) * size, states)
            policy_block(first, end, room, gamma, v, new, choice, reach[block])

    return _Kernels(
        in_blocks((int64, int64, int64, *_VECTORS), backup), in_blocks((int64, int64, *_VECTORS), policy_sweep)
    )


class FunctionOperator:
    """The Bellman operator of a `FunctionMDP`; a choice is an action label."""

    def __init__(self, mdp: FunctionMDP) -> None:
        self._mdp = mdp
        self._run = _kernels(mdp.functions).backup[int(np.prod(mdp.sizes, dtype=float) >= WORTH_PARALLEL)]
        self._reach = np.empty((blocks(mdp.n_states), 2))

    @property
    def n_states(self) -> int:
        return self._mdp.n_states

    def contraction(self, cancel: NDArray[np.uint8] | None) -> Contraction:
        found = self._mdp.examine(cancel)
        masses = found.least_mass, found.greatest_mass
        return Contraction.of_extremes(self._mdp.discount, masses, found.longest_row, found.largest_reward)

    def backup(self, v: NDArray[np.float64], tv: NDArray[np.float64], greedy: NDArray[np.int64]) -> tuple[float, float]:
        self._mdp.examine()  # functions run without a guard only after they have passed
        self._run(*self._mdp.sizes, self._mdp.discount, v, tv, greedy, self._reach)
        return float(self._reach[:, 0].min()), float(self._reach[:, 1].max())

    def policy_sweeps(self) -> FunctionSweeps:
        return FunctionSweeps(self._mdp)

    def labels(self, greedy: NDArray[np.int64]) -> NDArray[np.int32]:
        return greedy.astype(np.int32)


class FunctionSweeps:
    """Sweeps under one policy of a `FunctionMDP`: one call of its functions per state. Memory: one vector."""

    def __init__(self, mdp: FunctionMDP) -> None:
        self._mdp = mdp
        self._scratch = np.empty(mdp.n_states)
        self._reach = np.empty((blocks(mdp.n_states), 2))
        self._run = _kernels(mdp.functions).policy_sweep[int(mdp.n_states * mdp.most_successors >= WORTH_PARALLEL)]
        self.cost = mdp.n_states / mdp.examine().pairs

    def gather(self, greedy: NDArray[np.int64]) -> None:
        self._choice = greedy

    def sweep(
        self,
        v: NDArray[np.float64],
        gap_weights: tuple[float, float],
        goal: float,
        most: int,
        cancel: NDArray[np.uint8] | None = None,
    ) -> int:
        return sweeps_until(self._step, (v, self._scratch), gap_weights, goal, most, cancel)

    def _step(self, v: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[float, float]:
        states, _, room = self._mdp.sizes
        self._run(states, room, self._mdp.discount, v, new, self._choice, self._reach)
        return float(self._reach[:, 0].min()), float(self._reach[:, 1].max())
