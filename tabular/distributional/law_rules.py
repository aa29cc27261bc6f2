"""Rules by which learners move a kept law of the return by one transition.

    target = law of r + discount G(s'),  G(s') the kept law of the next state, or of its greedy pair;  0 if it ended

    CATEGORICAL    masses <- masses + alpha (Pi target - masses),     Pi the Cramer projection onto the atoms
    QUANTILE       theta_i <- theta_i + alpha (tau_i - P(target < theta_i))
    EXPECTILE      e_i <- e_i + alpha E 2 |tau_i - 1{target < e_i}| (target - e_i),     G(s') imputed from expectiles
    NAIVE          as EXPECTILE, but with the expectiles of G(s') taken for samples of it
    IMPLICIT       w <- w + alpha mean_ij h_i(r + discount Z(tau'_j | s') - Z(tau_i | s)) phi(tau_i),  tau, tau' drawn,
                   Z(tau) = phi(tau) w, phi_k(tau) = cos(pi k tau), h_i(x) = |tau_i - 1{x < 0}| clip(x / kappa, -1, 1)

The number that stands for a law, its mean or a distorted one, is kept beside it: actions are greedy in it, and it is
what the record calls the estimate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from rlbook.kernel import boolean, float64, inline, int64, reads, uint64
from rlbook.keyed_random import bits, uniform
from rlbook.mdp import owned
from rlbook.tabular.distributional.categorical_kernels import add_shares, spread_evenly, spread_unevenly
from rlbook.tabular.distributional.expectile_kernels import impute_row
from rlbook.tabular.learning.frame import OWN

CATEGORICAL, QUANTILE, EXPECTILE, NAIVE, IMPLICIT = range(5)

LAWS = types.Tuple(
    (
        int64,  # which of the five rules
        reads(float64),  # atoms, or levels, rising, (m,)
        reads(float64),  # 1 / (gap to the next atom), (m,); or empty
        boolean,  # whether all gaps are the same
        reads(float64),  # weights, (m,): the number that stands for a law is their sum with its parameters
        reads(float64),  # distorted levels at 0, 1 / cells, ..., 1, in place of weights where masses move; or empty
        float64,  # expectiles nearer to the mean, as a share of their size, count as the mean
        int64,  # fractions that are drawn for the law that moves
        int64,  # fractions that are drawn for its target
        float64,  # kappa, below which a distance counts less
        reads(float64, 2),  # the laws to begin with, (entries, m)
    )
)

NONE = owned(np.empty(0))  # what stands in LAWS where a rule reads no array,
NO_FRACTIONS = (0, 0, 1.0)  # and where it draws no fractions

# Inlined by LLVM, at less cost than by Numba in kernels of laws (see `categorical_kernels`). Laws are named by
# where they begin in one flat array, since each view of a row is counted, which took most of an update's time.
_helper = njit(nogil=True, error_model="numpy")  # no division here is by 0, and a way out would cost each update


@_helper
def stands_for(atoms: Any, weights: Any, distorted: Any, kept: Any, row: Any, m: Any) -> Any:
    """The mean, or distorted mean, of the law kept[row : row + m]."""
    total, mass, before = 0.0, 0.0, 0.0
    cells = len(distorted) - 1
    for j in range(m):
        if cells < 0:
            total += weights[j] * kept[row + j]
        else:
            mass += kept[row + j]
            place = min(max(mass, 0.0), 1.0) * cells
            cell = min(int64(place), cells - 1)
            level = distorted[cell] + (place - cell) * (distorted[cell + 1] - distorted[cell])
            level = 1.0 if j == m - 1 else level
            total += (level - before) * atoms[j]
            before = level
    return total


@_helper
def _towards_masses(
    alpha: Any,
    atoms: Any,
    inverse_gap: Any,
    even: Any,
    count: Any,
    target: Any,
    mass: Any,
    up: Any,
    down: Any,
    stays: Any,
    rises: Any,
    at: Any,
    kept: Any,
    row: Any,
    m: Any,
) -> None:
    """Mix the projection of the target law, `count` atoms, into the masses of a row."""
    if even:
        for j in range(count):
            target[j] = (target[j] - atoms[0]) * inverse_gap[0]
        spread_evenly(target, mass, 0, count, float64(m - 1), at, up, down)
    else:
        spread_unevenly(target, mass, 0, count, uint64(0), atoms, inverse_gap, at, up, down)
    for j in range(m):
        stays[j], rises[j] = 0.0, 0.0
    add_shares(count, at, up, down, stays, rises)
    for j in range(m):
        share = stays[j] + (rises[j - 1] if j > 0 else 0.0)
        kept[row + j] += alpha * (share - kept[row + j])


@_helper
def _towards_quantiles(alpha: Any, levels: Any, count: Any, target: Any, kept: Any, row: Any, m: Any) -> None:
    """Move each quantile by how far its level is from the share of `count` equally likely targets below it."""
    for j in range(1, count):  # by insertion: quantiles rise but for a few
        value, k = target[j], j
        while k > 0 and target[k - 1] > value:
            target[k] = target[k - 1]
            k -= 1
        target[k] = value
    below = 0
    for i in range(m):
        theta = kept[row + i]
        while below < count and target[below] < theta:
            below += 1
        while below > 0 and target[below - 1] >= theta:
            below -= 1
        kept[row + i] = theta + alpha * (levels[i] - below / count)


@_helper
def _towards_expectiles(
    alpha: Any, levels: Any, count: Any, target: Any, mass: Any, kept: Any, row: Any, m: Any
) -> None:
    """Move each expectile by the mean of its targets' distances, those above and below weighted by its level."""
    for i in range(m):
        e, move = kept[row + i], 0.0
        for j in range(count):
            off = target[j] - e
            move += mass[j] * (2.0 * (levels[i] if off >= 0.0 else 1.0 - levels[i]) * off)
        kept[row + i] = e + alpha * move


