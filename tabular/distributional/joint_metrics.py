"""Distances between joint laws of vectors, law by law, in the Euclidean geometry of R^d.

One backup shrinks the largest distance over states by the discount for W_p, and by discount^(beta / 2) for the MMD of
the energy kernel: k(c x, c y) = c^beta k(x, y), so scaling by the discount scales MMD^2 by discount^beta, shifts change
nothing, and MMD^2 is convex in mixtures. (Zhang et al. 2021 show convergence; we could read their abstract only. For
MMD in several dimensions: Wiltzer, Farebrother, Gretton & Rowland, "Foundations of Multivariate Distributional
Reinforcement Learning", NeurIPS 2024, abstract read.)
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.joint_kernels import joint_similarities
from rlbook.tabular.distributional.metrics import check_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.distributional.joint_laws import JointLaws
    from rlbook.tabular.distributional.metrics import DiscrepancyKernel

_EQUAL = 1e-12  # masses that differ by less are equal


def joint_mmd(first: JointLaws, second: JointLaws, kernel: DiscrepancyKernel) -> NDArray[np.float64]:
    """Maximum mean discrepancies sqrt(E k(X, X') + E k(Y, Y') - 2 E k(X, Y)), (n,), from exact double sums.

    In units of return^(beta / 2) for the energy kernel, else without a unit; |x - y| is Euclidean. Rounding leaves
    about 1e-8 of the largest distance where laws are the same.
    """
    check_kernel(kernel)
    _check_alike(first, second)
    sums = []
    for one, other in ((first, first), (second, second), (first, second)):
        found = np.empty(first.n_laws)
        joint_similarities(one.arrays, other.arrays, kernel.kind, kernel.parameter, found)
        sums.append(found)
    return np.sqrt(np.maximum(sums[0] + sums[1] - 2.0 * sums[2], 0.0))


def joint_wasserstein(first: JointLaws, second: JointLaws, p: float = 1.0) -> NDArray[np.float64]:
    """Wasserstein distances W_p, (n,), in units of return; p >= 1 and finite.

    By assignment where all atoms weigh the same, else by a linear program with one variable per pair of atoms: for laws
    of up to some hundred atoms. Raises ParameterError for a p out of range and for a program that is not solved.
    """
    _check_alike(first, second)
    if not isinstance(p, Real) or not 1 <= p < math.inf:
        raise ParameterError(f"p is {p!r}; in several dimensions give a finite number, 1 or more")
    return np.array([_transport(*first.law(i), *second.law(i), p) for i in range(first.n_laws)])


def _transport(
    atom_a: NDArray[np.float64],
    mass_a: NDArray[np.float64],
    atom_b: NDArray[np.float64],
    mass_b: NDArray[np.float64],
    p: float,
) -> float:
    """W_p of two laws."""
    from scipy.optimize import linear_sum_assignment, linprog
    from scipy.sparse import eye_array, kron, vstack
    from scipy.spatial.distance import cdist

    apart = cdist(atom_a, atom_b)
    unit = float(apart.max())
    if unit == 0.0:
        return 0.0
    cost = (apart / unit) ** p
    n, m = cost.shape
    if min(n, m) == 1:
        return float(unit * np.sum(cost * np.outer(mass_a, mass_b)) ** (1 / p))
    if n == m and np.ptp(np.concatenate([mass_a, mass_b])) <= _EQUAL:
        return float(unit * cost[linear_sum_assignment(cost)].mean() ** (1 / p))
    sums = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))], format="csr")
    # One of the n + m sums follows from the others; leaving it out lets masses differ in their last bits.
    solved = linprog(cost.ravel(), A_eq=sums[:-1], b_eq=np.concatenate([mass_a, mass_b])[:-1], method="highs")
    if solved.status != 0:
        raise ParameterError(f"the transport of {n} to {m} atoms was not solved ({solved.message}); merge atoms first")
    return float(unit * max(solved.fun, 0.0) ** (1 / p))


def _check_alike(first: JointLaws, second: JointLaws) -> None:
    if (first.n_laws, first.n_sources) != (second.n_laws, second.n_sources):
        raise ParameterError(
            f"second holds {second.n_laws} laws of {second.n_sources} sources, but first holds {first.n_laws} of "
            f"{first.n_sources}; distances are taken law by law"
        )
