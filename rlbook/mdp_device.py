"""`DeviceMDP`: a finite MDP whose arrays lie on a CUDA device, as CuPy arrays. Made by `mdp.to("gpu")`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MissingExtraError, RlbookError, UnknownNameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

# Room is left for an index to run past the end of its row without overflowing.
_MOST_IN_INT32 = 2**31 - 4096


@dataclass(frozen=True, eq=False)
class DeviceMDP:
    """A `FiniteMDP` (`host`, which it keeps) and its arrays on the device under the same names, as CuPy arrays.

    state_ptr (S + 1,), row_ptr (pairs + 1,) and continuing_end (pairs,) are int32 where that fits, else int64;
    next_state is int32 and probability float64, both (transitions,); expected_reward is float64 (pairs,). What only
    samplers, names and averages need stays on the host. Solvers take it as it is: `value_iteration(mdp.to("gpu"))`.
    """

    host: FiniteMDP
    state_ptr: Any = field(repr=False)
    row_ptr: Any = field(repr=False)
    continuing_end: Any = field(repr=False)
    next_state: Any = field(repr=False)
    probability: Any = field(repr=False)
    expected_reward: Any = field(repr=False)

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def discount(self) -> float:
        return self.host.discount

    @property
    def n_states(self) -> int:
        return self.host.n_states

    @property
    def n_actions(self) -> int:
        return self.host.n_actions

    @property
    def n_pairs(self) -> int:
        return self.host.n_pairs

    @property
    def n_transitions(self) -> int:
        return self.host.n_transitions

    @property
    def start(self) -> NDArray[np.float64]:
        """Probabilities of the first state, (S,), on the host."""
        return self.host.start

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        arrays = [self.state_ptr, self.row_ptr, self.next_state, self.probability, self.expected_reward]
        if self.host.terminates:  # else a view of row_ptr
            arrays.append(self.continuing_end)
        return sum(int(array.nbytes) for array in arrays)

    def to(self, device: str) -> FiniteMDP | DeviceMDP:
        """The same MDP on "cpu" or "gpu"."""
        return self if moves_to_gpu(device) else self.host


def to_gpu(mdp: FiniteMDP) -> DeviceMDP:
    """Copy what solvers need to the current CUDA device.

    Raises MissingExtraError without CuPy, RlbookError where no device can be used or its memory does not suffice.
    """
    cupy = cupy_with_device()
    index = np.int32 if mdp.n_transitions <= _MOST_IN_INT32 else np.int64
    try:
        row_ptr = cupy.asarray(mdp.row_ptr.astype(index))
        # Where all transitions continue, a row's end is the next row's start, already there to be read.
        continuing_end = cupy.asarray(mdp.continuing_end.astype(index)) if mdp.terminates else row_ptr[1:]
        return DeviceMDP(
            host=mdp,
            state_ptr=cupy.asarray(mdp.state_ptr.astype(index)),
            row_ptr=row_ptr,
            continuing_end=continuing_end,
            next_state=cupy.asarray(mdp.next_state),
            probability=cupy.asarray(mdp.probability),
            expected_reward=cupy.asarray(mdp.expected_reward),
        )
    except MemoryError as error:
        raise RlbookError(
            f"mdp {mdp.name!r} takes about {mdp.nbytes / 2**30:.3g} GiB, more than the device has free; stay on the "
            'CPU with mdp.to("cpu"), or free memory there'
        ) from error


def moves_to_gpu(device: str) -> bool:
    """Whether `device` means the GPU; raises UnknownNameError for what is neither "cpu" nor "gpu"."""
    if device not in ("cpu", "gpu"):
        raise UnknownNameError("device", device, ["cpu", "gpu"])
    return device == "gpu"


def cupy_with_device() -> Any:
    """The module `cupy`, once it is known that a device answers."""
    try:
        import cupy
    except ImportError as error:
        raise MissingExtraError("CuPy", "gpu", '"cupy-cuda12x[ctk]"') from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RlbookError(
            f"no CUDA device can be used here ({error}); it takes an NVIDIA GPU and its driver, or stay on the CPU "
            'with mdp.to("cpu")'
        ) from error
    return cupy
