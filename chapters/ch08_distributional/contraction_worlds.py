"""Worlds, pairs of tables of laws, and metrics for the race of contractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows
from rlbook.tabular.distributional import (
    DiscreteLaws,
    EnergyKernel,
    GaussianKernel,
    MultiquadricKernel,
    cramer,
    kolmogorov,
    kullback_leibler,
    lp_cdf,
    mmd,
    total_variation,
    wasserstein,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

RaceWorld = Literal["garnet", "ring", "crossing", "tie"]
Metric = Literal[
    "W1",
    "W2",
    "W-infinity",
    "l3",
    "Cramer",
    "energy MMD",
    "multiquadric MMD",
    "Gaussian MMD",
    "Kolmogorov",
    "total variation",
    "KL",
    "means",
]

ENERGY_POWER = 1.5
ATOMS = 6  # of a random law
_STATES = {"garnet": 4, "ring": 3, "crossing": 4, "tie": 3}
_PURPOSES = {"world": 81, "pair": 82}

DISTANCES: dict[str, Callable[[DiscreteLaws, DiscreteLaws], NDArray[np.float64]]] = {
    "W1": wasserstein,
    "W2": lambda a, b: wasserstein(a, b, 2.0),
    "W-infinity": lambda a, b: wasserstein(a, b, math.inf),
    "l3": lambda a, b: lp_cdf(a, b, 3.0),
    "Cramer": cramer,
    "energy MMD": lambda a, b: mmd(a, b, EnergyKernel(ENERGY_POWER)),
    "multiquadric MMD": lambda a, b: mmd(a, b, MultiquadricKernel(1.0)),
    "Gaussian MMD": lambda a, b: mmd(a, b, GaussianKernel(1.0)),
    "Kolmogorov": kolmogorov,
    "total variation": total_variation,
    "KL": kullback_leibler,
    "means": lambda a, b: np.abs(a.means() - b.means()),
}

# The share to which one backup of the evaluation operator is said to bring a distance: discount to this power. For the
# last of these there is no such theorem: it is the power that one might hope for.
POWERS: dict[str, float] = {
    "W1": 1.0,
    "W2": 1.0,
    "W-infinity": 1.0,
    "l3": 1 / 3,
    "Cramer": 1 / 2,
    "energy MMD": ENERGY_POWER / 2,
    "multiquadric MMD": 1 / 2,
    "means": 1.0,
    "Gaussian MMD": 1 / 2,
    "Kolmogorov": 1.0,
    "total variation": 1.0,
    "KL": 1.0,
}


def modulus(metric: str, discount: float) -> float:
    """The share of a distance that is claimed to be left after one backup."""
    return float(discount ** POWERS[metric])


def race_world(world: RaceWorld, discount: float, seed: int) -> FiniteMDP:
    """The MDP of a race; the policy that is evaluated takes action 0 everywhere.

    "garnet": 4 states, 2 actions, 2 transitions each, every one with a reward of its own, one in eight terminating.
    "ring": 3 states in turn, nothing random: the moduli are met there. "crossing": state 0 leads to 1, 2 and 3, with
    chances that put the median of each half of its law into other states. "tie": in state 0 the reader of means may
    choose between states 1 and 2. In the last two all but state 0 stay where they are, and nothing is earned.
    """
    random = np.random.default_rng([seed, _PURPOSES["world"]])
    if world == "garnet":
        pairs = 8
        first = random.uniform(0.2, 0.8, size=pairs)
        following = [random.choice(4, size=2, replace=False) for _ in range(pairs)]
        return from_rows(
            state_ptr=2 * np.arange(5),
            action=np.tile([0, 1], 4),
            row_ptr=2 * np.arange(pairs + 1),
            next_state=np.sort(following, axis=1).ravel(),
            probability=np.column_stack([first, 1 - first]).ravel(),
            reward=random.normal(size=2 * pairs),
            terminated=random.random(2 * pairs) < 1 / 8,
            discount=discount,
            name="garnet with a reward per transition",
        )
    if world == "ring":
        turn = np.roll(np.eye(3), 1, axis=1)[:, None]
        return FiniteMDP.from_dense(turn, random.normal(size=(3, 1)), discount, name="ring of three")
    if world == "crossing":
        moves = np.eye(4)
        moves[0] = [0.0, 0.4, 0.3, 0.3]
        return FiniteMDP.from_dense(moves[:, None], np.zeros((4, 1)), discount, name="crossing quantiles")
    leads = np.stack([np.eye(3), np.eye(3)], axis=1)
    leads[0] = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    return FiniteMDP.from_dense(leads, np.zeros((3, 2)), discount, name="two actions nearly tied")


def race_pair(world: RaceWorld, seed: int) -> tuple[DiscreteLaws, DiscreteLaws]:
    """Two tables of laws, one law per state: of four kinds in turn, or the pair that a world was built for.

    "crossing" and "tie" differ by as little as 2^-9: the less, the worse. In "crossing" one atom in two moves.
    """
    random = np.random.default_rng([seed, _PURPOSES["pair"]])
    little = 2.0 ** -(2 + seed % 8)
    if world == "crossing":
        near = np.array([[0.0, 0.0], [0.0, 10.0], [1.0, 13.0], [2.0, 11.0]])
        far = near.copy()
        far[2, 0] += little
        far[3, 1] += little
        return DiscreteLaws.from_arrays(near), DiscreteLaws.from_arrays(far)
    if world == "tie":
        better = np.array([[0.0, 0.0], [little, little], [-1.0, 1.0]])
        worse = better * np.array([[1.0], [-1.0], [1.0]])
        return DiscreteLaws.from_arrays(better), DiscreteLaws.from_arrays(worse)
    states = _STATES[world]
    kind = seed % 4
    if kind == 0:  # the same atoms with other masses
        atoms = 3 * random.normal(size=(states, ATOMS))
        masses = random.dirichlet(np.ones(ATOMS), size=(2, states))
        return DiscreteLaws.from_arrays(atoms, masses[0]), DiscreteLaws.from_arrays(atoms, masses[1])
    if kind == 1:  # constants, equally far apart in every state
        at, apart = 3 * random.normal(size=states), 1 + 8 * random.random()
        return DiscreteLaws.point_masses(at), DiscreteLaws.point_masses(at + apart)
    if kind == 2:  # nothing in common
        drawn = 3 * random.normal(size=(2, states, ATOMS))
        masses = random.dirichlet(np.ones(ATOMS), size=(2, states))
        return DiscreteLaws.from_arrays(drawn[0], masses[0]), DiscreteLaws.from_arrays(drawn[1], masses[1])
    wide = np.tile(np.arange(2.0 * ATOMS), (states, 1))  # even and wide, half of it shared
    return DiscreteLaws.from_arrays(wide), DiscreteLaws.from_arrays(wide + ATOMS)
