"""Categorical return laws: masses on fixed atoms, and the Cramer projection onto them.

    categorical_projection(support, probs, atoms)              # the projection alone
    return_laws(mdp, Categorical.covering(mdp, 51), policy)    # dynamic programming with it

In Cramer distance, the l_2 distance of distribution functions, the projection is the nearest law on the atoms: its
distribution function is the mean of the old one over each gap (Rowland et al. 2018, proposition 1). So it cannot
enlarge distances, and the projected evaluation operator contracts with factor sqrt(discount).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.backup import greedy_actions
from rlbook.tabular.distributional.categorical_kernels import (
    evaluation_sweep_parallel,
    evaluation_sweep_serial,
    project_parallel,
    project_serial,
)
from rlbook.tabular.distributional.laws import DiscreteLaws, check_discount, check_shares, table_of, two_tables
from rlbook.tabular.distributional.return_range import return_range
from rlbook.tabular.distributional.sweep_arguments import flat_view, sweep_arguments
from rlbook.tabular.learning.learner import as_array
from rlbook.tabular.policies import as_stochastic
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_PARALLEL_ATOMS = 2_000_000  # atoms to place: about 2 ms; below, a second thread costs more than it saves
_ONE_RETURN = 1e-9  # relative; a range below it is rounding, and would hold no atoms apart from each other
_EVEN = 1e-12  # of the range: gaps that differ by less are taken for equal


def categorical_projection(support: ArrayLike, probs: ArrayLike, atoms: ArrayLike) -> NDArray[np.float64]:
    """Project discrete laws onto fixed atoms (Bellemare, Dabney & Munos 2017, eq. 7; Rowland et al. 2018, eq. 8).

    support: locations of the source laws, (n, k') or (k',) for all of them, in units of return, in any order (sorted is
    quicker where atoms are not evenly spaced); probs: their weights, (n, k'), or (k',) for one law; atoms: (k,),
    increasing, at least 2. Returns weights (n, k), or (k,) for one law. Mass is conserved; outside of
    [atoms[0], atoms[-1]] it goes to the nearest end, and the mean is kept where there is none. Work: k' + k per law.
    Raises ParameterError for shapes that do not fit, weights that are negative, and numbers that are not finite.
    """
    target = Categorical(as_array("atoms", atoms))
    places, mass, shared = laws_to_project(support, probs)
    ptr = np.arange(len(mass) + 1, dtype=np.int64) * mass.shape[1]
    found = target._projected(ptr, places, mass, shared)
    bad = np.flatnonzero(np.isnan(found[:, 0]))
    if len(bad):
        raise ParameterError(
            f"law {bad[0]} has a place that is not finite, or a weight that is negative or not finite; places must be "
            "finite and weights 0 or more"
        )
    return found[0] if np.ndim(probs) == 1 else found


def laws_to_project(support: ArrayLike, probs: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """What `categorical_projection` is given: places (n, k') or (k',), masses (n, k'), and whether places are shared.

    Raises ParameterError for shapes that do not fit.
    """
    places, given = as_array("support", support), as_array("probs", probs)
    mass = given.reshape(1, -1) if given.ndim == 1 else given
    shared = places.ndim == 1
    if mass.ndim != 2 or mass.size == 0 or places.shape != (mass.shape[1:] if shared else mass.shape):
        raise ParameterError(
            f"support has shape {places.shape} and probs {given.shape}; give (laws, places) for both, or one list of "
            "places for all laws"
        )
    return places, mass, shared


@dataclass(frozen=True, eq=False)
class Categorical:
    """Laws as masses on fixed atoms. atoms: (k,), increasing, finite, at least 2, in units of return; read-only.

    A value: two are equal where their atoms are. `Contracting` in Cramer distance. Raises ParameterError for atoms that
    do not increase.
    """

    atoms: NDArray[np.float64]

    metric = "Cramer distance"

    def __post_init__(self) -> None:
        atoms = np.ascontiguousarray(as_array("atoms", self.atoms))
        if atoms.ndim != 1 or len(atoms) < 2:
            raise ParameterError(f"atoms has shape {atoms.shape}; give at least 2 atoms, in one row")
        if not np.all(np.isfinite(atoms)):
            raise ParameterError(f"atoms[{np.flatnonzero(~np.isfinite(atoms))[0]}] is not finite; give finite atoms")
        falls = np.flatnonzero(~(np.diff(atoms) > 0))
        if len(falls):
            i = int(falls[0])
            raise ParameterError(
                f"atoms[{i + 1}] is {atoms[i + 1]:g}, not above atoms[{i}], {atoms[i]:g}; sort them, each once"
            )
        object.__setattr__(self, "atoms", owned(atoms))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categorical) and np.array_equal(self.atoms, other.atoms)

    def __hash__(self) -> int:
        return hash(self.atoms.tobytes())

    def __reduce__(self) -> tuple[Any, ...]:
        return Categorical, (self.atoms.copy(),)  # unpickled arrays are writable; building again freezes them

    @staticmethod
    def uniform(low: float, high: float, k: int) -> Categorical:
        """k evenly spaced atoms from low to high, in units of return."""
        require_whole("k", k, 2, 2**31)
        if not (isinstance(low, Real) and isinstance(high, Real) and -math.inf < low < high < math.inf):
            raise ParameterError(f"low is {low!r} and high {high!r}; give finite ends, the first atom below the last")
        return Categorical(np.linspace(low, high, k))

    @staticmethod
    def covering(mdp: FiniteMDP, k: int) -> Categorical:
        """k evenly spaced atoms over all returns that any policy can have, `return_range`.

        A projected law may reach farther than the returns of its own state, and what a backup then pushes beyond the
        ends is cut off: with few atoms means move by that, within `wasserstein_bound`. Atoms from (least reward) /
        (1 - discount) to (greatest reward) / (1 - discount), or from or to 0 where that is farther, keep all means.

        Raises ParameterError where returns are unbounded; a single possible return, to rounding, is widened by
        a half on both sides.
        """
        low, high = return_range(mdp)
        if not np.isfinite(high - low):
            raise ParameterError(
                f"returns of {mdp.name!r} have no known bounds at discount {mdp.discount:g}; name them yourself with "
                "Categorical.uniform(low, high, k)"
            )
        if high - low <= _ONE_RETURN * max(1.0, abs(low), abs(high)):
            low, high = low - 0.5, high + 0.5
        return Categorical.uniform(low, high, k)

    @property
    def n_parameters(self) -> int:
        """Atoms, and so masses per law."""
        return len(self.atoms)

    @cached_property
    def inverse_gaps(self) -> NDArray[np.float64]:
        """1 / (distance to the next atom), (k,), 0 for the last; all others are the same where atoms are `even`."""
        gaps = np.diff(self.atoms)
        if self.even:
            gaps = np.full(len(gaps), (self.atoms[-1] - self.atoms[0]) / len(gaps))
        return owned(np.append(1.0 / gaps, 0.0))

    @cached_property
    def even(self) -> bool:
        """Whether the atoms are evenly spaced, to rounding."""
        low, high = self.atoms[0], self.atoms[-1]
        return bool(np.all(np.abs(self.atoms - np.linspace(low, high, len(self.atoms))) <= _EVEN * (high - low)))

    def project(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        """Masses of the projected laws, (n, k)."""
        return self._projected(laws.ptr, laws.atom, laws.mass, False)

    def laws(self, parameters: NDArray[np.float64]) -> DiscreteLaws:
        """The laws with masses `parameters`, (n, k), not negative, each row summing to 1 to 1e-9."""
        masses = table_of(parameters, self.n_parameters)
        check_shares("parameters", masses)
        kept = masses != 0
        ptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        return DiscreteLaws(ptr, np.broadcast_to(self.atoms, masses.shape)[kept], masses[kept])

    def initial(self, n: int) -> NDArray[np.float64]:
        """The projected point mass at 0, n times, (n, k), writable."""
        return np.tile(self.project(DiscreteLaws.point_masses([0.0])), (n, 1))

    def means(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means of the laws, (n,), in units of return."""
        return table_of(parameters, self.n_parameters) @ self.atoms

    def evaluation_sweep(
        self,
        mdp: FiniteMDP,
        policy_weights: NDArray[np.float64],
        parameters: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """Write the projected backup of masses `parameters` (S, k) into `out` (S, k), another array, float64, in rows.

        policy_weights: float64 (pairs,), one probability per pair. Memory: a few rows per thread. Where transitions of
        a pair pay the same and stand side by side, their laws are mixed first and projected once. Raises ParameterError
        for rows that are no laws, which is seen by what they lead to: `out` is then filled.
        """
        laws = table_of(parameters, self.n_parameters)
        arguments = sweep_arguments(mdp, policy_weights, laws, out)
        work = mdp.n_transitions * len(self.atoms)
        ahead = max(1, 16 * mdp.n_pairs // mdp.n_transitions)
        bad = (evaluation_sweep_parallel if work >= _PARALLEL_ATOMS else evaluation_sweep_serial)(
            *(*arguments, flat_view(laws), self.atoms, self.inverse_gaps, self.even, ahead, out)
        )
        if bad:
            check_shares("parameters", laws)

    def optimality_sweep(
        self, mdp: FiniteMDP, parameters: NDArray[np.float64], out: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """Write the projected backup greedy in the means into `out`; return the actions, int32 (S,), first of ties."""
        actions = greedy_actions(mdp, self.means(parameters))
        self.evaluation_sweep(mdp, as_stochastic(mdp, actions), parameters, out)
        return actions

    def modulus(self, discount: float) -> float:
        """sqrt(discount): the factor of the projected evaluation operator (Rowland et al. 2018, proposition 2)."""
        return math.sqrt(check_discount(discount))

    def distance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cramer distances between laws with these masses, (n, k) each: (n,), in square roots of units of return."""
        one, other = two_tables(first, second, self.n_parameters)
        apart = np.cumsum(one - other, axis=1)[:, :-1]
        return np.sqrt(np.square(apart) @ np.diff(self.atoms))

    def error_bound(self, mdp: FiniteMDP) -> float:
        """How far the fixed point is from the laws of the return, in Cramer distance, for any policy and any state.

            distance^2 <= widest gap / (4 (1 - discount))        where no return lies outside the atoms, else infinite

        Projecting averages the distribution function over each gap, and is orthogonal: distance^2 <= discount
        distance^2 + |projected - true|^2 (Rowland et al. 2018, proposition 3, whose bound has no 4). Within a gap over
        which it rises by d, a distribution function is off its mean by at most gap d^2 / 4 in square (Popoviciu), and
        the rises sum to 1.
        """
        low, high = return_range(mdp)
        if mdp.discount >= 1 or low < self.atoms[0] or high > self.atoms[-1]:
            return float("inf")
        return float(np.sqrt(np.diff(self.atoms).max() / (4 * (1 - mdp.discount))))

    def wasserstein_bound(self, mdp: FiniteMDP, remaining: float = 0.0) -> float:
        """How far the fixed point is from the return laws in Wasserstein-1 distance, for any policy and any state.

            W_1 <= widest gap / (2 (1 - discount))        where no return lies outside the atoms, else infinite

        Averaging over gaps cannot enlarge the L^1 distance of two distribution functions either, so sweeps contract by
        the discount in W_1; and within a gap over which it rises by d, a distribution function is off its mean by at
        most gap d / 2 on the whole. Never more than the atoms' range, nor than its root times `error_bound`
        (Cauchy-Schwarz). remaining: what sweeps have left to do, in Cramer distance, times that root on top. That is
        our argument; Rowland et al. 2018 have the Cramer distance alone.
        """
        within = self.error_bound(mdp)
        if not np.isfinite(within):
            return float("inf")
        root = float(np.sqrt(self.atoms[-1] - self.atoms[0]))
        direct = float(np.diff(self.atoms).max()) / (2 * (1 - mdp.discount))
        return min(direct, root * within, root**2) + root * remaining

    def _projected(
        self, ptr: NDArray[np.int64], places: NDArray[np.float64], mass: NDArray[np.float64], shared: bool
    ) -> NDArray[np.float64]:
        out = np.empty((len(ptr) - 1, len(self.atoms)))
        run = project_parallel if mass.size >= _PARALLEL_ATOMS else project_serial
        run(flat_view(ptr), flat_view(places), flat_view(mass), shared, self.atoms, self.inverse_gaps, self.even, out)
        return out
