"""What kernels of fused sweeps are given of an MDP and a policy, checked: shared by representations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.kernel import float64, int32, int64, reads
from rlbook.mdp import owned
from rlbook.tabular.distributional.laws import MASS_TOLERANCE
from rlbook.tabular.policy_rows import require_stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

SWEEP_TYPES = (
    reads(int64),  # state_ptr
    reads(int64),  # row_ptr
    reads(int64),  # continuing_end
    reads(int32),  # next_state
    reads(float64),  # probability
    reads(float64),  # expected_reward
    reads(float64),  # reward, (0,) where each transition of a pair pays expected_reward
    reads(float64),  # weight
    float64,  # discount
)
_NONE = owned(np.empty(0))


def sweep_arguments(
    mdp: FiniteMDP, policy_weights: NDArray[np.float64], parameters: NDArray[np.float64], out: NDArray[np.float64]
) -> tuple[Any, ...]:
    """The arguments of `SWEEP_TYPES` for a sweep from `parameters` (S, k) to `out` (S, k).

    policy_weights: (pairs,), one probability per pair, summing to 1 in each state to 1e-9. Raises ParameterError for
    other weights and shapes, and for an `out` that is no float64 array of its own.
    """
    require_stored(mdp, "a sweep of return laws")
    weight = flat_view(np.asarray(policy_weights, dtype=np.float64))
    shape = (mdp.n_states, *parameters.shape[1:])
    if parameters.shape != shape or out.shape != shape or weight.shape != (mdp.n_pairs,):
        raise ParameterError(
            f"parameters has shape {parameters.shape}, out {out.shape} and policy_weights {weight.shape}; "
            f"give {shape} twice, and ({mdp.n_pairs},)"
        )
    if out.dtype != np.float64 or not out.flags.c_contiguous or np.may_share_memory(parameters, out):
        raise ParameterError("out is not a float64 array of its own, stored row by row; make it with np.empty_like")
    totals = np.add.reduceat(weight, mdp.state_ptr[:-1])
    if not (weight.min() >= 0 and np.abs(totals - 1).max() <= MASS_TOLERANCE):
        raise ParameterError("policy_weights are no policy; give probabilities that sum to 1 in each state")
    return (
        *(mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, mdp.probability, mdp.expected_reward),
        *(_NONE if mdp.reward is None else mdp.reward, weight, mdp.discount),
    )


def flat_view(array: NDArray[Any]) -> NDArray[Any]:
    """A flat read-only view for kernels, or a copy where the array is not contiguous."""
    view = np.ascontiguousarray(array).reshape(-1).view()
    view.setflags(write=False)
    return view
