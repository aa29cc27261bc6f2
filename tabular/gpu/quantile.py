"""Return laws as rising locations on a device: the twins of `Quantiles` and `Particles` in projecting and sweeping.

    there = DeviceQuantiles(Quantiles(51), mdp.to("gpu"))
    old, new = there.place(locations), there.place(locations)
    there.evaluation_sweep(there.place(weights), old, new)      # stays on the device; fetch(new) brings it back

Locations have the bits of the CPU, but where a distribution function meets a level to about 1e-12: quantile.cu says
why. docs/gpu_parity.md in the repository says on which devices it has run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.mdp_device import cupy_with_device
from rlbook.tabular.gpu.return_laws import DeviceReturnLaws, compiled, index_of, launch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp_device import DeviceMDP
    from rlbook.tabular.distributional.laws import DiscreteLaws
    from rlbook.tabular.distributional.quantile import LocationLaws

OPTIONS = ("--fmad=false",)


def project(representation: LocationLaws, laws: DiscreteLaws) -> NDArray[np.float64]:
    """`representation.project(laws)` on the device: lower quantiles (n, m); arrays come from the host and go back.

    Raises MissingExtraError without CuPy, RlbookError without a device.
    """
    cupy = cupy_with_device()
    out = cupy.empty(laws.n_laws * representation.m, dtype=np.float64)
    launch(
        compiled("quantile.cu", ("project",), *OPTIONS, "-DINDEX=int")["project"],
        laws.n_laws,
        *(cupy.asarray(array) for array in laws.arrays),
        *_levels(representation, laws.n_laws),
        *(np.int32(representation.m), out, np.uint32(laws.n_laws)),
    )
    return np.asarray(out.get()).reshape(laws.n_laws, representation.m)


class DeviceQuantiles(DeviceReturnLaws):
    """Projected backups of m rising locations for an MDP on the device, `mdp.to("gpu")`.

    Raises MissingExtraError without CuPy, RlbookError without a device.
    """

    def __init__(self, representation: LocationLaws, mdp: DeviceMDP) -> None:
        super().__init__(mdp, representation.m)
        self._levels = _levels(representation, mdp.n_states)
        self._run = compiled("quantile.cu", ("evaluation_sweep",), *OPTIONS, f"-DINDEX={index_of(mdp)}")

    def evaluation_sweep(self, policy_weights: Any, parameters: Any, out: Any) -> None:
        """Write the projected backup of locations `parameters` (S, m), rising in each row, into `out`, another array.

        All lie on the device, float64; policy_weights: (pairs,). Raises ParameterError for other sizes and types.
        """
        m = self._n_parameters
        launch(
            self._run["evaluation_sweep"],
            self._mdp.n_states,
            *self._sweep_arguments(policy_weights, parameters, out),
            *(*self._levels, np.int32(m), np.float64(1 / m), out, np.uint32(self._mdp.n_states)),
        )


def _levels(representation: LocationLaws, n: int) -> tuple[Any, np.int32]:
    """The levels on the device, and whether all laws share them, as kernels read both."""
    levels = representation.levels_of(n)
    return cupy_with_device().asarray(np.ascontiguousarray(levels)), np.int32(len(levels) == 1)
