"""What an undiscounted backup can be trusted with: its rounding, and how long a policy's episodes last."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.bellman import LARGEST
from rlbook.tabular.certificate import OUTWARD, UNIT_ROUNDOFF, Contraction
from rlbook.tabular.chain_equations import solves_quickly, total_of_policy
from rlbook.tabular.operator import StoredOperator
from rlbook.tabular.quotient import assembled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

_SMALL = 20_000  # states up to which the time to the end is rather found by a direct solve
_SMALL_GROWTH = 0.5


def certified_change(
    operator: StoredOperator, bound: Contraction, v: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.int64]]:
    """Bounds on the least and greatest T v - v in exact arithmetic, and a greedy pair per state."""
    greedy = np.empty(len(v), dtype=np.int64)
    least, greatest = operator.backup(v, np.empty_like(v), greedy)
    error = bound.rounding(float(np.abs(v).max()))
    low = least - (error + UNIT_ROUNDOFF * abs(least)) * OUTWARD
    high = greatest + (error + UNIT_ROUNDOFF * abs(greatest)) * OUTWARD
    return low, high, greedy


def noise(bound: Contraction, *vectors: NDArray[np.float64]) -> float:
    """What rounding may change in a backup, and rows that sum to more than 1 in a step."""
    magnitude = max(float(np.abs(v).max()) for v in vectors)
    return bound.rounding(magnitude) + 2 * (bound.row_mass - 1) * magnitude * OUTWARD


def backup_bound(
    mdp: FiniteMDP, choice: NDArray[np.int64], more_terms: int, cancel: NDArray[np.uint8] | None
) -> Contraction:
    """The rounding of a backup of `mdp`, beside the time to the end under `choice` as potential."""
    potential, slack = _time_to_end(mdp, choice, cancel)
    all_rows = Contraction.of(mdp.replace(discount=0.0))
    largest = all_rows.largest_reward
    if largest * float(potential.max()) / slack > LARGEST:
        raise MDPError(f"rewards reach {largest:.3g} and add up beyond what doubles hold; divide them by a constant")
    return replace(
        all_rows,
        discount=1.0,
        longest_row=all_rows.longest_row + more_terms,
        potential=potential,
        slack=slack,
    )


def _time_to_end(
    mdp: FiniteMDP, choice: NDArray[np.int64], cancel: NDArray[np.uint8] | None
) -> tuple[NDArray[np.float64], float]:
    """A vector w >= 0 and k > 0 with P w <= w - k under a proper policy, verified with rounding."""
    everywhere = np.arange(mdp.n_states)
    chain = assembled(mdp, choice, everywhere, everywhere, mdp.n_states, np.ones(mdp.n_states))
    if mdp.n_states <= _SMALL and solves_quickly(chain):
        w = total_of_policy(chain, everywhere)
        if w is not None and w.min() >= 0:
            bound = replace(Contraction.of(chain.replace(discount=0.0)), discount=1.0)
            _, growth, _ = certified_change(StoredOperator(chain), bound, w)
            if growth < _SMALL_GROWTH:
                return w, (1 - growth) / OUTWARD
    ending = Contraction.of(chain, cancel)
    if ending.potential is None:
        return np.ones(mdp.n_states), (1 - ending.mass_high) / OUTWARD
    return ending.potential, ending.slack
