"""Features made from points: tiles, the Fourier basis and radial functions.

Every maker takes points of the unit cube, (n, k) with coordinates in [0, 1], and gives a matrix (n, d). What learns
from a continuous space brings its observations into the cube with `unit_points`; a finite MDP's states lie there by
`state_points`, and `features_of_states` makes `LinearFeatures` of them:

    features_of_states(mdp, fourier_basis, order=3)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.approximation.argument_checks import number_within, require_counts
from rlbook.tabular.approximation.features import LinearFeatures
from rlbook.tabular.learning.learner import as_array
from rlbook.tabular.policy_rows import require_stored
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

MOST_FEATURES = 100_000
_THINNEST = 1e-9  # width of a radial function: below it no point of doubles is near another


def unit_points(points: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """Points (n, k) of the box from low to high, (k,) each, as points of the unit cube; what is outside is clipped.

    Raises ParameterError for NaN, and for a box that is not finite or empty.
    """
    given, bottom, top = as_array("points", points), as_array("low", low), as_array("high", high)
    if given.ndim != 2 or bottom.shape != given.shape[1:] or top.shape != bottom.shape or not np.all(bottom < top):
        raise ParameterError(
            f"points has shape {given.shape}, low {bottom.shape} and high {top.shape}; give (n, k), (k,) and (k,), "
            "with low below high"
        )
    if np.isnan(given).any() or not np.all(np.isfinite([bottom, top])):
        raise ParameterError("points hold NaN, or low and high are not finite; leave such points out, bound the box")
    return np.asarray(np.clip((given - bottom) / (top - bottom), 0.0, 1.0))


def state_points(mdp: FiniteMDP) -> NDArray[np.float64]:
    """Where states lie in the unit cube, (S, k).

    A gridworld's states by column and row, each from 0 to 1 across the map, or by one of them where the map is a single
    row or column; other states evenly in the order of their numbers. Raises ParameterError for a map on which some
    states have no cell.
    """
    require_stored(mdp, "state_points")
    if mdp.layout is None:
        return np.linspace(0.0, 1.0, mdp.n_states)[:, None]
    cell = np.asarray(mdp.layout.cell)
    if cell.min() < 0:
        raise ParameterError(
            f"state {int(cell.argmin())} of mdp {mdp.name!r} has no cell on its map; give points of your own"
        )
    places = np.column_stack([cell % mdp.layout.columns, cell // mdp.layout.columns]).astype(np.float64)
    size = np.array([mdp.layout.columns, mdp.layout.rows])
    wide = size > 1 if np.any(size > 1) else np.array([True, False])
    return np.asarray(places[:, wide] / np.maximum(size[wide] - 1, 1))


def features_of_states(
    mdp: FiniteMDP, maker: Callable[..., NDArray[np.float64]], name: str | None = None, **options: Any
) -> LinearFeatures:
    """Features of a finite MDP's states: `maker(state_points(mdp), **options)`."""
    matrix = maker(state_points(mdp), **options)
    return LinearFeatures(matrix, "states", name or getattr(maker, "__name__", "features").replace("_", " "))


def tile_coding(points: ArrayLike, *, tiles: int = 4, tilings: int = 8) -> NDArray[np.float64]:
    """One where a point lies in a tile, (n, tilings (tiles + 1)^k); each row has `tilings` ones.

    tiles: of width 1 / tiles along each axis; tilings: grids, each displaced by (1, 3, 5, ...) / (tilings tiles) from
    the last one modulo a tile, which spreads them more evenly than displacement along the diagonal. One tile more along
    each axis holds what a displaced grid leaves uncovered. Source: Sutton & Barto (2018), section 9.5.4.
    """
    x = _checked(points)
    n, k = x.shape
    require_counts(tiles=tiles, tilings=tilings)
    along = tiles + 1
    _check_size(tilings * along**k)
    place = np.arange(tilings)[:, None] * (2 * np.arange(k) + 1) % tilings / tilings  # in tiles, (tilings, k)
    # The last point of an axis belongs to the last tile that it closes.
    index = np.minimum(np.floor(x[:, None, :] * tiles + place), np.where(place > 0, tiles, tiles - 1)).astype(np.int64)
    column = np.arange(tilings) * along**k + index @ (along ** np.arange(k))
    matrix = np.zeros((n, tilings * along**k))
    np.put_along_axis(matrix, column, 1.0, axis=1)
    return matrix


