"""Anderson-accelerated value iteration: extrapolate from the last few backups, and take it only where it is safe.

With the residual f(v) = T v - v of each point backed up, type-II Anderson acceleration (Anderson 1965; on MDPs Geist &
Scherrer 2018) chooses the combination of the last `memory` steps that would cancel the residual if T were linear:

    c = argmin || f(v_k) - dF c ||,     y = T v_k - dG c,

where the columns of dF and dG are the differences of successive residuals and backups. Between changes of the greedy
policy T is affine, and there this is a Krylov method, close to GMRES. But T has kinks, where the extrapolation may be
arbitrarily bad, and left to itself the method need not converge.

*The safeguard* keeps a sequence of accepted points. Let rho be the norm of the last one's residual and beta < 1 the
modulus of T in that norm: y is accepted only if its own backup shows a residual of at most beta rho; otherwise the
next point is T v of the last accepted point, whose residual is at most beta rho because T contracts. So every accepted
point has at most beta times the residual of the one before it, and costs at most two backups: convergence is
geometric, at worst at half the speed that is proven for value iteration. (Zhang, O'Donoghue & Boyd 2020 give type-I
acceleration a summable budget of residuals instead, since their maps need not contract.)

Without it, two states are enough to go wrong: one in which staying pays 1.5, and one in which staying pays 0.5 and
going to the first costs 1, at discount 0.95. The extrapolation overshoots to where the other action looks better, and
back, for ever.

*The norm* is that of the bounds. Where no row terminates, T (v + c) = T v + discount * c: a residual that is constant
closes the gap at once, so the span seminorm is used and the least squares leave the mean of f out. What the mean
calls for, discount / (1 - discount) times itself, is added to each next point instead: it changes no span, and without
it values would still creep to their level at the rate of the discount. Where some row terminates it is the sup-norm.
Where a potential w stands in for the discount (see `certificate`) it is the sup-norm of f / w, in which T contracts by
1 - k / max w.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError
from rlbook.tabular.bellman import LARGEST, value_vector
from rlbook.tabular.certified_iteration import certified_iteration
from rlbook.tabular.operator import KeepsVectors
from rlbook.tabular.solution import Solution
from rlbook.tabular.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.certificate import Contraction
    from rlbook.tabular.operator import BellmanOperator, Model

_ROOM = 10.0
_SAME_MASS = 1e-8  # continuing masses that differ by no more: no row terminates


@dataclass(frozen=True, eq=False)
class AndersonSolution(Solution):
    """A `Solution` that also says what became of each extrapolation.

    extrapolated: bool (iterations,), whether the point that iteration k backed up was extrapolated (else it is T v of
    an accepted point). accepted: bool (iterations,), whether that point was kept; only extrapolated ones can be
    rejected, and their backup is then lost. The last point is kept as the answer without being judged.
    """

    extrapolated: NDArray[np.bool_] = field(kw_only=True, repr=False)
    accepted: NDArray[np.bool_] = field(kw_only=True, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The summary of a `Solution`, and how many extrapolations were accepted and rejected."""
        return {
            **super().to_json(),
            "extrapolations_accepted": int(np.sum(self.extrapolated & self.accepted)),
            "extrapolations_rejected": int(np.sum(~self.accepted)),
        }


class _Norm:
    """The (semi)norm in which an operator contracts and its bounds close; see the module's text."""

    def __init__(self, contraction: Contraction) -> None:
        self._potential = contraction.potential
        self._span = self._potential is None and contraction.mass_high - contraction.mass_low <= _SAME_MASS
        if self._potential is None:
            self.modulus = contraction.discount * contraction.mass_high
        else:
            self.modulus = 1 - contraction.slack / float(self._potential.max())
        # How much the mean of a residual calls for after its backup: a constant c changes the residual by (beta - 1) c.
        self.lift = self.modulus / (1 - self.modulus) if self._span else 0.0

    def of(self, f: NDArray[np.float64]) -> float:
        """The norm of a residual, (S,)."""
        if self._span:
            return float(f.max() - f.min())
        scaled = f if self._potential is None else f / self._potential
        return float(max(scaled.max(), -scaled.min()))

    def coordinates(self, f: NDArray[np.float64]) -> NDArray[np.float64]:
        """The part of a residual, (S,), that its norm sees, for least squares."""
        if self._span:
            return f - f.mean()
        return f.copy() if self._potential is None else f / self._potential


