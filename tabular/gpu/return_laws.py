"""What sweeps of return laws on a device share: where arrays lie, how they are checked, how kernels are launched."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp_device import cupy_with_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp_device import DeviceMDP

THREADS = 64  # as in categorical.cu and quantile.cu
_BLOCKS_PER_MULTIPROCESSOR = 32


class DeviceReturnLaws:
    """Tables of laws for an MDP on the device, `mdp.to("gpu")`, one row of `n_parameters` doubles for each state."""

    def __init__(self, mdp: DeviceMDP, n_parameters: int) -> None:
        self._cupy = cupy_with_device()
        self._mdp, self._n_parameters = mdp, n_parameters
        paid = mdp.host.reward
        self._varies = paid is not None
        self._reward = self._cupy.asarray(np.zeros(1) if paid is None else paid)

    def place(self, array: NDArray[np.float64]) -> Any:
        """A copy on the device."""
        return self._cupy.asarray(array)

    def fetch(self, array: Any) -> NDArray[np.float64]:
        """A copy on the host."""
        return np.asarray(array.get())

    def _sweep_arguments(self, policy_weights: Any, parameters: Any, out: Any) -> tuple[Any, ...]:
        """What both sweeps are given first; raises ParameterError for arrays of other sizes or types."""
        mdp, table = self._mdp, self._mdp.n_states * self._n_parameters
        for name, array, size in (
            ("policy_weights", policy_weights, mdp.n_pairs),
            ("parameters", parameters, table),
            ("out", out, table),
        ):
            if array.dtype != np.float64 or array.nbytes != 8 * size:
                raise ParameterError(
                    f"{name} holds {array.nbytes} bytes of {array.dtype}; give {size} of float64, on the device"
                )
        if out is parameters:
            raise ParameterError(
                "out is parameters itself; give an array of its own, since rows are read until the end"
            )
        return (
            *(mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability, mdp.expected_reward),
            *(self._reward, np.int32(self._varies), policy_weights, np.float64(mdp.discount), parameters),
        )


def index_of(mdp: DeviceMDP) -> str:
    """The C type that counts pairs and transitions of this MDP."""
    return "int" if mdp.row_ptr.dtype == np.int32 else "long long"


def compiled(source: str, names: tuple[str, ...], *options: str) -> dict[str, Any]:
    """Kernels of a source in this package, by name, compiled for the device."""
    module = cupy_with_device().RawModule(code=_text(source), options=options)
    return {name: module.get_function(name) for name in names}


@cache
def _text(source: str) -> str:
    return files("rlbook.tabular.gpu").joinpath(source).read_text(encoding="utf-8")


def launch(run: Any, laws: int, *arguments: Any) -> None:
    """One block per law, or several laws per block where there are very many."""
    processors = int(cupy_with_device().cuda.Device().attributes["MultiProcessorCount"])
    run((min(laws, processors * _BLOCKS_PER_MULTIPROCESSOR),), (THREADS,), arguments)