def fourier_basis(points: ArrayLike, *, order: int = 3, coupled: bool = True) -> NDArray[np.float64]:
    """cos(pi c . x) for each vector of `fourier_coefficients`, (n, d), in [-1, 1].

    Source: Konidaris, Osentoski & Thomas (2011), "Value Function Approximation in Reinforcement Learning Using the
    Fourier Basis".
    """
    x = _checked(points)
    return np.asarray(np.cos(np.pi * (x @ fourier_coefficients(x.shape[1], order, coupled).T)))


def fourier_coefficients(k: int, order: int, coupled: bool = True) -> NDArray[np.int64]:
    """The vectors c of a Fourier basis of k dimensions, int64 (d, k); the first is 0, the constant.

    coupled: all (order + 1)^k vectors with entries 0 to order; otherwise those with one entry that is not 0 at most.
    """
    if not is_whole(order) or not is_whole(k, 1):
        raise ParameterError(f"order is {order!r} and k is {k!r}, but an order is whole, 0 or more, and k 1 or more")
    _check_size((order + 1) ** k if coupled else 1 + k * order)
    if coupled:
        return np.array(list(product(range(order + 1), repeat=k)), dtype=np.int64)
    alone = np.kron(np.eye(k, dtype=np.int64), np.arange(1, order + 1, dtype=np.int64)[:, None])
    return np.vstack([np.zeros((1, k), dtype=np.int64), alone])


def fourier_step_sizes(k: int, order: int, step_size: float, coupled: bool = True) -> NDArray[np.float64]:
    """A step size for each function of the basis, (d,): step_size / |c|, and step_size for the constant.

    Konidaris et al. (2011) so keep high frequencies from learning faster than their slopes allow. Learners here have
    one step size; features that are multiplied by the roots of these learn with step size 1 as if each had its own.
    """
    number_within("step_size", step_size, 0.0, above=True)
    length = np.linalg.norm(fourier_coefficients(k, order, coupled), axis=1)
    return np.asarray(step_size / np.where(length > 0, length, 1.0))


def radial_basis(
    points: ArrayLike, *, centres: int = 4, width: float | None = None, normalised: bool = False, constant: bool = True
) -> NDArray[np.float64]:
    """exp(-|x - c|^2 / (2 width^2)) for centres c on an even grid, (n, centres^k), and a column of ones first.

    width: in units of the cube; by default the distance between neighbouring centres, and 1/2 for a single one.
    normalised: whether each row's radial functions sum to 1. constant: whether there is the column of ones. Source:
    Sutton & Barto (2018), section 9.5.5.
    """
    x = _checked(points)
    require_counts(centres=centres)
    _check_size(centres ** x.shape[1] + constant)
    side = np.linspace(0.0, 1.0, centres) if centres > 1 else np.array([0.5])
    spread = float(side[1] - side[0]) if centres > 1 else 0.5
    sigma = spread if width is None else number_within("width", width, _THINNEST)
    grid = np.array(list(product(side, repeat=x.shape[1])))
    exponent = -0.5 * ((x[:, None, :] - grid) ** 2).sum(axis=2) / sigma**2
    if normalised:  # so that the nearest is never lost to underflow
        exponent -= exponent.max(axis=1, keepdims=True)
    radial = np.exp(exponent)
    if normalised:
        radial /= radial.sum(axis=1, keepdims=True)
    return np.column_stack([np.ones(len(x)), radial]) if constant else radial


def _checked(points: ArrayLike) -> NDArray[np.float64]:
    x = as_array("points", points)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ParameterError(f"points has shape {x.shape}; give one row of coordinates for each point, (n, k)")
    if x.size and not (x.min() >= 0.0 and x.max() <= 1.0):
        raise ParameterError(
            "points must lie in the unit cube, each coordinate in [0, 1]; bring them there with unit_points"
        )
    return x


def _check_size(features: int) -> None:
    if features > MOST_FEATURES:
        raise ParameterError(
            f"that makes {features:,} features for each point, more than {MOST_FEATURES:,}; take fewer along each axis"
        )
