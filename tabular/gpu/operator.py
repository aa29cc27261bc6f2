"""The Bellman operator of an MDP on a device, as the solvers ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.mdp_device import cupy_with_device
from rlbook.tabular.bellman import value_vector
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.gpu.kernels import ROWS, DeviceKernels, width_for

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp_device import DeviceMDP

_SWEEPS_AT_ONCE = 16  # launched before the host asks whether they were enough


class DeviceOperator:
    """The operator of a `DeviceMDP`. Its vectors are CuPy arrays: `place` brings one there, `fetch` brings it back.

    width: lanes that share a row, a power of two up to 32; by default chosen by the mean length of the rows.
    """

    def __init__(self, mdp: DeviceMDP, width: int | None = None) -> None:
        self._mdp = mdp
        self._cupy = cupy_with_device()
        width = width or width_for(mdp.n_transitions / mdp.n_pairs)
        self._kernels = DeviceKernels(width, mdp.row_ptr.dtype)
        self._summary = self._cupy.empty(3, dtype=np.float64)
        self._magnitude = 0.0

    @property
    def n_states(self) -> int:
        return self._mdp.n_states

    def contraction(self, cancel: NDArray[np.uint8] | None) -> Contraction:
        """That of the MDP on the host: the bound holds for sums in any order, so also for those of a device."""
        return Contraction.of(self._mdp.host, cancel)

    def place(self, vector: NDArray[Any]) -> Any:
        """A copy on the device."""
        return self._cupy.asarray(vector)

    def fetch(self, vector: Any) -> NDArray[Any]:
        """A copy on the host."""
        return np.asarray(vector.get())

    def backup(self, v: Any, tv: Any, greedy: Any) -> tuple[float, float]:
        """Write T v and a maximising pair per state; return the least and greatest T v - v."""
        self.launch_backup(v, tv, greedy)
        least, greatest, self._magnitude = self._summary.get().tolist()
        return least, greatest

    def launch_backup(self, v: Any, tv: Any, greedy: Any) -> None:
        """The same without waiting for its end."""
        mdp, kernels = self._mdp, self._kernels
        kernels.launch(
            "backup",
            mdp.n_states,
            *(mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability, mdp.expected_reward),
            *(np.float64(mdp.discount), v, tv, greedy, np.uint32(mdp.n_states)),
            *(kernels.partial, kernels.ticket, self._summary),
        )

    def magnitude(self) -> float:
        """The greatest |v| of the vector that was last backed up."""
        return self._magnitude

    def policy_sweeps(self) -> DeviceGreedyRows:
        return DeviceGreedyRows(self._mdp, self._kernels)

    def labels(self, greedy: Any) -> NDArray[np.int32]:
        return self._mdp.host.action[self.fetch(greedy)]


class DeviceGreedyRows:
    """Room on the device for the rows of one deterministic policy, reused from policy to policy.

    cost: work of one sweep as a part of a backup of all pairs. Memory: the longest row of each state, and five vectors.
    """

    def __init__(self, mdp: DeviceMDP, kernels: DeviceKernels) -> None:
        host, states = mdp.host, mdp.n_states
        longest = np.maximum.reduceat(host.continuing_end - host.row_ptr[:-1], host.state_ptr[:-1])
        end = np.cumsum(longest)
        room, index = int(end[-1]), mdp.row_ptr.dtype
        self._cupy = cupy = cupy_with_device()
        self.cost = room / mdp.n_transitions
        self._mdp, self._kernels = mdp, kernels
        self._held = cupy.asarray(np.full(states, -1, dtype=np.int64))
        self._rows = (
            *(cupy.asarray((end - longest).astype(index)), cupy.empty(states, dtype=index)),
            *(cupy.empty(room, dtype=np.int32), cupy.empty(room, dtype=np.float64)),
            cupy.empty(states, dtype=np.float64),
        )
        self._scratch = cupy.empty(states, dtype=np.float64)
        self._ended = cupy.zeros(1, dtype=np.int32)

    def gather(self, greedy: Any) -> None:
        """Take the rows of the pairs `greedy`, int64 (S,) on the device."""
        mdp = self._mdp
        self._kernels.launch(
            "gather",
            mdp.n_states,
            *(mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability, mdp.expected_reward),
            *(greedy, self._held, *self._rows, np.uint32(mdp.n_states)),
        )

    def sweep(
        self,
        v: Any,
        gap_weights: tuple[float, float],
        goal: float,
        most: int,
        cancel: NDArray[np.uint8] | None = None,
    ) -> int:
        """Evaluate in place until the gap implied by a sweep's changes is at most `goal`; return the sweeps done.

        Sweeps are launched a few at a time: those after the one that reached the goal find this out and do nothing.
        """
        states, kernels = self._mdp.n_states, self._kernels
        weights = np.float64(gap_weights[0]), np.float64(gap_weights[1]), np.float64(goal)
        vectors = v, self._scratch
        self._ended.fill(0)
        done = ended = 0
        while done < most and not ended and not (done and cancel is not None and cancel[0]):
            for number in range(done, min(done + _SWEEPS_AT_ONCE, most)):
                kernels.launch(
                    "sweep",
                    -(-states // ROWS),
                    *(*self._rows, np.float64(self._mdp.discount), vectors[number % 2], vectors[1 - number % 2]),
                    *(np.uint32(states), *weights, np.int32(number + 1)),
                    *(kernels.partial, kernels.ticket, self._ended),
                )
            done = min(done + _SWEEPS_AT_ONCE, most)
            ended = int(self._ended.get()[0])
        done = ended or done
        if done % 2:
            self._cupy.copyto(v, self._scratch)
        return done


def bellman_backup(mdp: DeviceMDP, values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Apply the Bellman optimality operator once, on the device; the twin of `rlbook.tabular.bellman_backup`.

    values: (S,), in units of return, on the host. Returns T v, (S,), and a greedy policy as action labels, (S,), both
    on the host; among ties the lowest label. Raises MDPError on a wrong shape or values that are not finite.
    """
    operator = DeviceOperator(mdp)
    v = value_vector(mdp, values)
    placed, tv = operator.place(v), operator.place(np.empty_like(v))
    greedy = operator.place(np.empty(len(v), dtype=np.int64))
    operator.backup(placed, tv, greedy)
    return operator.fetch(tv), operator.labels(greedy)