@_helper
def _values(
    key: Any, place: Any, first: Any, n: Any, kept: Any, row: Any, m: Any, tau: Any, twice: Any, phi: Any, z: Any
) -> None:
    """Draw n fractions from draw `first` on, and write them, their cosines, and the quantile function there.

    Chebyshev's recursion, for all fractions side by side: one alone would wait for each cosine before the next.
    """
    for i in range(n):
        tau[i] = uniform(bits(key, place, first + i))
        twice[i] = 2.0 * np.cos(np.pi * tau[i])
        phi[0, i], z[i] = 1.0, kept[row]
    for k in range(1, m):
        weight = kept[row + k]
        for i in range(n):
            phi[k, i] = 0.5 * twice[i] if k == 1 else twice[i] * phi[k - 1, i] - phi[k - 2, i]
            z[i] += weight * phi[k, i]


@_helper
def _towards_implicit(
    alpha: Any,
    own: Any,
    others: Any,
    kappa: Any,
    target: Any,
    tau: Any,
    z: Any,
    pull: Any,
    phi: Any,
    kept: Any,
    row: Any,
    m: Any,
) -> None:
    """Move a row of weights by quantile regression with a Huber loss, for all pairs of fractions and targets."""
    for i in range(own):
        pull[i] = 0.0
        for j in range(others):
            off = target[j] - z[i]
            pull[i] += (tau[i] if off >= 0.0 else 1.0 - tau[i]) * min(1.0, max(-1.0, off / kappa))
    for k in range(m):
        move = 0.0
        for i in range(own):
            move += pull[i] * phi[k, i]
        kept[row + k] += alpha / (own * others) * move


@_helper
def _moved_samples(paid: Any, discount: Any, others: Any, source: Any, m: Any, target: Any, mass: Any) -> None:
    for j in range(m):
        target[j], mass[j] = paid + discount * others[source + j], 1.0 / m


@inline
def move_law(
    laws: Any,
    alpha: Any,
    paid: Any,
    discount: Any,
    ended: Any,
    others: Any,
    source: Any,
    key: Any,
    place: Any,
    scratch: Any,
    kept: Any,
    row: Any,
) -> None:
    """Move the law kept[row : row + m] by one transition, after which the law others[source : source + m] follows.

    The two may be the same. key, place: of random numbers of the learner's own. scratch: see `scratch_for`.
    """
    rule, points, inverse_gap, even, _, _, tolerance, own, drawn, kappa, _ = laws
    target, mass, a, b, c, d, phi, at = scratch
    m = np.int64(len(at))
    count = m
    if rule == IMPLICIT:
        count = drawn
        if ended:
            count, target[0] = np.int64(1), paid
        else:
            _values(key, place, OWN + own, drawn, others, source, m, a, b, phi, target)
            for j in range(drawn):
                target[j] = paid + discount * target[j]
        _values(key, place, OWN, own, kept, row, m, a, b, phi, c)
        _towards_implicit(alpha, own, count, kappa, target, a, c, d, phi, kept, row, m)
    else:
        if ended:
            count, target[0], mass[0] = np.int64(1), paid, 1.0
        elif rule == EXPECTILE:
            impute_row(others[source : source + m], points, tolerance, a, b, c, mass)
            for j in range(m):
                target[j] = paid + discount * c[j]
        elif rule == CATEGORICAL:
            for j in range(m):
                target[j], mass[j] = paid + discount * points[j], others[source + j]
        else:
            _moved_samples(paid, discount, others, source, m, target, mass)
        if rule == CATEGORICAL:
            _towards_masses(alpha, points, inverse_gap, even, count, target, mass, a, b, c, d, at, kept, row, m)
        elif rule == QUANTILE:
            _towards_quantiles(alpha, points, count, target, kept, row, m)
        else:
            _towards_expectiles(alpha, points, count, target, mass, kept, row, m)


@inline
def scratch_for(laws: Any) -> Any:
    """Six arrays of numbers, cosines (m, drawn), and places (m,)."""
    m, drawn = laws[10].shape[1], max(laws[7], laws[8])
    n = max(m, drawn)
    six = (np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n))
    return (*six, np.empty((m, drawn)), np.empty(m, np.int64))
