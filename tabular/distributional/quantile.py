"""Return laws as m equally likely locations: quantiles at midpoint levels, and particles at random ones.

    return_laws(mdp, Quantiles(51), policy)            # quantile dynamic programming
    return_laws(mdp, Particles(51, seed=3), policy)    # the same at levels that were drawn (particles.py)

In Wasserstein-1 distance the nearest law of m equally likely locations has the quantiles at the levels
(2 i + 1) / (2 m), i from 0 (Dabney, Rowland, Bellemare & Munos 2018, lemma 2). Where a distribution function is flat at
such a level, all quantiles of that level are equally near; the lower one is taken, inf{x: F(x) >= u}, and F(x) counts
as u where it falls short by no more than 1e-12 of u, lest rounding choose.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.laws import DiscreteLaws, check_discount, table_of, two_tables
from rlbook.tabular.distributional.laws_kernels import lower_quantiles
from rlbook.tabular.distributional.quantile_kernels import evaluation_sweep_parallel, evaluation_sweep_serial
from rlbook.tabular.distributional.return_range import return_range
from rlbook.tabular.distributional.sweep_arguments import flat_view, sweep_arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

_PARALLEL_ATOMS = 200_000  # atoms to merge: about 6 ms; below, a second thread costs more than it saves


def checked_count(m: object) -> int:
    """The number of parameters of a law as an int; raises ParameterError for what is none."""
    if isinstance(m, bool) or not isinstance(m, Integral) or m < 1:
        raise ParameterError(f"m is {m!r}; give a whole number of parameters per law, at least 1")
    return int(m)


@dataclass(frozen=True)
class LocationLaws(ABC):
    """What `Quantiles` and `Particles` share: laws of m equally likely locations, found as quantiles at fixed levels.

    m: locations per law, at least 1. Parameters are the locations, (n, m), rising in each row, in units of return.
    Quantiles at fixed levels cannot move by more than the laws do in Wasserstein-infinity distance, so the projected
    evaluation operator contracts in that distance with factor `discount` (Dabney et al. 2018, proposition 2), and in
    no W_p with p finite.
    """

    m: int

    metric = "Wasserstein-infinity distance"

    def __post_init__(self) -> None:
        object.__setattr__(self, "m", checked_count(self.m))

    @property
    def n_parameters(self) -> int:
        return self.m

    @abstractmethod
    def levels_of(self, n: int) -> NDArray[np.float64]:
        """The levels of the quantiles of n laws, rising, in [0, 1): (n, m), or (1, m) where all laws share them."""

    def project(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        """Lower quantiles of the laws at the levels, (n, m)."""
        out = np.empty((laws.n_laws, self.m))
        lower_quantiles(*laws.arrays, self.levels_of(laws.n_laws), out)
        return out

    def laws(self, parameters: NDArray[np.float64]) -> DiscreteLaws:
        """The laws with mass 1 / m at each location, equal locations joined."""
        return DiscreteLaws.from_arrays(table_of(parameters, self.m))

    def initial(self, n: int) -> NDArray[np.float64]:
        """The point mass at 0, n times, (n, m), writable."""
        return np.zeros((n, self.m))

    def means(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means of the laws, (n,), in units of return."""
        return np.asarray(table_of(parameters, self.m).mean(axis=1))

    def evaluation_sweep(
        self,
        mdp: FiniteMDP,
        policy_weights: NDArray[np.float64],
        parameters: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """Write the projected backup of locations `parameters` (S, m) into `out` (S, m), float64 and contiguous.

        policy_weights: float64 (pairs,), one probability per pair. Rows of `parameters` must rise. Memory: the atoms of
        one state's mixture per thread, four times.
        """
        table = table_of(parameters, self.m)
        arguments = sweep_arguments(mdp, policy_weights, table, out)
        falls = np.flatnonzero(
            ~(np.all(table[:, 1:] >= table[:, :-1], axis=1) & np.isfinite(table[:, 0] + table[:, -1]))
        )
        if len(falls):
            raise ParameterError(
                f"parameters[{falls[0]}] does not rise, or is not finite; sort the locations of each law"
            )
        most = int(np.diff(mdp.row_ptr[mdp.state_ptr]).max())
        work = mdp.n_transitions * self.m
        (evaluation_sweep_parallel if work >= _PARALLEL_ATOMS else evaluation_sweep_serial)(
            *(*arguments, flat_view(table).reshape(table.shape), self.levels_of(mdp.n_states), most, out)
        )

    def modulus(self, discount: float) -> float:
        """discount: the factor of the projected evaluation operator in Wasserstein-infinity distance."""
        return check_discount(discount)

    def distance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Wasserstein-infinity distances between laws with these locations, (n, m) each: (n,), in units of return."""
        one, other = two_tables(first, second, self.m)
        return np.asarray(np.abs(one - other).max(axis=1))

    def error_bound(self, mdp: FiniteMDP) -> float:
        """How far the fixed point is from the return laws in Wasserstein-infinity distance: the range of all returns.

        More cannot be said, however many locations: a prize that is rarer than 1 / (2 m) is not seen at all. In
        Wasserstein-1 distance much more is true: `wasserstein_bound`.
        """
        low, high = return_range(mdp)
        return float(high - low) if mdp.discount < 1 else float("inf")

    def wasserstein_bound(self, mdp: FiniteMDP, remaining: float = 0.0) -> float:
        """How far the fixed point is from the return laws in Wasserstein-1 distance, for any policy and any state.

            W_1 <= missed / (1 - discount),     missed = how far a law on the range of returns is from its projection

        since W_1(fixed, true) <= W_1(fixed, T fixed) + W_1(T fixed, T true), of which the first is at most `missed` and
        the second at most discount W_1(fixed, true): the projection need not contract in W_1 (Rowland et al. 2023, *An
        Analysis of Quantile Temporal-Difference Learning*, of which we could not read the text: the argument is ours).
        remaining: what sweeps have left to do, `ReturnLaws.remaining`, in Wasserstein-infinity distance, which is never
        less than W_1; it comes on top. Without it never more than the range of all returns, in which both lie; infinite
        at discount 1.
        """
        low, high = return_range(mdp)
        if mdp.discount >= 1:
            return float("inf")
        return float(min(1.0, self.missed_share / (1 - mdp.discount)) * (high - low) + remaining)

    @property
    @abstractmethod
    def missed_share(self) -> float:
        """A bound on W_1(law, its projection) as a share of the law's range."""


@dataclass(frozen=True)
class Quantiles(LocationLaws):
    """Laws as their quantiles at the m midpoint levels (2 i + 1) / (2 m): the Wasserstein-1 projection.

    Means are not kept, since what lies within a level's share is not averaged. Raises ParameterError for m below 1.
    """

    @property
    def levels(self) -> NDArray[np.float64]:
        """The levels, (m,), read-only."""
        return owned((2 * np.arange(self.m) + 1) / (2 * self.m))

    def levels_of(self, n: int) -> NDArray[np.float64]:
        return self.levels.reshape(1, -1)

    @property
    def missed_share(self) -> float:
        """1 / (2 m): from each midpoint to the ends of its share of levels, quantiles rise by the range in all."""
        return 1 / (2 * self.m)
