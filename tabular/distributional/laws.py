"""`DiscreteLaws`: several probability laws with finitely many atoms, kept one after another as one immutable value."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.laws_kernels import distribution_function, lower_quantiles, mix_moved_laws
from rlbook.tabular.learning.learner import as_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MASS_TOLERANCE = 1e-9  # by how much the masses of a law may miss 1


@dataclass(frozen=True, eq=False)
class DiscreteLaws:
    """n discrete laws. ptr: int64 (n + 1,); law i owns the places ptr[i] to ptr[i + 1] - 1 of the other two arrays.

    atom: float64 (atoms,), strictly increasing within a law, in units of return. mass: float64 (atoms,), positive,
    summing to 1 within each law to 1e-9. Arrays are read-only. Raises ParameterError where a law is none; `from_arrays`
    sorts and merges for you.
    """

    ptr: NDArray[np.int64]
    atom: NDArray[np.float64]
    mass: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, dtype in (("ptr", np.int64), ("atom", np.float64), ("mass", np.float64)):
            object.__setattr__(self, name, _owned(getattr(self, name), dtype))
        _check(self.ptr, self.atom, self.mass)

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writable, which kernels would compile for a second time; building again freezes them.
        arrays: tuple[Any, ...] = (self.ptr, self.atom, self.mass)
        return DiscreteLaws, arrays

    def __repr__(self) -> str:
        return f"DiscreteLaws(laws={self.n_laws}, atoms={len(self.atom)})"

    @staticmethod
    def from_arrays(atoms: ArrayLike, masses: ArrayLike | None = None) -> DiscreteLaws:
        """Laws from atoms (n, k), or (k,) shared by all, in any order, and masses of the same shapes.

        masses: not negative, summing to 1 to 1e-9 in each row, then divided by their sum; None makes all atoms of a law
        equally likely. Equal atoms become one, atoms without mass go. Raises ParameterError for anything else.
        """
        places: NDArray[np.float64] = np.atleast_2d(as_array("atoms", atoms))
        share: NDArray[np.float64]
        if places.ndim != 2 or places.size == 0:
            raise ParameterError(f"atoms has shape {np.shape(atoms)}; give (laws, atoms), or (atoms,) for all laws")
        if masses is None:
            share = np.full(places.shape, 1.0 / places.shape[1])
        else:
            share = np.atleast_2d(as_array("masses", masses))
            rows = {len(share), len(places)} - {1}
            if share.ndim != 2 or share.shape[-1] != places.shape[-1] or len(rows) > 1:
                raise ParameterError(
                    f"masses has shape {np.shape(masses)}, but atoms has {np.shape(atoms)}; give one mass for each atom"
                )
        places, share = np.broadcast_arrays(places, share)
        check_shares("masses", share)
        if not np.all(np.isfinite(places)):
            row, column = np.argwhere(~np.isfinite(places))[0]
            raise ParameterError(f"atoms[{row}, {column}] is {places[row, column]}; atoms must be finite")
        order = np.argsort(places, axis=1, kind="stable")
        places = np.take_along_axis(places, order, axis=1)
        share = np.take_along_axis(share, order, axis=1)
        kept = share > 0
        row = np.nonzero(kept)[0]
        atom, mass = places[kept], share[kept]
        new = np.ones(len(atom), dtype=bool)
        new[1:] = (atom[1:] != atom[:-1]) | (row[1:] != row[:-1])
        mass = np.add.reduceat(mass, np.flatnonzero(new))
        ptr = np.concatenate([[0], np.cumsum(np.bincount(row[new], minlength=len(places)))])
        mass /= np.repeat(np.add.reduceat(mass, ptr[:-1]), np.diff(ptr))
        return known_laws(ptr, atom[new], mass)

    @staticmethod
    def point_masses(values: ArrayLike) -> DiscreteLaws:
        """The laws of constants, (n,), in units of return."""
        return DiscreteLaws.from_arrays(np.asarray(values, dtype=np.float64).reshape(-1, 1))

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """ptr, atom and mass, as kernels take them."""
        return self.ptr, self.atom, self.mass

    @property
    def n_laws(self) -> int:
        return len(self.ptr) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of atoms of each law, int64 (n,)."""
        return np.diff(self.ptr)

    def law(self, i: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Atoms and masses of law i, as views."""
        if not 0 <= i < self.n_laws:
            raise ParameterError(f"law {i} does not exist; laws are 0 to {self.n_laws - 1}")
        place = slice(self.ptr[i], self.ptr[i + 1])
        return self.atom[place], self.mass[place]

    def means(self) -> NDArray[np.float64]:
        """Expectations, (n,), in units of return."""
        return np.add.reduceat(self.mass * self.atom, self.ptr[:-1])

    def variances(self) -> NDArray[np.float64]:
        """Variances, (n,), in squared units of return, from distances to the mean, so that none cancels away."""
        centred = self.atom - np.repeat(self.means(), self.sizes)
        return np.add.reduceat(self.mass * centred**2, self.ptr[:-1])

    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the greatest atom of each law, two arrays (n,), in units of return."""
        return self.atom[self.ptr[:-1]], self.atom[self.ptr[1:] - 1]

    def quantiles(self, levels: ArrayLike) -> NDArray[np.float64]:
        """Lower quantiles inf{x: F(x) >= u}, (n, m), for levels u (m,) with 0 < u <= 1.

        F(x) counts as u where it falls short by no more than 1e-12 of u, which is what rounding of sums may take away.
        """
        wanted = np.asarray(levels, dtype=np.float64).reshape(-1)
        outside = np.flatnonzero(~((wanted > 0) & (wanted <= 1)))
        if len(outside):
            raise ParameterError(f"levels[{outside[0]}] is {wanted[outside[0]]}; quantile levels lie in (0, 1]")
        return self._at_rising(wanted, lower_quantiles)

    def cdf(self, points: ArrayLike) -> NDArray[np.float64]:
        """Distribution functions F(x) = P(X <= x), (n, k), at points x (k,), in units of return; none may be nan."""
        places = np.asarray(points, dtype=np.float64).reshape(-1)
        if np.any(np.isnan(places)):
            raise ParameterError(f"points[{np.flatnonzero(np.isnan(places))[0]}] is nan; give numbers")
        return self._at_rising(places, distribution_function)

    def _at_rising(self, wanted: NDArray[np.float64], run: Any) -> NDArray[np.float64]:
        order = np.argsort(wanted, kind="stable")
        rising = np.empty((self.n_laws, len(wanted)))
        run(*self.arrays, _owned(wanted[order], np.float64).reshape(1, -1), rising)
        found = np.empty_like(rising)
        found[:, order] = rising
        return found

    def shifted(self, offset: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> DiscreteLaws:
        """The laws of offset + scale X; offset and scale: finite numbers, one for all laws or one each, (n,).

        A negative scale turns a law round; scale 0 leaves the point mass at the offset.
        """
        moved = {"offset": offset, "scale": scale}
        arrays = {}
        for name, value in moved.items():
            try:
                arrays[name] = np.broadcast_to(np.asarray(value, dtype=np.float64), (self.n_laws,))
            except ValueError:
                raise ParameterError(
                    f"{name} has shape {np.shape(value)}; give one number, or one for each law, ({self.n_laws},)"
                ) from None
            if not np.all(np.isfinite(arrays[name])):
                raise ParameterError(f"{name} is {value!r}; give finite numbers")
        every = np.arange(self.n_laws + 1)
        return mixed(self, every, every[:-1], np.ones(self.n_laws), arrays["offset"], arrays["scale"])

    def mixture(self, weights: Any) -> DiscreteLaws:
        """m mixtures of these laws. weights: (m, n), an array or a scipy sparse matrix; rows sum to 1 as masses do."""
        if hasattr(weights, "tocsr"):
            rows = weights.tocsr()
            entry_ptr, source, weight, shape = rows.indptr, rows.indices, rows.data, rows.shape
            totals = np.asarray(rows.sum(axis=1)).ravel()
            if not np.all(weight >= 0) or not np.all(np.abs(totals - 1) <= MASS_TOLERANCE):
                check_shares("weights", rows.toarray())
        else:
            table = np.atleast_2d(np.asarray(weights, dtype=np.float64))
            check_shares("weights", table)
            row, source = np.nonzero(table)
            weight, shape = table[row, source], table.shape
            entry_ptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(table)))])
        if shape[1] != self.n_laws:
            raise ParameterError(f"weights has shape {shape}; give one column for each of {self.n_laws} laws")
        return mixed(self, entry_ptr, source, weight, np.zeros(len(weight)), np.ones(len(weight)))


