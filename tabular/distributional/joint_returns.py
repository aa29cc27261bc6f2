"""Joint return laws of a policy: by repeated exact backups with a bound on their error, and by Monte Carlo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.keyed_random import MOST_DRAWS, keyed_uniforms
from rlbook.tabular.distributional.backup import carried
from rlbook.tabular.distributional.exact_iteration import absolute_returns
from rlbook.tabular.distributional.joint_laws import JointLaws, backed_up
from rlbook.tabular.distributional.repeated_sweeps import repeated_sweeps
from rlbook.tabular.solution import Reason
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.distributional.vector_rewards import VectorRewardMDP, VectorRows

_DRAWS = 84  # the purpose of transition draws


@dataclass(frozen=True, eq=False)
class JointReturnLaws:
    """laws: one joint law per state. error_bounds: W_1 to the true laws, (S,), in units of return, at most, to
    rounding. sweeps: backups made. reason: why they ended."""

    laws: JointLaws
    error_bounds: NDArray[np.float64]
    sweeps: int
    reason: Reason


def joint_return_laws(
    world: VectorRewardMDP,
    policy: ArrayLike,
    *,
    most_atoms: int = 1024,
    sweeps: int = 200,
    tolerance: float = 1e-9,
    cancel: NDArray[np.uint8] | None = None,
) -> JointReturnLaws:
    """Repeat exact backups from the point mass at 0, merging atoms where a law gets more than `most_atoms`.

    tolerance: on what is left of the return, in W_1; sweeps and cancel as in `return_laws`. The bound has two parts:
    the discounted length of all rewards yet to come, and the merging costs, of which a backup carries the discounted
    mean of the next states. Raises MDPError at discount 1 where episodes need not end, ParameterError for numbers out
    of range.
    """
    rows, discount = world.policy_rows(policy), world.mdp.discount
    left = absolute_returns(world.length_mdp(), policy)
    merged = np.zeros(world.n_states)
    laws = JointLaws.point_masses(np.zeros((world.n_states, world.n_sources)))

    def sweep() -> float:
        nonlocal laws, left, merged
        laws, cost = backed_up(rows, laws, discount).merged(most_atoms)
        left = carried(rows, discount, left)
        merged = carried(rows, discount, merged) + cost
        return float(left.max())

    ahead, reason = repeated_sweeps(sweep, lambda most: most, sweeps=sweeps, tolerance=tolerance, cancel=cancel)
    return JointReturnLaws(laws, left + merged, len(ahead), reason)


def sampled_joint_returns(
    world: VectorRewardMDP, policy: ArrayLike, state: int, n: int, *, seed: int = 0, most_steps: int = 10_000
) -> NDArray[np.float64]:
    """n independent vector returns from `state` under a policy, (n, d), in units of return.

    No return holds more than `most_steps` rewards. Return i at n is a function of (seed, state, i) alone. Raises
    ParameterError for numbers out of range, MDPError for a policy that is none.
    """
    limits = {
        "state": (state, 0, world.n_states - 1),
        "n": (n, 1, MOST_DRAWS),
        "most_steps": (most_steps, 1, 2**39),
        "seed": (seed, 0, 2**63 - 1),
    }
    for name, (value, least, most) in limits.items():
        require_whole(name, value, least, most)
    rows = world.policy_rows(policy)
    owner = np.repeat(np.arange(world.n_states), np.diff(rows.entry_ptr))
    level = row_levels(rows) + owner
    total = np.zeros((n, world.n_sources))
    at, weight = np.full(n, state), 1.0
    for t in range(most_steps):
        running = np.flatnonzero(at >= 0)
        if len(running) == 0:
            break
        u = keyed_uniforms(seed, n, replicate=state, purpose=_DRAWS, step=t)[running]
        entry = np.searchsorted(level, at[running] + u, side="right")
        entry = np.clip(entry, rows.entry_ptr[at[running]], rows.entry_ptr[at[running] + 1] - 1)
        total[running] += weight * rows.reward[entry]
        at[running] = rows.source[entry]
        weight *= world.mdp.discount
    return total


def row_levels(rows: VectorRows) -> NDArray[np.float64]:
    """The distribution function at each entry of its row, (entries,), 1 at each row's end to rounding."""
    sums = np.cumsum(rows.weight)
    before = np.concatenate([[0.0], sums])[rows.entry_ptr[:-1]]
    return sums - np.repeat(before, np.diff(rows.entry_ptr))
