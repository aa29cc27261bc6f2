"""Return laws by their expectiles, and the laws that are imputed from them.

Expectiles are to squares what quantiles are to absolute values, and the one of level 1/2 is the mean. They are no
samples: a law that has them as atoms has other expectiles, and backing them up as if they were samples lets the law
shrink towards its mean, sweep by sweep. So before each backup a law is imputed that has these expectiles (Rowland,
Dadashi, Kumar, Munos, Bellemare & Dabney, "Statistics and Samples in Distributional Reinforcement Learning", 2019, of
which we could read no more than the introduction).

Where imputed laws are m equally likely samples, found by minimising, some lists of expectiles that a law has are out of
reach (a test shows one). Here masses are free, and the law can be written down: by the formula of `expectile_kernels`
the expectiles are values of a convex function whose second derivative is the law, and straight lines between them make
one. It has m - 1 atoms at most, exactly the given expectiles, and exists for every list that some law has. That
construction is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.expectile_kernels import expectiles, impute
from rlbook.tabular.distributional.laws import DiscreteLaws, table_of
from rlbook.tabular.distributional.quantile import checked_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEGENERATE = 1e-13  # of their size: expectiles that lie nearer to the mean cannot be told from it


@dataclass(frozen=True)
class Expectiles:
    """Laws as their expectiles at the m midpoint levels (2 i + 1) / (2 m); m is odd, so that the mean is among them.

    Parameters are the expectiles, (n, m), rising in each row, in units of return. naive: take them for m equally likely
    samples instead of imputing a law, to see what goes wrong. Imputed laws keep their means in every sweep, naive ones
    do not. That projected sweeps contract in some metric is not claimed. Raises ParameterError for m that is even or
    below 1.
    """

    m: int
    naive: bool = False

    def __post_init__(self) -> None:
        m = checked_count(self.m)
        if m % 2 == 0:
            raise ParameterError(f"m is {m}; give an odd number of expectiles, so that the mean is the middle one")
        object.__setattr__(self, "m", m)

    @property
    def n_parameters(self) -> int:
        return self.m

    @property
    def levels(self) -> NDArray[np.float64]:
        """The levels, (m,), rising, the middle one 1/2; read-only."""
        return owned((2 * np.arange(self.m) + 1) / (2 * self.m))

    def project(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        """Expectiles of the laws, (n, m), exact to rounding."""
        out = np.empty((laws.n_laws, self.m))
        expectiles(*laws.arrays, self.levels, out)
        return out

    def laws(self, parameters: NDArray[np.float64]) -> DiscreteLaws:
        """Laws with these expectiles, of m - 1 atoms at most; with `naive`, the expectiles as atoms.

        Rows that no law has, as a learner may bring, are mended: an expectile that stands out of order, or above the
        convex hull of the others, is passed over.
        """
        given = table_of(parameters, self.m).copy()
        if not np.all(np.isfinite(given)):
            row, column = np.argwhere(~np.isfinite(given))[0]
            raise ParameterError(f"parameters[{row}, {column}] is {given[row, column]}; expectiles must be finite")
        if self.naive:
            return DiscreteLaws.from_arrays(given)
        given.setflags(write=False)
        atoms, masses = np.empty_like(given), np.empty_like(given)
        impute(given, self.levels, DEGENERATE, np.empty(self.m), np.empty(self.m), atoms, masses)
        return DiscreteLaws.from_arrays(atoms, masses)

    def initial(self, n: int) -> NDArray[np.float64]:
        """The point mass at 0, n times, (n, m), writable."""
        return np.zeros((n, self.m))

    def means(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means of the laws, (n,), in units of return: the middle expectiles, or for `naive` laws their average."""
        table = table_of(parameters, self.m)
        found: NDArray[np.float64] = table.mean(axis=1) if self.naive else table[:, self.m // 2].copy()
        return found
