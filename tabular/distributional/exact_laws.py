"""Return laws as discrete mixtures: exact while there is room, then pruned, and the error of pruning is known.

Neighbouring atoms become one at their common mean, so means stay. Putting a group of atoms x with masses p at its mean
z costs sum p |x - z| in Wasserstein-1 distance, and the costs of the groups of a law add up, since the distribution
function is the same between groups. A group is filled from the left while its mass times its width stays under a limit;
the limit is found by a few trials. Equal mass times width is what the best quantiser in this distance tends to as atoms
get many (its point density goes with the square root of the density; Graf & Luschgy, *Foundations of Quantization for
Probability Distributions*, 2000, chapter 7), and it costs one pass instead of a queue of pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.kernel import float64, inline, int64, kernel, writes
from rlbook.tabular.distributional.laws import DiscreteLaws, known_laws
from rlbook.tabular.distributional.laws_kernels import LAW_TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEAR_ENOUGH = 0.97  # a limit that leaves this part of the atoms allowed is not searched further
_AIM = 0.985
_MOST_TRIALS = 40


@inline
def _groups(atom: Any, mass: Any, first: Any, end: Any, limit: float) -> int:
    """How many groups atoms first..end - 1 make when mass times width of each stays at most `limit`."""
    groups, left, weight = 1, atom[first], mass[first]
    for k in range(first + 1, end):
        weight += mass[k]
        if weight * (atom[k] - left) > limit:
            groups += 1
            left, weight = atom[k], mass[k]
    return groups


@kernel(*LAW_TYPES, int64, float64, writes(int64), writes(float64), writes(float64), writes(float64))
def _pruned(
    ptr: Any,
    atom: Any,
    mass: Any,
    most: int,
    tolerance: float,
    out_ptr: Any,
    out_atom: Any,
    out_mass: Any,
    error: Any,
) -> None:
    """Write the laws with at most `most` atoms each, and what that moved them by in Wasserstein-1 distance."""
    to = 0
    out_ptr[0] = 0
    for j in range(len(ptr) - 1):
        first, end = ptr[j], ptr[j + 1]
        # A group of this mass times width costs at most half of it, so that all of them stay within the tolerance.
        limit = 2.0 * tolerance / (end - first)
        if end - first > most and _groups(atom, mass, first, end, limit) > most:
            # Twice the range, since rounding may have made the mass exceed 1.
            low, high = limit, 2.0 * (atom[end - 1] - atom[first])
            guess = high / (float(most) * most)
            for _ in range(_MOST_TRIALS):
                # Groups go with the inverse square root of the limit; where that guesses outside of what is known, the
                # square roots are halved.
                if not low < guess < high:
                    guess = (0.5 * (math.sqrt(low) + math.sqrt(high))) ** 2
                groups = _groups(atom, mass, first, end, guess)
                if groups > most:
                    low = guess
                else:
                    high = guess
                    if groups >= _NEAR_ENOUGH * most:
                        break
                guess *= (groups / (_AIM * most)) ** 2
            limit = high
        error[j] = 0.0
        k = first
        while k < end:
            left, weight, moment = atom[k], mass[k], 0.0
            stop = k + 1
            while stop < end and (weight + mass[stop]) * (atom[stop] - left) <= limit:
                weight += mass[stop]
                moment += mass[stop] * (atom[stop] - left)
                stop += 1
            centre = left + moment / weight
            for at in range(k, stop):
                error[j] += mass[at] * abs(atom[at] - centre)
            if to > out_ptr[j] and centre <= out_atom[to - 1]:
                out_mass[to - 1] += weight  # groups an ulp apart whose means rounded to one number
            else:
                out_atom[to], out_mass[to] = centre, weight
                to += 1
            k = stop
        out_ptr[j + 1] = to


@dataclass(frozen=True)
class ExactLaws:
    """Discrete mixtures, pruned to at most max_atoms atoms for each law.

    tolerance: the Wasserstein-1 distance, in units of return, that pruning may cost each law in each sweep even where
    there is room; the default joins what rounding alone has parted. It is no fixed table of parameters, so it is not a
    `Representation`; `return_laws` takes it as well. Raises ParameterError for other numbers.
    """

    max_atoms: int = 1000
    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        if isinstance(self.max_atoms, bool) or not isinstance(self.max_atoms, Integral) or self.max_atoms < 1:
            raise ParameterError(f"max_atoms is {self.max_atoms!r}; give a whole number of atoms, at least 1")
        if not isinstance(self.tolerance, Real) or not 0 <= self.tolerance < math.inf:
            raise ParameterError(f"tolerance is {self.tolerance!r}; give a finite distance, 0 or more")

    def prune(self, laws: DiscreteLaws) -> tuple[DiscreteLaws, NDArray[np.float64]]:
        """The laws with no more atoms than allowed, and the Wasserstein-1 distance between old and new, (n,).

        Means are kept to rounding; laws that have room and whose atoms lie apart are left as they are.
        """
        ptr, error = np.empty(laws.n_laws + 1, dtype=np.int64), np.empty(laws.n_laws)
        atom, mass = np.empty(len(laws.atom)), np.empty(len(laws.atom))
        _pruned(
            *(*laws.arrays, int(self.max_atoms), float(self.tolerance)),
            *(ptr, atom, mass, error),
        )
        if ptr[-1] == len(laws.atom):
            return laws, error
        return known_laws(ptr, atom[: ptr[-1]], mass[: ptr[-1]]), error
