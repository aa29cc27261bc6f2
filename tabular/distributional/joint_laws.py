"""`JointLaws`: laws of vector returns as weighted particles in R^d, their exact backup, and merging at a known cost.

With R the vector reward of a transition, the joint operator is (T eta)(s) = law of R + discount G(S'), G(s') ~ eta(s'):
the scalar one with vectors in place of numbers. Randomness that sources share stays shared, which is what models of
single sources lose. The operator is that of Zhang, Chen, Zhao, Xiong, Qin & Liu, "Distributional Reinforcement Learning
for Multi-Dimensional Reward Functions" (NeurIPS 2021). Of that paper we could read the abstract only, which says that
the operator converges; that it shrinks the largest W_p distance over states by the discount, for each p, follows as for
scalar rewards: couple the two next returns as well as possible, and let both meet the same transition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError, ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.laws import MASS_TOLERANCE, DiscreteLaws
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.distributional.vector_rewards import VectorRewardMDP, VectorRows

_FINER = 1.3  # by how much a merging grid is refined while there is room
_MOST_CELLS = 2.0**60
_MOST_ATOMS = 2**40


@dataclass(frozen=True, eq=False)
class JointLaws:
    """n laws of vectors. ptr: int64 (n + 1,); law i owns rows ptr[i] to ptr[i + 1] - 1 of the other two arrays.

    atom: float64 (atoms, d), distinct within a law and in lexicographic order, in units of return. mass: float64
    (atoms,), positive, summing to 1 within a law. Read-only. `from_arrays` sorts and merges for you.
    """

    ptr: NDArray[np.int64]
    atom: NDArray[np.float64]
    mass: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, dtype in (("ptr", np.int64), ("atom", np.float64), ("mass", np.float64)):
            object.__setattr__(self, name, owned(np.ascontiguousarray(getattr(self, name), dtype=dtype)))
        ptr, atom, mass = self.ptr, self.atom, self.mass
        if ptr.ndim != 1 or len(ptr) < 2 or ptr[0] != 0 or np.any(np.diff(ptr) < 1):
            raise ParameterError("ptr must start at 0 and rise by at least 1 per law; from_arrays makes it for you")
        if mass.shape != (ptr[-1],) or atom.ndim != 2 or len(atom) != ptr[-1] or atom.shape[1] == 0:
            raise ParameterError(
                f"atom has shape {atom.shape} and mass {mass.shape}; ptr asks for ({ptr[-1]}, sources) and ({ptr[-1]},)"
            )
        if not np.all(np.isfinite(atom)):
            raise ParameterError("atom holds a number that is not finite; atoms must be finite")
        apart = np.diff(atom, axis=0) + 0.0
        first = np.take_along_axis(apart, np.argmax(apart != 0, axis=1)[:, None], axis=1)[:, 0]
        first[ptr[1:-1] - 1] = 1.0
        if not np.all(first > 0):
            raise ParameterError("atom is not in lexicographic order, each once, within each law; from_arrays sorts it")
        if not np.all(mass > 0) or not np.all(np.abs(np.add.reduceat(mass, ptr[:-1]) - 1) <= MASS_TOLERANCE):
            raise ParameterError("mass must be positive and sum to 1 within each law; from_arrays sees to that")

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writable, which kernels would compile for a second time; building again freezes them.
        return JointLaws, (self.ptr, self.atom, self.mass)

    def __repr__(self) -> str:
        return f"JointLaws(laws={self.n_laws}, atoms={len(self.mass)}, sources={self.n_sources})"

    @staticmethod
    def from_arrays(atoms: ArrayLike, masses: ArrayLike | None = None) -> JointLaws:
        """Laws from atoms (n, k, d) in any order and masses (n, k); None makes a law's atoms equally likely.

        Masses are not negative and sum to 1 to 1e-9 in each row. Equal atoms become one, atoms without mass go.
        """
        places = np.asarray(atoms, dtype=np.float64)
        if places.ndim != 3 or places.size == 0:
            raise ParameterError(f"atoms has shape {places.shape}; give (laws, atoms, sources)")
        if not np.all(np.isfinite(places)):
            raise ParameterError("atoms holds a number that is not finite; atoms must be finite")
        laws, k, d = places.shape
        share = np.full((laws, k), 1.0 / k) if masses is None else np.asarray(masses, dtype=np.float64)
        if share.shape != (laws, k):
            raise ParameterError(f"masses has shape {share.shape}; give ({laws}, {k}), one mass for each atom")
        if not np.all(share >= 0) or not np.all(np.abs(share.sum(axis=1) - 1) <= MASS_TOLERANCE):
            raise ParameterError("masses must be 0 or more and sum to 1 in each row; divide each row by its sum")
        return _gathered(np.repeat(np.arange(laws), k), places.reshape(-1, d), share.ravel(), laws)

    @staticmethod
    def point_masses(values: ArrayLike) -> JointLaws:
        """The laws of constant vectors, (n, d)."""
        return JointLaws.from_arrays(np.atleast_2d(np.asarray(values, dtype=np.float64))[:, None])

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """ptr, atom and mass, as kernels take them."""
        return self.ptr, self.atom, self.mass

    @property
    def n_laws(self) -> int:
        return len(self.ptr) - 1

    @property
    def n_sources(self) -> int:
        return self.atom.shape[1]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of atoms of each law, int64 (n,)."""
        return np.diff(self.ptr)

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """The law of each atom, int64 (atoms,)."""
        return np.repeat(np.arange(self.n_laws), self.sizes)

    def law(self, i: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Atoms (k, d) and masses (k,) of law i, as views."""
        if not 0 <= i < self.n_laws:
            raise ParameterError(f"law {i} does not exist; laws are 0 to {self.n_laws - 1}")
        place = slice(self.ptr[i], self.ptr[i + 1])
        return self.atom[place], self.mass[place]

    def only(self, i: int) -> JointLaws:
        """Law i alone, as a table of one."""
        atoms, masses = self.law(i)
        return JointLaws(np.array([0, len(masses)]), atoms, masses)

    def means(self) -> NDArray[np.float64]:
        """Expectations, (n, d), in units of return."""
        return np.add.reduceat(self.mass[:, None] * self.atom, self.ptr[:-1])

    def covariances(self) -> NDArray[np.float64]:
        """Covariance matrices, (n, d, d), in squared units of return, from distances to the means."""
        centred = self.atom - self.means()[self.index]
        products = centred[:, :, None] * centred[:, None, :] * self.mass[:, None, None]
        return np.add.reduceat(products, self.ptr[:-1])

    def along(self, weights: ArrayLike) -> DiscreteLaws:
        """The laws of weighted sums of the sources; weights: (d,)."""
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != (self.n_sources,):
            raise ParameterError(f"weights has shape {given.shape}; give one weight per source, ({self.n_sources},)")
        flat = _gathered(self.index, (self.atom @ given)[:, None], self.mass, self.n_laws)
        return DiscreteLaws(flat.ptr, flat.atom[:, 0], flat.mass)

    def marginals(self, source: int) -> DiscreteLaws:
        """The laws of one source's return."""
        require_whole("source", source, 0, self.n_sources - 1)
        return self.along(np.eye(self.n_sources)[source])

    def product_of_marginals(self) -> JointLaws:
        """The laws that have the same marginals, with independent sources: all that models of single sources know.

        Atoms are those of the marginals multiplied, so keep laws small.
        """
        marginals = [self.marginals(source) for source in range(self.n_sources)]
        atoms: list[NDArray[np.float64]] = []
        masses: list[NDArray[np.float64]] = []
        index: list[NDArray[np.int64]] = []
        for i in range(self.n_laws):
            parts = [marginal.law(i) for marginal in marginals]
            atoms.append(np.stack(np.meshgrid(*[part[0] for part in parts], indexing="ij"), -1).reshape(-1, len(parts)))
            mass: NDArray[np.float64] = np.ones(1)
            for part in parts:
                mass = np.outer(mass, part[1]).ravel()
            masses.append(mass)
            index.append(np.full(len(mass), i))
        return _gathered(np.concatenate(index), np.concatenate(atoms), np.concatenate(masses), self.n_laws)

    def merged(self, most_atoms: int) -> tuple[JointLaws, NDArray[np.float64]]:
        """Laws of at most `most_atoms` atoms each, and what that costs at most in W_1, (n,), in units of return.

        Atoms in one cell of a grid become one at their common mean, so means stay; moving mass p over a distance l
        costs p l. A law that is small enough stays as it is, at no cost. The grid is refined while there is room.
        """
        require_whole("most_atoms", most_atoms, 1, _MOST_ATOMS)
        cost = np.zeros(self.n_laws)
        group = np.arange(len(self.mass))
        for i in np.flatnonzero(self.sizes > most_atoms):
            place = slice(self.ptr[i], self.ptr[i + 1])
            group[place] = self.ptr[i] + _cells(self.atom[place], most_atoms)
        _, inverse = np.unique(group, return_inverse=True)
        mass: NDArray[np.float64] = np.bincount(inverse, self.mass).astype(np.float64)
        mean = np.stack([np.bincount(inverse, self.mass * column) / mass for column in self.atom.T], axis=1)
        alone = np.bincount(inverse)[inverse] == 1
        mean[inverse[alone]] = self.atom[alone]  # to the last bit
        np.add.at(cost, self.index, self.mass * np.linalg.norm(self.atom - mean[inverse], axis=1))
        owner = np.zeros(len(mass), dtype=np.int64)
        owner[inverse] = self.index
        return _gathered(owner, mean, mass, self.n_laws), cost


def joint_law_backup(world: VectorRewardMDP, laws: JointLaws, policy: ArrayLike) -> JointLaws:
    """T^pi eta, exactly: one joint law per state, from one per state; policy: as in `as_stochastic`.

    Raises MDPError on a wrong number of laws or sources, or a policy that is none.
    """
    return backed_up(world.policy_rows(policy), laws, world.mdp.discount)


def backed_up(rows: VectorRows, laws: JointLaws, discount: float) -> JointLaws:
    """The law of reward + discount * G(source) for each row."""
    states, sources = len(rows.entry_ptr) - 1, rows.reward.shape[1]
    if laws.n_laws != states or laws.n_sources != sources:
        raise MDPError(
            f"laws holds {laws.n_laws} laws of {laws.n_sources} sources; give {states} laws of {sources} sources"
        )
    follows = rows.source >= 0
    lengths = np.where(follows, laws.sizes[rows.source], 1)
    entry = np.repeat(np.arange(len(lengths)), lengths)
    place = np.where(follows, laws.ptr[rows.source], 0)[entry]
    place += np.arange(len(entry)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    some = follows[entry]
    after = np.where(some[:, None], laws.atom[np.where(some, place, 0)], 0.0)
    share = np.where(some, laws.mass[np.where(some, place, 0)], 1.0)
    owner = np.repeat(np.arange(states), np.diff(rows.entry_ptr))[entry]
    return _gathered(owner, rows.reward[entry] + discount * after, rows.weight[entry] * share, states)


def _gathered(owner: NDArray[np.int64], atom: NDArray[np.float64], mass: NDArray[np.float64], laws: int) -> JointLaws:
    """Laws from atoms in any order: sorted, equal ones added up, those without mass dropped; each law needs some."""
    atom = atom + 0.0  # -0 and 0 are one atom
    kept = mass > 0
    owner, atom, mass = owner[kept], atom[kept], mass[kept]
    order = np.lexsort((*atom.T[::-1], owner))
    owner, atom, mass = owner[order], atom[order], mass[order]
    new = np.ones(len(mass), dtype=bool)
    new[1:] = (owner[1:] != owner[:-1]) | np.any(atom[1:] != atom[:-1], axis=1)
    mass = np.add.reduceat(mass, np.flatnonzero(new))
    ptr = np.concatenate([[0], np.cumsum(np.bincount(owner[new], minlength=laws))])
    mass /= np.repeat(np.add.reduceat(mass, ptr[:-1]), np.diff(ptr))
    return JointLaws(ptr, atom[new], mass)


def _cells(atom: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The cell of each atom of a law on the finest of a row of grids of which at most `most` cells are occupied."""
    low = atom.min(axis=0)
    extent = np.ptp(atom, axis=0)
    chosen = np.zeros(len(atom), dtype=np.int64)
    across = max(float(most) ** (1 / atom.shape[1]), 1.0)
    while across ** atom.shape[1] < _MOST_CELLS:
        whole = int(across)
        unit = np.where(extent > 0, extent, 1.0) / whole
        place = np.minimum((atom - low) / unit, whole - 1).astype(np.int64)
        _, cell = np.unique(place @ whole ** np.arange(atom.shape[1]), return_inverse=True)
        if cell.max() >= most:
            break
        chosen = cell
        across *= _FINER
    return chosen
