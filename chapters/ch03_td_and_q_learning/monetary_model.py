"""A central bank as a finite MDP: the fitted linear model on a grid, its optimum, and the rules to compare with.

Each quarter the bank sees inflation pi, unemployment u and the rate i, and moves the rate by d. It pays the loss

    (pi - pi*)^2 + w (u - u*)^2 + v d^2                                                     (Rudebusch & Svensson 1999)

and the next quarter follows the linear model of `monetary_data` with the new rate i + d. Two optima are known: that of
the MDP on the grid, from any solver, and that of the linear model itself without bounds on the rate, a linear-quadratic
regulator whose value -z' P z - discount / (1 - discount) tr(P Sigma), z = (pi, u, i, 1), solves a Riccati equation.

On the grid, the chance of a cell is that of the normal law over the cell; the outermost cells reach to infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.chapters.ch03_td_and_q_learning.monetary_data import LinearModel, Macrodata
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Loss:
    """What a quarter costs, with targets in percent and weights relative to that of inflation."""

    natural_rate: float
    inflation_target: float = 2.0
    unemployment_weight: float = 1.0
    change_weight: float = 0.5

    def __call__(
        self, inflation: NDArray[np.float64], unemployment: NDArray[np.float64], change: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The loss, in squared percent; arguments broadcast."""
        return (
            (inflation - self.inflation_target) ** 2
            + self.unemployment_weight * (unemployment - self.natural_rate) ** 2
            + self.change_weight * change**2
        )


