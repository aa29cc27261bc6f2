"""Bounds on the optimal value that hold in floating point, certified afterwards from one value vector alone.

Let v be any vector, T v its Bellman backup, and let fl(T v) be what the kernel computed. With the unit roundoff
u = 2^-53 and gamma_k = k u / (1 - k u), a row of n terms summed in any order gives (Higham 2002, section 3.1)

    |fl(T v) - T v| <= e = gamma_{n + 4} (max|r| + discount ||v||) max(1, row mass).

T is monotone, and shifting v by a constant c >= 0 raises T v by at most discount * b_max * c, where b is the mass of a
row that *continues*. Hence from d = T v - v alone (after MacQueen 1966 and Porteus 1971, who assume b = 1 and exact
arithmetic; with terminating rows their bounds are wrong):

    v + min d / (1 - discount b)  <=  v*  <=  v + max d / (1 - discount b),

with b = b_max where the shift goes away from zero in its own direction (upper end: max d >= 0; lower end: min d <= 0)
and b_min otherwise.

At discount 1, or wherever discount * b_max reaches 1, no constant shift contracts. If episodes end under every policy
there is a *potential* w >= 0 with (discount P_a w)(s) <= w(s) - k for every pair and some k > 0: w is the longest
expected time to the end, as in Bertsekas & Tsitsiklis 1991 (Lemma 1). Then T (v + c w) <= T v + c (w - k), so

    v - w max(0, max -d) / k  <=  v*  <=  v + w max(0, max d) / k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.bellman import backup_kernel, kernel_arguments
from rlbook.tabular.episodes import endless_states
from rlbook.tabular.policy_sweeps import GreedyRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

UNIT_ROUNDOFF = 2.0**-53
_LONGEST_EPISODE = 1_000_000  # sweeps spent on finding how long episodes can last
_INNER_SWEEPS = 50
_SMALL_GROWTH = 0.5
_OUTWARD = 1.0 + 16 * UNIT_ROUNDOFF  # covers the handful of roundings in a bound's own arithmetic


def rounding_factor(terms: int) -> float:
    """gamma_k = k u / (1 - k u): the relative error of k roundings in any order."""
    return terms * UNIT_ROUNDOFF / (1 - terms * UNIT_ROUNDOFF)


@dataclass(frozen=True)
class Contraction:
    """What the certificate needs to know of an MDP, computed once and used at every sweep.

    mass_low, mass_high: least and greatest continuing row mass, rounded outward. longest_row: terms in a backup's sum.
    potential: None where a constant shift contracts; else w, (S,), with slack k.
    """

    discount: float
    mass_low: float
    mass_high: float
    row_mass: float
    longest_row: int
    largest_reward: float
    potential: NDArray[np.float64] | None = None
    slack: float = 1.0

    @classmethod
    def of(cls, mdp: FiniteMDP) -> Contraction:
        """Raises MDPError where no bound exists: discount 1 and an episode that some policy never ends."""
        longest = int(np.max(mdp.continuing_end - mdp.row_ptr[:-1]))
        relative = rounding_factor(longest + 1)
        low = float(mdp.continuation.min()) * (1 - relative)
        high = float(mdp.continuation.max()) * (1 + relative)
        largest = float(np.abs(mdp.expected_reward).max())
        plain = cls(mdp.discount, max(low, 0.0), high, max(1.0, high), longest, largest)
        if mdp.discount * high * _OUTWARD < 1 and mdp.discount < 1:
            return plain
        potential, slack = _potential(mdp, plain)
        return cls(mdp.discount, plain.mass_low, high, plain.row_mass, longest, largest, potential, slack)

    @property
    def horizon(self) -> float:
        """About how many sweeps it takes to divide an error by e."""
        if self.potential is not None:
            return float(self.potential.max()) / self.slack
        return 1.0 / (1.0 - self.discount * min(self.mass_high, 1.0))

    @property
    def gap_weights(self) -> tuple[float, float]:
        """How much a change of one unit adds to the gap: when it points away from zero on its side, and when not."""
        if self.potential is not None:
            return float(self.potential.max()) / self.slack, 0.0
        return 1.0 / (1.0 - self.discount * min(self.mass_high, 1.0)), 1.0 / (1.0 - self.discount * self.mass_low)

    def rounding(self, magnitude: float) -> float:
        """Largest error of one entry of fl(T v), for max |v| = magnitude, in units of return."""
        scale = self.largest_reward + self.discount * magnitude
        return rounding_factor(self.longest_row + 4) * scale * self.row_mass * _OUTWARD

    def shifts(self, least: float, greatest: float, magnitude: float) -> tuple[float, float]:
        """Multiples (c_low, c_high) of the shift (1, or the potential) that enclose v* - v.

        least, greatest: min and max over states of fl(T v) - v. magnitude: max |v|.
        """
        error = self.rounding(magnitude)
        low = least - error - UNIT_ROUNDOFF * abs(least)
        high = greatest + error + UNIT_ROUNDOFF * abs(greatest)
        if self.potential is not None:
            return min(low, 0.0) / self.slack * _OUTWARD, max(high, 0.0) / self.slack * _OUTWARD
        away, towards = 1 - self.discount * self.mass_high * _OUTWARD, 1 - self.discount * self.mass_low / _OUTWARD
        c_low = low / (away / _OUTWARD if low <= 0 else towards * _OUTWARD)
        c_high = high / (away / _OUTWARD if high >= 0 else towards * _OUTWARD)
        return math.nextafter(c_low, -math.inf), math.nextafter(c_high, math.inf)

    def gap(self, shifts: tuple[float, float]) -> float:
        """The sup-norm distance between the two bounds."""
        scale = 1.0 if self.potential is None else float(self.potential.max())
        return (shifts[1] - shifts[0]) * scale

    def floor(self, magnitude: float) -> float:
        """The smallest gap that rounding allows near values of this magnitude."""
        error = self.rounding(magnitude)
        return self.gap(self.shifts(-error, error, magnitude))

    def bounds(
        self, v: NDArray[np.float64], shifts: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bounds on v*, (S,) each, rounded outward."""
        w = 1.0 if self.potential is None else self.potential
        low, high = shifts[0] * w, shifts[1] * w
        # Two roundings each: the product (already outward through _OUTWARD) and the sum.
        lower = np.nextafter(v + low - np.abs(low) * 2 * UNIT_ROUNDOFF, -np.inf)
        upper = np.nextafter(v + high + np.abs(high) * 2 * UNIT_ROUNDOFF, np.inf)
        return lower, upper