def mixed(
    laws: DiscreteLaws,
    entry_ptr: NDArray[Any],
    source: NDArray[Any],
    weight: NDArray[np.float64],
    offset: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> DiscreteLaws:
    """Mixtures of moved laws: row j of `entry_ptr` mixes the laws of offset[e] + scale[e] X(source[e]) with weight[e].

    source: integers (entries,), indices of laws, or ZERO (-1) for the constant 0. weight: not negative, with a positive
    sum in each row, by which masses are divided. The rest: finite. None of this is checked: it is what backups are made
    of. Work: atoms times the logarithm of the entries of a row.
    """
    entry_ptr, source = _owned(entry_ptr, np.int64), _owned(source, np.int64)
    lengths = np.where(source >= 0, laws.sizes[source], 1)
    atoms = np.concatenate([[0], np.cumsum(lengths)])[entry_ptr]
    room, entries = int(np.diff(atoms).max()), int(np.diff(entry_ptr).max())
    ptr, atom, mass = np.empty(len(entry_ptr), dtype=np.int64), np.empty(atoms[-1]), np.empty(atoms[-1])
    mix_moved_laws(
        entry_ptr,
        source,
        _owned(weight, np.float64),
        _owned(offset, np.float64),
        _owned(scale, np.float64),
        *laws.arrays,
        *(np.empty((2, entries + 1), dtype=np.int64), np.empty((2, room)), np.empty((2, room))),
        *(ptr, atom, mass),
    )
    return known_laws(ptr, atom[: ptr[-1]], mass[: ptr[-1]])


def known_laws(ptr: NDArray[np.int64], atom: NDArray[np.float64], mass: NDArray[np.float64]) -> DiscreteLaws:
    """Laws whose arrays are known to be good, unchecked: for results of kernels. The arrays are frozen, not copied,
    but for a view into a larger array, whose memory would otherwise be held."""
    made = object.__new__(DiscreteLaws)
    for name, array in (("ptr", ptr), ("atom", atom), ("mass", mass)):
        own = array if array.base is None else array.copy()
        own.setflags(write=False)
        made.__dict__[name] = own
    return made


def table_of(parameters: ArrayLike, n_parameters: int) -> NDArray[np.float64]:
    """Parameters of a representation as a contiguous float64 table, (laws, n_parameters); ParameterError otherwise."""
    table = np.ascontiguousarray(as_array("parameters", parameters), dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != n_parameters:
        raise ParameterError(f"parameters has shape {table.shape}; give (laws, {n_parameters})")
    return table


def two_tables(
    first: ArrayLike, second: ArrayLike, n_parameters: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two tables with as many laws each, checked as by `table_of`."""
    one, other = table_of(first, n_parameters), table_of(second, n_parameters)
    if one.shape != other.shape:
        raise ParameterError(f"second has shape {other.shape}, but first {one.shape}; distances are taken law by law")
    return one, other


def check_discount(discount: float) -> float:
    """The discount as a float; raises ParameterError unless it lies in [0, 1]."""
    if not isinstance(discount, Real) or not 0 <= discount <= 1:
        raise ParameterError(f"discount is {discount!r}; give a number from 0 to 1")
    return float(discount)


def _owned(array: Any, dtype: Any) -> NDArray[Any]:
    """A read-only contiguous array of this type: the same where nobody can write to it, else a copy."""
    from rlbook.mdp import owned

    return owned(np.ascontiguousarray(array, dtype=dtype))


def check_shares(name: str, share: NDArray[np.float64]) -> None:
    """Raise ParameterError unless each row is a probability vector."""
    bad = np.argwhere(~(np.isfinite(share) & (share >= 0)))
    if len(bad):
        row, column = bad[0]
        raise ParameterError(f"{name}[{row}, {column}] is {share[row, column]}; give finite numbers, 0 or more")
    totals = share.sum(axis=1)
    off = np.flatnonzero(np.abs(totals - 1) > MASS_TOLERANCE)
    if len(off):
        raise ParameterError(f"{name}[{off[0]}] sums to {totals[off[0]]:.12g}; divide it by its sum, so that it is 1")


def _check(ptr: NDArray[np.int64], atom: NDArray[np.float64], mass: NDArray[np.float64]) -> None:
    """Raise ParameterError unless the arrays are laws."""
    if ptr.ndim != 1 or len(ptr) < 2 or ptr[0] != 0 or np.any(np.diff(ptr) < 1):
        raise ParameterError("ptr must start at 0 and rise by at least 1 per law; from_arrays makes it for you")
    if atom.shape != mass.shape or atom.shape != (ptr[-1],):
        raise ParameterError(f"atom has shape {atom.shape} and mass {mass.shape}; ptr asks for ({ptr[-1]},) of both")
    if not np.all(np.isfinite(atom)):
        raise ParameterError(f"atom[{np.flatnonzero(~np.isfinite(atom))[0]}] is not finite; atoms must be finite")
    rises = np.diff(atom) > 0
    rises[ptr[1:-1] - 1] = True
    if not np.all(rises):
        at = int(np.flatnonzero(~rises)[0]) + 1
        raise ParameterError(f"atom[{at}] is not above atom[{at - 1}] of its law; from_arrays sorts and merges atoms")
    if not np.all((mass > 0) & np.isfinite(mass)):
        at = int(np.flatnonzero(~((mass > 0) & np.isfinite(mass)))[0])
        raise ParameterError(f"mass[{at}] is {mass[at]}, but masses are positive; from_arrays drops atoms without mass")
    totals = np.add.reduceat(mass, ptr[:-1])
    off = np.flatnonzero(np.abs(totals - 1) > MASS_TOLERANCE)
    if len(off):
        raise ParameterError(f"the masses of law {off[0]} sum to {totals[off[0]]:.12g}; divide them by their sum")
