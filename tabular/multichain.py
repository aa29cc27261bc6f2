"""Average rewards of multichain MDPs: the gain of each end component, and then where best to end.

The maximal end components are solved side by side by relative value iteration, and each is merged into one state that
may stop for its gain. The greatest expected gain is a total reward, paid on stopping only (Ashok, Chatterjee, Daca,
Kretinsky & Meggendorf 2017); it is found once with the lower bounds of the gains and once with the upper ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.end_components import EndComponents
from rlbook.tabular.quotient import STOP, assembled, quotient
from rlbook.tabular.relative_value_iteration import relative_value_iteration
from rlbook.tabular.total_reward import TotalReward, enclose_total_reward

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.solution import History, Reason


@dataclass(frozen=True, eq=False)
class Gains:
    """lower, upper: (S,), bounds on the greatest average reward. pairs: a policy that earns at least `lower`, (S,)."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    pairs: NDArray[np.int64]
    reasons: list[Reason]
    histories: list[History]


def multichain_gains(
    mdp: FiniteMDP,
    components: EndComponents,
    tol: float,
    *,
    tau: float,
    max_iterations: int,
    cancel: NDArray[np.uint8] | None,
    more_terms: int,
) -> Gains:
    """Average rewards where a policy may end in several maximal end components, or terminate for a gain of 0.

    Half of `tol` goes to the components, half to the way there. Other arguments as in `relative_value_iteration`.
    """
    where = np.argsort(components.component, kind="stable")[np.count_nonzero(components.component < 0) :]
    renamed = np.full(mdp.n_states, -1)
    renamed[where] = np.arange(len(where))
    kept = np.flatnonzero(components.stays)
    kept = kept[np.argsort(renamed[mdp.pair_state[kept]], kind="stable")]
    inside = assembled(mdp, kept, renamed[mdp.pair_state[kept]], renamed, len(where), mdp.expected_reward[kept])
    alone = relative_value_iteration(
        inside,
        EndComponents(components.component[where], np.ones(len(kept), dtype=np.bool_), components.count),
        np.searchsorted(components.component[where], np.arange(components.count)),
        0.5 * tol,
        tau=tau,
        initial_values=None,
        max_iterations=max_iterations,
        cancel=cancel,
        more_terms=more_terms,
    )
    staying = np.full(mdp.n_states, STOP)
    staying[where] = kept[alone.greedy]
    merged = quotient(mdp, components, np.zeros(mdp.n_pairs), alone.low)
    stops = merged.pair == STOP
    ends: list[TotalReward] = []
    left = max_iterations - len(alone.history.gap)
    for gain in (alone.low, alone.high):
        reward = np.zeros(merged.mdp.n_pairs)
        reward[stops] = gain[components.component[merged.representative[merged.mdp.pair_state[stops]]]]
        found = enclose_total_reward(
            merged.mdp.replace(expected_reward=reward),
            0.25 * tol,
            name=str,
            initial_values=ends[0].lower if ends else None,
            known_upper=max(float(gain.max()), 0.0),
            max_iterations=left,
            cancel=cancel,
            lawful=True,
            more_terms=more_terms,
        )
        left -= len(found.history.gap)
        ends.append(found)
    return Gains(
        lower=ends[0].lower[merged.merged],
        upper=ends[1].upper[merged.merged],
        pairs=merged.pairs(ends[0].greedy, staying),
        reasons=[alone.reason, ends[0].reason, ends[1].reason],
        histories=[alone.history, ends[0].history, ends[1].history],
    )