def certified_bounds(mdp: FiniteMDP, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds (lower, upper), (S,) each, on the optimal value of `mdp`, whatever `values` is; one backup is computed."""
    contraction = Contraction.of(mdp)
    v = np.array(values, dtype=np.float64)
    tv, greedy = np.empty_like(v), np.empty(len(v), dtype=np.int64)
    least, greatest = backup_kernel(mdp)(*kernel_arguments(mdp), v, tv, greedy)
    return contraction.bounds(v, contraction.shifts(least, greatest, float(np.abs(v).max())))


def _potential(mdp: FiniteMDP, plain: Contraction) -> tuple[NDArray[np.float64], float]:
    """A vector w and k > 0 with (discount P_a w)(s) <= w(s) - k for all pairs, verified with rounding."""
    endless = endless_states(mdp)
    if len(endless):
        where = mdp.state_name(int(endless[0]))
        raise MDPError(
            f"discount is {mdp.discount:g}, but from state {where!r} some policy never ends the episode "
            f"({len(endless)} such states); choose a discount below 1, or mark the transitions that end it"
        )
    counting = mdp.replace(expected_reward=np.ones(mdp.n_pairs), reward=None, policies={})
    run, arguments = backup_kernel(counting), kernel_arguments(counting)
    rows = GreedyRows(counting)
    w, following = np.zeros(mdp.n_states), np.empty(mdp.n_states)
    greedy = np.empty(mdp.n_states, dtype=np.int64)
    for _ in range(_LONGEST_EPISODE // _INNER_SWEEPS):
        # T w = 1 + max P w, so w - max P w = 1 - (T w - w): once a backup adds less than half a step, k is above a
        # half.
        _, growth = run(*arguments, w, following, greedy)
        error = rounding_factor(plain.longest_row + 4) * (1 + float(w.max())) * plain.row_mass * 2
        if growth <= _SMALL_GROWTH and w.min() >= 0:
            slack = (1 - growth - error) / _OUTWARD
            if slack <= 0:
                raise MDPError("episodes take so long that rounding hides their end; choose a discount below 1")
            return w, slack
        w, following = following, w
        rows.gather(greedy)
        rows.sweep(w, (1.0, 1.0), _SMALL_GROWTH / 10, _INNER_SWEEPS)
    raise MDPError(
        f"some policy's episodes last about {float(w.max()):.3g} steps, too long to certify at discount "
        f"{mdp.discount:g}; choose a discount below 1"
    )
