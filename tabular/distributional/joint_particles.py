"""Joint return laws as m equally weighted particles per state, placed so that MMD to the backed-up law is small.

The loss is that of MD3QN (Zhang et al. 2021): MMD between the particles x_1..x_m of a state and the law of
R + discount X', X' drawn from the particles of the next state, which stand still meanwhile. We could read the abstract
of that paper only, so its kernels and step sizes are not claimed here. With k = -f(|x - y|^2) and weights w of the law,

    d MMD^2 / d x_i = (4 / m) (sum_j w_j f'(|x_i - y_j|^2) (x_i - y_j) - (1 / m) sum_k f'(|x_i - x_k|^2) (x_i - x_k))

Where f is concave and f(|x|^2) convex in x (energy kernel with beta >= 1, multiquadric), MMD^2 is a difference of
convex functions, and the convex-concave procedure needs no step size: bound the pull of the law by a quadratic, the
push of the other particles by its tangent, and go to the minimum,

    x_i <- (sum_j w_j f'_ij y_j + (1 / m) sum_k f'_ik (x_i - x_k)) / sum_j w_j f'_ij

which never raises MMD. For the energy kernel these are the support points of Mak & Joseph (2018), algorithm sp.ccp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.keyed_random import keyed_normals
from rlbook.tabular.distributional.joint_kernels import fit_particles, joint_gradients, learn_particles
from rlbook.tabular.distributional.joint_laws import JointLaws, backed_up
from rlbook.tabular.distributional.joint_returns import row_levels
from rlbook.tabular.distributional.metrics import DiscrepancyKernel, EnergyKernel, MultiquadricKernel, check_kernel
from rlbook.tabular.distributional.repeated_sweeps import repeated_sweeps
from rlbook.tabular.solution import Reason
from rlbook.tabular.stopping import cancel_flag
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.tabular.distributional.vector_rewards import VectorRewardMDP

_SOFTENING = 1e-3  # of a law's deviation: nearer than that, an atom pulls like a spring and not like a point
_JITTER = 1e-2  # of a law's deviation: by how much particles that lie on one another are moved apart
_JITTER_PURPOSE = 85
_ENERGY = EnergyKernel(1.0)
_MOST, _LARGEST_SEED = 2**40, 2**63 - 1


@dataclass(frozen=True, eq=False)
class JointParticles:
    """particles: float64 (S, m, d), in units of return, read-only. changes: the largest move of a particle in each
    sweep, (sweeps,), in units of return. reason: why sweeps ended."""

    particles: NDArray[np.float64]
    changes: NDArray[np.float64]
    reason: Reason

    @property
    def laws(self) -> JointLaws:
        """One joint law per state, the particles equally likely."""
        return JointLaws.from_arrays(self.particles)


def mmd_gradient(particles: ArrayLike, laws: JointLaws, kernel: DiscrepancyKernel) -> NDArray[np.float64]:
    """The derivative of MMD^2 between particles (n, m, d), equally likely, and n laws by each particle, (n, m, d)."""
    check_kernel(kernel)
    given = _checked(particles, laws)
    out = np.empty(given.shape)
    given.setflags(write=False)
    joint_gradients(given, laws.arrays, kernel.kind, kernel.parameter, out)
    return out


def fitted_particles(
    laws: JointLaws,
    start: ArrayLike,
    kernel: EnergyKernel | MultiquadricKernel = _ENERGY,
    *,
    iterations: int = 20,
    softening: float = _SOFTENING,
) -> NDArray[np.float64]:
    """Particles (n, m, d) moved from `start` by the convex-concave procedure towards n laws, whose MMD they lower.

    softening: in standard deviations of a law; f(u) becomes f(u + (softening * deviation)^2), which keeps slopes finite
    where particles meet atoms. 0 gives the procedure as it is written above. Raises ParameterError for an energy kernel
    with beta < 1 and for other kernels, for which a step might raise the distance.
    """
    convex = isinstance(kernel, MultiquadricKernel) or (isinstance(kernel, EnergyKernel) and kernel.beta >= 1)
    if not convex:
        raise ParameterError(
            f"kernel is {kernel!r}; the procedure needs an energy kernel with beta >= 1 or a multiquadric, so use "
            "learned_joint_particles for others"
        )
    require_whole("iterations", iterations, 0, _MOST)
    if not isinstance(softening, Real) or not 0 <= softening < math.inf:
        raise ParameterError(f"softening is {softening!r}; give a finite number, 0 or more")
    moved = _checked(start, laws)
    room = np.square(softening * _deviations(laws))
    room.setflags(write=False)
    fit_particles(laws.arrays, kernel.kind, kernel.parameter, room, iterations, moved)
    return moved


def spread_particles(laws: JointLaws, m: int, *, seed: int = 0) -> NDArray[np.float64]:
    """m atoms of each law in even steps of its mass, (n, m, d), moved apart by a hundredth of its deviation.

    Atoms are taken in lexicographic order: every particle stands for a share 1 / m of the mass.
    """
    require_whole("m", m, 1, _MOST)
    require_whole("seed", seed, 0, _LARGEST_SEED)
    found = np.empty((laws.n_laws, m, laws.n_sources))
    for i in range(laws.n_laws):
        atoms, masses = laws.law(i)
        level = np.cumsum(masses)
        found[i] = atoms[np.minimum(np.searchsorted(level, (np.arange(m) + 0.5) / m), len(atoms) - 1)]
    noise = keyed_normals(seed, found.size, purpose=_JITTER_PURPOSE).reshape(found.shape)
    return found + _JITTER * _deviations(laws)[:, None, None] * noise


def joint_particle_laws(
    world: VectorRewardMDP,
    policy: ArrayLike,
    m: int = 32,
    kernel: EnergyKernel | MultiquadricKernel = _ENERGY,
    *,
    sweeps: int = 20,
    iterations: int = 40,
    tolerance: float = 1e-3,
    seed: int = 0,
    cancel: NDArray[np.uint8] | None = None,
) -> JointParticles:
    """Projected dynamic programming: back the laws of m particles per state up, and fit particles to the result.

    A state starts from atoms of its target while it has fewer than m distinct ones or after its first backup, then from
    where its particles were. sweeps, tolerance (on the move of a particle, in units of return), cancel: as in
    `return_laws`.
    """
    rows, discount = world.policy_rows(policy), world.mdp.discount
    target = backed_up(rows, JointLaws.point_masses(np.zeros((world.n_states, world.n_sources))), discount)
    particles = spread_particles(target, m, seed=seed)
    small = target.sizes < m

    def sweep() -> float:
        nonlocal particles, small
        target = backed_up(rows, JointLaws.from_arrays(particles), discount)
        begin = np.where(small[:, None, None], spread_particles(target, m, seed=seed), particles)
        small = target.sizes < m
        before, particles = particles, fitted_particles(target, begin, kernel, iterations=iterations)
        return float(np.abs(particles - before).max())

    changes, reason = repeated_sweeps(sweep, lambda moved: moved, sweeps=sweeps, tolerance=tolerance, cancel=cancel)
    particles.setflags(write=False)
    return JointParticles(particles, changes, reason)


def learned_joint_particles(
    world: VectorRewardMDP,
    policy: ArrayLike,
    m: int = 32,
    kernel: DiscrepancyKernel = _ENERGY,
    *,
    steps: int = 2000,
    step_size: float = 0.5,
    decay: float = 200.0,
    seed: int = 0,
    cancel: NDArray[np.uint8] | None = None,
) -> NDArray[np.float64]:
    """The sampled version, which needs no model: in each step one transition is drawn from every state, and its
    particles take a step down the gradient of MMD^2 to the law of r + discount X', X' even over the next particles.

    The gradient is linear in the target, so its mean over transitions is that of the whole backup. Step n moves a
    particle by step_size / (1 + n / decay) times m / 4 times the gradient; step_size is in units of return with the
    energy kernel of beta = 1. Returns (S, m, d), a function of the seed; particles start as normal draws of deviation
    0.01. cancel: uint8 (1,), looked at before each step; what was reached is returned. Raises ParameterError for
    numbers out of range.
    """
    check_kernel(kernel)
    for name, count, least, most in (("m", m, 1, _MOST), ("steps", steps, 0, _MOST), ("seed", seed, 0, _LARGEST_SEED)):
        require_whole(name, count, least, most)
    for name, number in (("step_size", step_size), ("decay", decay)):
        if not isinstance(number, Real) or not 0 < number < math.inf:
            raise ParameterError(f"{name} is {number!r}; give a finite number above 0")
    rows = world.policy_rows(policy)
    level = row_levels(rows)
    level.setflags(write=False)
    shape = (world.n_states, m, world.n_sources)
    particles = _JITTER * keyed_normals(seed, int(np.prod(shape)), purpose=_JITTER_PURPOSE).reshape(shape)
    learn_particles(
        *(seed, steps, float(step_size), float(decay), world.mdp.discount, kernel.kind, kernel.parameter),
        *(rows.entry_ptr, rows.source, rows.reward, level, cancel_flag(cancel), particles),
    )
    return particles


def _deviations(laws: JointLaws) -> NDArray[np.float64]:
    """The root of the total variance of each law, (n,), 1 for a constant."""
    found = np.sqrt(np.trace(laws.covariances(), axis1=1, axis2=2))
    return np.where(found > 0, found, 1.0)


def _checked(particles: ArrayLike, laws: JointLaws) -> NDArray[np.float64]:
    """A copy of particles that fit the laws."""
    given = np.array(particles, dtype=np.float64, order="C")
    if not np.all(np.isfinite(given)):
        raise ParameterError("particles holds a number that is not finite; particles must be finite")
    if given.ndim != 3 or (given.shape[0], given.shape[2]) != (laws.n_laws, laws.n_sources) or given.shape[1] == 0:
        raise ParameterError(
            f"particles has shape {given.shape}; give ({laws.n_laws}, particles, {laws.n_sources}) for these laws"
        )
    return given
