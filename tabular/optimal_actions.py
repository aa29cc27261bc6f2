"""Which actions are optimal, as far as certified bounds prove it.

From lower <= v* <= upper follow bounds on q*(s, a) = r(s, a) + discount * sum p v*. An action is *suboptimal* when the
most that it can be worth is less than the least that another is worth (MacQueen 1967's test). It is *optimal* when all
others are suboptimal, or worth no more for certain, or mere copies of it. Else it is *undecided* at this gap: a tie is
no defect of the solver, and a policy that breaks it by rounding says nothing about the problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlbook.errors import MDPError
from rlbook.kernel import float64, inline, int8, int32, int64, kernel, reads, writes
from rlbook.mdp import FiniteMDP
from rlbook.mdp_device import DeviceMDP
from rlbook.tabular.bellman import action_values, kernel_arguments
from rlbook.tabular.certificate import backup_error, rounding_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.solution import Solution

Standing = Literal["optimal", "undecided", "suboptimal"]

_OPEN, _COPY = 2, 3  # while actions are judged: found undecided, and a copy of the one being judged
_WORDS: dict[int, Standing] = {1: "optimal", 0: "undecided", -1: "suboptimal"}


@dataclass(frozen=True, eq=False)
class OptimalActions:
    """What is proven of every action of an MDP.

    status: int8 (pairs,), 1 optimal, 0 undecided, -1 suboptimal. q_lower, q_upper: bounds on q*, (pairs,), in units of
    return.
    """

    mdp: FiniteMDP = field(repr=False)
    status: NDArray[np.int8]
    q_lower: NDArray[np.float64] = field(repr=False)
    q_upper: NDArray[np.float64] = field(repr=False)

    def of(self, state: int) -> dict[int, Standing]:
        """What is proven of each action of a state, by label. Raises MDPError for a state that does not exist."""
        if not 0 <= state < self.mdp.n_states:
            raise MDPError(f"state {state} does not exist; states are 0 to {self.mdp.n_states - 1}")
        pairs = slice(self.mdp.state_ptr[state], self.mdp.state_ptr[state + 1])
        labels, found = self.mdp.action[pairs].tolist(), self.status[pairs].tolist()
        return {label: _WORDS[each] for label, each in zip(labels, found, strict=True)}

    @property
    def counts(self) -> dict[Standing, int]:
        """How many pairs are optimal, undecided and suboptimal."""
        return {word: int(np.count_nonzero(self.status == code)) for code, word in _WORDS.items()}

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Whether nothing is left undecided in a state, (S,)."""
        return np.logical_and.reduceat(self.status != 0, self.mdp.state_ptr[:-1])


@inline
def _same_row(
    continuing_end: Any, next_state: Any, probability: Any, row_ptr: Any, expected_reward: Any, i: Any, j: Any
) -> bool:
    """Whether two pairs are the same to the last bit, in what an expected return depends on."""
    length = continuing_end[i] - row_ptr[i]
    if expected_reward[i] != expected_reward[j] or continuing_end[j] - row_ptr[j] != length:
        return False
    for k in range(length):
        a, b = row_ptr[i] + k, row_ptr[j] + k
        if next_state[a] != next_state[b] or probability[a] != probability[b]:
            return False
    return True


@kernel(
    *(reads(int64), reads(int64), reads(int64), reads(int32), reads(float64), reads(float64)),
    *(writes(float64), writes(float64), writes(int8)),
)
def _decide(
    state_ptr: Any,
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    expected_reward: Any,
    q_lower: Any,
    q_upper: Any,
    status: Any,
) -> None:
    """Write what bounds on action values prove into `status`."""
    for s in range(len(state_ptr) - 1):
        first, end = state_ptr[s], state_ptr[s + 1]
        least = -np.inf
        for i in range(first, end):
            least = max(least, q_lower[i])
        for i in range(first, end):
            status[i] = -1 if q_upper[i] < least else 0
        for i in range(first, end):
            if status[i] != 0:
                continue
            best, seen = True, first
            for j in range(first, end):
                seen = j + 1
                if j != i and status[j] != -1 and q_upper[j] > q_lower[i]:
                    # A copy of what is open already is as open; anything else that may be better leaves i open.
                    if status[j] == _OPEN or not _same_row(
                        continuing_end, next_state, probability, row_ptr, expected_reward, i, j
                    ):
                        best = False
                        break
                    if status[j] == 0:
                        status[j] = _COPY
            # Copies share the verdict: comparing each with each would take hours for thousands of them.
            status[i] = 1 if best else _OPEN
            for j in range(first, seen):
                if status[j] == _COPY:
                    status[j] = status[i]
        for i in range(first, end):
            if status[i] == _OPEN:
                status[i] = 0


def optimal_actions(solution: Solution) -> OptimalActions:
    """What the bounds of a solution prove of every action.

    Raises MDPError where the values are those of a policy, or the model stores no transitions.
    """
    mdp = solution.mdp.host if isinstance(solution.mdp, DeviceMDP) else solution.mdp
    if not isinstance(mdp, FiniteMDP):
        raise MDPError(f"the actions of {mdp.name!r} cannot be compared: it stores no transitions; use to_finite_mdp()")
    if solution.of_policy:
        raise MDPError("these are bounds on the value of a policy, which prove nothing about other actions; use solve")
    return optimal_actions_between(mdp, solution.lower, solution.upper)


def optimal_actions_between(mdp: FiniteMDP, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> OptimalActions:
    """What is proven of every action where what follows a step is worth between `lower` and `upper`, (S,) each.

    These are bounds on v*, or on the values of the next stage where decisions depend on the stage.
    """
    longest = int(np.max(mdp.continuing_end - mdp.row_ptr[:-1]))
    magnitude = max(float(np.abs(lower).max()), float(np.abs(upper).max()))
    largest = float(np.abs(mdp.expected_reward).max())
    mass = max(1.0, float(mdp.continuation.max()) * (1 + rounding_factor(longest)))
    error = backup_error(longest, largest + mdp.discount * magnitude, mass)
    q_lower = np.nextafter(action_values(mdp, lower) - error, -np.inf)
    q_upper = np.nextafter(action_values(mdp, upper) + error, np.inf)
    status = np.empty(mdp.n_pairs, dtype=np.int8)
    _decide(*kernel_arguments(mdp)[:6], q_lower, q_upper, status)
    return OptimalActions(mdp=mdp, status=status, q_lower=q_lower, q_upper=q_upper)