class _Memory:
    """The last differences of residuals and of backups, and the extrapolation that they give.

    Memory: 2 * size + 2 vectors of S doubles.
    """

    def __init__(self, states: int, size: int, regularisation: float) -> None:
        self._residual_steps = np.empty((size, states))
        self._backup_steps = np.empty((size, states))
        self._mean_steps = np.empty(size)
        self._gram = np.zeros((size, size))  # of the residual steps
        self._regularisation = regularisation
        self._seen = 0
        self._last: tuple[NDArray[np.float64], NDArray[np.float64], float] | None = None

    def add(self, residual: NDArray[np.float64], backup: NDArray[np.float64], mean: float) -> None:
        """Remember a residual, as `_Norm.coordinates` gives it, its backup, (S,) each, and the residual's mean."""
        if self._last is not None:
            step = residual - self._last[0]
            largest = _size(step)
            if largest > 0:
                at = self._seen % len(self._gram)
                self._seen += 1
                kept = min(self._seen, len(self._gram))
                step /= largest  # first, so that squares neither overflow nor vanish
                length = float(np.sqrt(np.einsum("i,i->", step, step)))
                np.divide(step, length, out=self._residual_steps[at])
                with np.errstate(over="ignore"):
                    np.divide((backup - self._last[1]) / largest, length, out=self._backup_steps[at])
                    self._mean_steps[at] = (mean - self._last[2]) / largest / length
                # einsum and not @: its sums are the same for any number of threads, and with another library's threads
                # about, a product by BLAS took up to 9 ms where this takes 0.1.
                products = np.einsum("ij,j->i", self._residual_steps[:kept], self._residual_steps[at])
                self._gram[at, :kept] = self._gram[:kept, at] = products
        self._last = residual, backup.copy(), mean

    def extrapolate(self, lift: float, largest: float) -> NDArray[np.float64] | None:
        """The point at which the last residual would vanish as far as the steps can tell.

        `lift` times the mean of the residual that is left is added. None where there are no steps, or where the point
        is not finite or exceeds `largest` in size.
        """
        if self._last is None or self._seen == 0:
            return None
        kept = min(self._seen, len(self._gram))
        # The normal equations of steps of length 1: on (5, 200000) about 1 ms, where QR took 9 and lstsq 5. What they
        # lose in accuracy lies below the regularisation, and the safeguard judges the rest.
        gram = self._gram[:kept, :kept] + self._regularisation * np.eye(kept)
        right = np.einsum("ij,j->i", self._residual_steps[:kept], self._last[0])
        weights = np.linalg.lstsq(gram, right, rcond=None)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            y = self._last[1] - np.einsum("i,ij->j", weights, self._backup_steps[:kept])
            y += lift * (self._last[2] - float(weights @ self._mean_steps[:kept]))
        return y if _size(y) <= largest else None  # false for NaN, too


class _Acceleration:
    """What happens between two backups, and what became of each extrapolation."""

    def __init__(
        self, start: NDArray[np.float64], size: int, regularisation: float, safeguard: bool, max_iterations: int
    ) -> None:
        self._point = start
        self._start_size = _size(start)
        self._memory = _Memory(len(start), size, regularisation)
        self._safeguard = safeguard
        self._max_iterations = max_iterations
        self._norm: _Norm | None = None
        self._residual = np.inf  # of the last accepted point
        self._backup = start.copy()  # T of the last accepted point, lifted
        self.extrapolated = [False]
        self.accepted: list[bool] = []

    def advance(
        self,
        operator: BellmanOperator,
        v: NDArray[np.float64],
        greedy: NDArray[np.int64],
        contraction: Contraction,
        gap: float,
    ) -> float:
        """Replace v, which is T of the last point, by the next point."""
        if self._norm is None and isinstance(operator, KeepsVectors):
            raise MDPError(
                "anderson_value_iteration combines vectors in NumPy's memory, but this model keeps them on a device; "
                "give the model it was made from (host), or use value_iteration"
            )
        norm = self._norm = self._norm or _Norm(contraction)
        f = v - self._point
        size, mean = norm.of(f), float(f.mean())
        self._memory.add(norm.coordinates(f), v, mean)
        kept = not (self._safeguard and self.extrapolated[-1] and not size <= norm.modulus * self._residual)
        self.accepted.append(kept)
        candidate = None
        if kept:
            self._residual = size
            self._backup[:] = v
            largest = self._largest(contraction)
            if _size(v) + norm.lift * abs(mean) <= largest:
                self._backup += norm.lift * mean
            if len(self.accepted) + 1 < self._max_iterations:  # the last point is returned unjudged
                candidate = self._memory.extrapolate(norm.lift, largest)
        v[:] = self._backup if candidate is None else candidate
        self.extrapolated.append(candidate is not None)
        self._point[:] = v
        return 0.0

    def _largest(self, contraction: Contraction) -> float:
        """How large an extrapolation may be: rounding near larger values would swamp what there is to find.

        No optimal value exceeds the first product; the room above it is for the constant that spans do not see.
        """
        return min(max(_ROOM * contraction.largest_reward * contraction.horizon, self._start_size), LARGEST)


def anderson_value_iteration(
    model: Model,
    tol: float = DEFAULT_TOLERANCE,
    *,
    memory: int = 5,
    regularisation: float = 1e-12,
    safeguard: bool = True,
    initial_values: ArrayLike | None = None,
    max_iterations: int = 1_000_000,
    cancel: NDArray[np.uint8] | None = None,
) -> AndersonSolution:
    """Solve an MDP, stored or not, by value iteration with Anderson acceleration; the rest as in `value_iteration`.

    memory: steps that an extrapolation may combine. regularisation: what is added to the squared lengths of the steps,
    all scaled to 1, in the least squares; not negative. safeguard: whether an extrapolation must show a residual as
    small as a plain backup's would be; without it the method may cycle or stall, which `reason` then says.

    `iterations` and `history.work` count backups, rejected ones included. It shines where plain sweeps are slow and few
    slow modes are left, and does little while news still travels from far away, as on a large grid with a goal.
    Raises MDPError also for a memory below 1 or a negative regularisation.
    """
    if memory < 1:
        raise MDPError(f"memory is {memory}; at least one step is needed to extrapolate from")
    if not 0 <= regularisation < np.inf:
        raise MDPError(f"regularisation is {regularisation!r}; give a finite number, 0 or more")
    start = np.zeros(model.n_states) if initial_values is None else value_vector(model, initial_values)
    acceleration = _Acceleration(start, memory, regularisation, safeguard, max_iterations)
    found = certified_iteration(
        model,
        "anderson-value-iteration",
        tol,
        initial_values=start,
        max_iterations=max_iterations,
        cancel=cancel,
        between=acceleration.advance,
    )
    return AndersonSolution(
        **{item.name: getattr(found, item.name) for item in fields(Solution)},
        extrapolated=np.array(acceleration.extrapolated),
        accepted=np.array([*acceleration.accepted, True]),
    )


def _size(v: NDArray[np.float64]) -> float:
    """The greatest |v(s)|; NaN where some entry is."""
    return max(float(v.max()), -float(v.min()))
