"""Kernels of maximum mean discrepancy between laws of vectors: sums over pairs of atoms, and particles that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types

from rlbook.kernel import float64, inline, int64, kernel, reads, uint8, writes
from rlbook.keyed_random import bits, stream_key, uniform
from rlbook.tabular.distributional.mmd_kernels import ENERGY, GAUSSIAN, LAPLACE, similarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

JOINT_LAWS = types.Tuple((reads(int64), reads(float64, 2), reads(float64)))  # `JointLaws.arrays`
_DRAWS = 83  # the purpose of transition draws


@inline
def _square(x: Any, i: Any, y: Any, j: Any) -> Any:
    """The squared Euclidean distance of row i of x and row j of y."""
    total = 0.0
    for c in range(x.shape[1]):
        total += (x[i, c] - y[j, c]) ** 2
    return total


@inline
def _slope(kind: Any, parameter: Any, square: Any) -> Any:
    """The derivative of -k by the squared distance, for a positive squared distance."""
    if kind == ENERGY:
        if parameter == 1.0:
            return 0.5 / np.sqrt(square)
        return 0.5 * parameter * square ** (0.5 * parameter - 1.0)
    scaled = parameter * parameter
    if kind == GAUSSIAN:
        return 0.5 * scaled * np.exp(-0.5 * scaled * square)
    gap = np.sqrt(square)
    if kind == LAPLACE:
        return 0.5 * parameter * np.exp(-parameter * gap) / gap
    return 0.5 * scaled / np.sqrt(1.0 + scaled * square)


@kernel(JOINT_LAWS, JOINT_LAWS, int64, float64, writes(float64))
def joint_similarities(first: Any, second: Any, kind: int, parameter: float, out: NDArray[np.float64]) -> None:
    """E k(X, Y) - k(0) law by law, for independent X of the first laws and Y of the second."""
    ptr_a, atom_a, mass_a = first
    ptr_b, atom_b, mass_b = second
    for n in range(len(out)):
        total = 0.0
        for i in range(ptr_a[n], ptr_a[n + 1]):
            row = 0.0
            for j in range(ptr_b[n], ptr_b[n + 1]):
                row += mass_b[j] * similarity(kind, parameter, np.sqrt(_square(atom_a, i, atom_b, j)))
            total += mass_a[i] * row
        out[n] = total


@inline
def _pull(
    x: Any, i: Any, atom: Any, mass: Any, first: Any, end: Any, kind: Any, parameter: Any, softening: Any, step: Any
) -> Any:
    """Add to `step` the pull of a law's atoms on particle i less the push of the other particles; returns the weight.

    Both as differences (other - x_i) times slopes; turned round and times 4 / m it is the gradient of MMD^2.
    """
    m = len(x)
    weight = 0.0
    for j in range(first, end):
        square = _square(x, i, atom, j) + softening
        if square > 0.0:
            slope = mass[j] * _slope(kind, parameter, square)
            weight += slope
            for c in range(len(step)):
                step[c] += slope * (atom[j, c] - x[i, c])
    for k in range(m):
        square = _square(x, i, x, k) + softening
        if k != i and square > 0.0:
            slope = _slope(kind, parameter, square) / m
            for c in range(len(step)):
                step[c] -= slope * (x[k, c] - x[i, c])
    return weight


@kernel(reads(float64, 3), JOINT_LAWS, int64, float64, writes(float64, 3))
def joint_gradients(
    particles: NDArray[np.float64],
    laws: Any,
    kind: int,
    parameter: float,
    out: NDArray[np.float64],
) -> None:
    """The derivatives of MMD^2 by each particle."""
    ptr, atom, mass = laws
    n_laws, m, d = particles.shape
    step = np.empty(d)
    for n in range(n_laws):
        for i in range(m):
            step[:] = 0.0
            _pull(particles[n], i, atom, mass, ptr[n], ptr[n + 1], kind, parameter, 0.0, step)
            for c in range(d):
                out[n, i, c] = -4.0 / m * step[c]


@kernel(JOINT_LAWS, int64, float64, reads(float64), int64, writes(float64, 3))
def fit_particles(
    laws: Any,
    kind: int,
    parameter: float,
    softening: NDArray[np.float64],
    iterations: int,
    particles: NDArray[np.float64],
) -> None:
    """Convex-concave steps, in place: all particles of a law at once, each to its weighted mean plus the push."""
    ptr, atom, mass = laws
    n_laws, m, d = particles.shape
    step, moved = np.empty(d), np.empty((m, d))
    for n in range(n_laws):
        x = particles[n]
        for _ in range(iterations):
            for i in range(m):
                step[:] = 0.0
                weight = _pull(x, i, atom, mass, ptr[n], ptr[n + 1], kind, parameter, softening[n], step)
                for c in range(d):
                    moved[i, c] = x[i, c] + step[c] / weight
            x[:, :] = moved


@kernel(
    *(int64, int64, float64, float64, float64, int64, float64),
    *(reads(int64), reads(int64), reads(float64, 2), reads(float64), writes(uint8), writes(float64, 3)),
)
def learn_particles(
    seed: int,
    steps: int,
    step_size: float,
    decay: float,
    discount: float,
    kind: int,
    parameter: float,
    entry_ptr: NDArray[np.int64],
    source: NDArray[np.int64],
    reward: NDArray[np.float64],
    cumulative: NDArray[np.float64],
    cancel: NDArray[np.uint8],
    particles: NDArray[np.float64],
) -> int:
    """Steps down the gradient of MMD^2 m / 4 to a sampled target, in place: one transition per state and step.

    Returns the steps made, fewer where `cancel`, (1,), is not 0.
    """
    n_states, m, d = particles.shape
    key = stream_key(seed, 0, _DRAWS)
    step, moved = np.empty(d), np.empty((m, d))
    target, share = np.empty((m, d)), np.full(m, 1.0 / m)
    alone = np.ones(1)
    for n in range(steps):
        if cancel[0] != 0:
            return n
        rate = step_size / (1.0 + n / decay)
        for s in range(n_states):
            u = uniform(bits(key, n, s))
            e = entry_ptr[s]
            while e < entry_ptr[s + 1] - 1 and u >= cumulative[e]:
                e += 1
            after = source[e]
            size = m if after >= 0 else 1
            for j in range(size):
                for c in range(d):
                    target[j, c] = reward[e, c] + (discount * particles[after, j, c] if after >= 0 else 0.0)
            weight = share if after >= 0 else alone
            for i in range(m):
                step[:] = 0.0
                _pull(particles[s], i, target, weight, 0, size, kind, parameter, 0.0, step)
                for c in range(d):
                    moved[i, c] = particles[s, i, c] + rate * step[c]
            particles[s, :, :] = moved
    return steps