@dataclass(frozen=True)
class Grid:
    """Centres of cells, in percent, evenly spaced and increasing, and the changes of the rate that actions make.

    changes: multiples of the spacing of rates, increasing, 0 among them.
    """

    inflation: tuple[float, ...]
    unemployment: tuple[float, ...]
    rate: tuple[float, ...]
    changes: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("inflation", "unemployment", "rate"):
            steps = np.diff(getattr(self, name))
            if not len(steps) or steps[0] <= 0 or not np.allclose(steps, steps[0]):
                raise ParameterError(f"{name} is {getattr(self, name)}, but centres must increase by equal steps")
        if 0.0 not in self.changes or not np.allclose(self.moves * self.spacing, self.changes):
            raise ParameterError(
                f"changes is {self.changes}, but they are multiples of the rates' step {self.spacing:g}, 0 among them"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells of inflation, unemployment and rate; states count them with the rate fastest."""
        return len(self.inflation), len(self.unemployment), len(self.rate)

    @property
    def spacing(self) -> float:
        """Between two rates, in percent."""
        return self.rate[1] - self.rate[0]

    @property
    def moves(self) -> NDArray[np.int64]:
        """How many rates up each action goes, (actions,)."""
        return np.rint(np.array(self.changes) / self.spacing).astype(np.int64)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Inflation, unemployment and rate of every state, (S, 3)."""
        axes = np.meshgrid(self.inflation, self.unemployment, self.rate, indexing="ij")
        return np.column_stack([axis.ravel() for axis in axes])

    def nearest(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """The state whose centre is nearest, (...), to points (..., 3) of inflation, unemployment and rate."""
        index = [
            np.clip(np.rint((points[..., k] - axis[0]) / (axis[1] - axis[0])), 0, len(axis) - 1).astype(np.int64)
            for k, axis in enumerate((self.inflation, self.unemployment, self.rate))
        ]
        return np.asarray(np.ravel_multi_index(tuple(index), self.shape))


def cell_chances(model: LinearModel, grid: Grid) -> NDArray[np.float64]:
    """The law of next quarter's cell of (inflation, unemployment), (S, cells), after the rate has been moved.

    Differences of the normal distribution function at the corners of cells, to 12 decimals: beyond them they are
    rounding, which differs between processors.
    """
    centres = grid.centres
    mean = model.expected(centres[:, :2], centres[:, 2])
    spread = np.sqrt(np.diag(model.covariance))
    correlation = float(model.covariance[0, 1] / (spread[0] * spread[1]))
    h = (_edges(grid.inflation) - mean[:, 0, None]) / spread[0]
    k = (_edges(grid.unemployment) - mean[:, 1, None]) / spread[1]
    below = both_below(h[:, :, None], k[:, None, :], correlation)
    return np.diff(np.diff(below, axis=1), axis=2).clip(min=0.0).round(12).reshape(len(centres), -1)


def both_below(h: NDArray[np.float64], k: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    """The chance that two standard normals of this correlation are below h and k, by Owen's T function (Owen 1956).

    h, k: broadcast, infinities allowed. correlation: in (-1, 1). The absolute error is a few units of rounding.
    """
    from scipy.special import ndtr, owens_t

    # Beyond 40 deviations nothing is left in doubles, and at 0 the slopes below are taken as limits from above.
    h, k = (np.where(x == 0.0, 1e-300, np.clip(x, -40.0, 40.0)) for x in (h, k))
    left = np.sqrt(1 - correlation**2)
    opposite = (h > 0) != (k > 0)
    with np.errstate(over="ignore"):
        slopes = (k - correlation * h) / (h * left), (h - correlation * k) / (k * left)
    return np.asarray((ndtr(h) + ndtr(k) - opposite) / 2 - owens_t(h, slopes[0]) - owens_t(k, slopes[1]))


def bank(
    model: LinearModel,
    data: Macrodata,
    loss: Loss,
    grid: Grid,
    discount: float,
    *,
    negligible: float = 0.0,
) -> FiniteMDP:
    """The central bank's MDP; it starts in a quarter of the data, each as likely, on its nearest cell.

    Rewards are minus the loss of the present quarter. Actions that would leave the grid's rates are not available.
    negligible: chances up to it are dropped, and each row divided by what is left.
    """
    states = int(np.prod(grid.shape))
    rates = len(grid.rate)
    target = np.arange(rates)[:, None] + grid.moves
    pair_state, action = np.nonzero(np.tile((target >= 0) & (target < rates), (states // rates, 1)))
    afterwards = pair_state + grid.moves[action]  # the state as it is once the rate has moved
    chance = cell_chances(model, grid)
    chance[chance <= negligible] = 0.0
    kept = np.count_nonzero(chance, axis=1)
    row, cell = np.nonzero(chance)
    first = np.concatenate([[0], np.cumsum(kept)])
    row_ptr = np.concatenate([[0], np.cumsum(kept[afterwards])])
    entry = np.arange(row_ptr[-1]) + np.repeat(first[afterwards] - row_ptr[:-1], kept[afterwards])
    centres = grid.centres[pair_state]
    observed = grid.nearest(np.column_stack([data.states, data.rate]))
    return from_rows(
        state_ptr=np.concatenate([[0], np.cumsum(np.bincount(pair_state, minlength=states))]),
        action=action,
        row_ptr=row_ptr,
        next_state=cell[entry] * rates + np.repeat(afterwards % rates, kept[afterwards]),
        probability=chance[row, cell][entry],
        reward=-loss(centres[:, 0], centres[:, 1], np.array(grid.changes)[action]),
        discount=discount,
        start=np.bincount(observed, minlength=states) / len(observed),
        normalise=True,
        name="central bank",
        state_names=[f"inflation {p:g}, unemployment {u:g}, rate {i:g}" for p, u, i in grid.centres],
        action_names=[f"{change:+g}" if change else "hold" for change in grid.changes],
    )


def taylor_rate(loss: Loss, inflation: NDArray[np.float64], unemployment: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rate of Taylor's rule, in percent: pi + (y + pi - 2) / 2 + 2, y being the output gap (Taylor 1993, eq. 1).

    y = -2 (u - u*) by Okun's law, as the state holds unemployment. The target in place of Taylor's 2 is the loss's own;
    the 2 that is added is his real rate.
    """
    gap = -2.0 * (unemployment - loss.natural_rate)
    return np.asarray(inflation + 0.5 * gap + 0.5 * (inflation - loss.inflation_target) + 2.0)


def follow_changes(mdp: FiniteMDP, grid: Grid, wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """The policy that moves the rate as nearly by `wanted`, (S,) in percent, as actions allow: labels (S,)."""
    miss = np.abs(np.array(grid.changes)[mdp.action] - wanted[mdp.pair_state])
    least = np.minimum.reduceat(miss, mdp.state_ptr[:-1])
    nearest = np.flatnonzero(miss == least[mdp.pair_state])
    return mdp.action[nearest[np.unique(mdp.pair_state[nearest], return_index=True)[1]]].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Regulator:
    """The optimum of the linear model without bounds: d = -gain z, and P of the value; z = (pi, u, i, 1).

    gain: (4,). riccati: P, (4, 4). noise: what the noise costs, discount / (1 - discount) tr(P Sigma).
    """

    gain: NDArray[np.float64]
    riccati: NDArray[np.float64]
    noise: float

    def changes(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The best change of the rate, (...), at points (..., 3) of inflation, unemployment and rate."""
        return -(points @ self.gain[:3] + self.gain[3])

    def values(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The best value, (...), at points (..., 3): minus the discounted loss to come."""
        z = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
        return -np.einsum("...i,ij,...j->...", z, self.riccati, z) - self.noise


def regulator(model: LinearModel, loss: Loss, discount: float) -> Regulator:
    """Solve the Riccati equation of the discounted linear-quadratic problem, 0 < discount < 1.

    The discount is moved into the dynamics, as sqrt(discount) on both matrices (Bertsekas, *Dynamic Programming and
    Optimal Control*, volume II, section 4.1).
    """
    from scipy.linalg import solve_discrete_are

    dynamics = np.zeros((4, 4))
    dynamics[:2, :2], dynamics[:2, 2], dynamics[:2, 3] = model.persistence, model.effect, model.constant
    dynamics[2, 2] = dynamics[3, 3] = 1.0
    control = np.array([*model.effect, 1.0, 0.0])[:, None]
    inflation = np.array([1.0, 0.0, 0.0, -loss.inflation_target])
    unemployment = np.array([0.0, 1.0, 0.0, -loss.natural_rate])
    cost = np.outer(inflation, inflation) + loss.unemployment_weight * np.outer(unemployment, unemployment)
    price = np.array([[loss.change_weight]])
    root = np.sqrt(discount)
    p = solve_discrete_are(root * dynamics, root * control, cost, price)
    gain = np.linalg.solve(price + discount * control.T @ p @ control, discount * control.T @ p @ dynamics)
    noise = discount / (1 - discount) * float(np.trace(p[:2, :2] @ model.covariance))
    return Regulator(gain[0], p, noise)


def _edges(centres: tuple[float, ...]) -> NDArray[np.float64]:
    """Where cells of these centres end, (cells + 1,), from minus to plus infinity."""
    inner = np.array(centres)
    return np.concatenate([[-np.inf], (inner[1:] + inner[:-1]) / 2, [np.inf]])
