"""Categorical return laws on a device: the twins of `categorical_projection` and `Categorical.evaluation_sweep`.

    there = DeviceCategorical(representation, mdp.to("gpu"))
    old, new = there.place(masses), there.place(masses)
    there.evaluation_sweep(there.place(weights), old, new)      # stays on the device; fetch(new) brings it back

Equal to the CPU to rounding, since sums run in another order: categorical.cu says in which. docs/gpu_parity.md in the
repository says on which devices it has run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp_device import cupy_with_device
from rlbook.tabular.distributional.categorical import Categorical, laws_to_project
from rlbook.tabular.gpu.return_laws import DeviceReturnLaws, compiled, index_of, launch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp_device import DeviceMDP

MOST_ATOMS = 3000  # two rows of them fit into the memory that a block shares


def categorical_projection(support: ArrayLike, probs: ArrayLike, atoms: ArrayLike) -> NDArray[np.float64]:
    """Project discrete laws onto fixed atoms, on the device; arguments, result and errors as on the CPU.

    Arrays come from the host and go back there; places that do not rise are sorted before they leave.
    """
    target = Categorical(np.asarray(atoms, dtype=np.float64))
    places, mass, shared = laws_to_project(support, probs)
    bad = ~(np.isfinite(mass) & (mass >= 0) & np.isfinite(places))
    if np.any(bad):
        raise ParameterError(
            f"law {np.argwhere(bad)[0, 0]} has a place that is not finite, or a weight that is negative or not finite; "
            "places must be finite and weights 0 or more"
        )
    if np.any(np.diff(places, axis=-1) < 0):
        places = np.broadcast_to(places, mass.shape)
        order = np.argsort(places, axis=1, kind="stable")
        places, mass, shared = np.take_along_axis(places, order, 1), np.take_along_axis(mass, order, 1), False
    cupy = cupy_with_device()
    out = cupy.empty(len(mass) * target.n_parameters, dtype=np.float64)
    launch(
        _kernels(target.n_parameters, "int")["project"],
        len(mass),
        *(cupy.asarray(np.ascontiguousarray(places)), cupy.asarray(np.ascontiguousarray(mass))),
        *(np.int64(mass.shape[1]), np.int32(shared)),
        *(cupy.asarray(target.atoms), cupy.asarray(target.inverse_gaps), out, np.uint32(len(mass))),
    )
    found = np.asarray(out.get()).reshape(len(mass), -1)
    return found[0] if np.ndim(probs) == 1 else found


class DeviceCategorical(DeviceReturnLaws):
    """Projected backups of masses on fixed atoms for an MDP on the device, `mdp.to("gpu")`.

    Raises ParameterError for more than 3,000 atoms, MissingExtraError without CuPy, RlbookError without a device.
    """

    def __init__(self, representation: Categorical, mdp: DeviceMDP) -> None:
        super().__init__(mdp, representation.n_parameters)
        self._run = _kernels(representation.n_parameters, index_of(mdp))
        self._atoms = self._cupy.asarray(representation.atoms)
        self._inverse_gaps = self._cupy.asarray(representation.inverse_gaps)

    def evaluation_sweep(self, policy_weights: Any, parameters: Any, out: Any) -> None:
        """Write the projected backup of masses `parameters` (S, k) into `out`, another array (S, k).

        All lie on the device, float64; policy_weights: (pairs,). Raises ParameterError for other sizes and types.
        """
        launch(
            self._run["evaluation_sweep"],
            self._mdp.n_states,
            *self._sweep_arguments(policy_weights, parameters, out),
            *(self._atoms, self._inverse_gaps, out, np.uint32(self._mdp.n_states)),
        )


def _kernels(atoms: int, index: str) -> dict[str, Any]:
    if atoms > MOST_ATOMS:
        raise ParameterError(f"there are {atoms} atoms, but a device takes at most {MOST_ATOMS}; stay on the CPU")
    return compiled("categorical.cu", ("project", "evaluation_sweep"), f"-DATOMS={atoms}", f"-DINDEX={index}")
