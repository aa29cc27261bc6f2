"""Worlds, representations and proven bounds for the lab of the moving law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.chapters.ch08_distributional.contraction_worlds import race_world
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.distributional import (
    Categorical,
    DiscreteLaws,
    ExactLaws,
    Expectiles,
    Particles,
    Quantiles,
    cramer,
    return_laws,
    return_range,
    wasserstein,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

MovingWorld = Literal["garnet", "bits", "jackpot"]
Form = Literal["quantiles", "categorical", "particles", "expectiles"]
MovingRepresentation = Categorical | Quantiles | Particles | Expectiles

_PURPOSE = 84
_PRIZE = 10.0
_BINS = 30  # of locations; masses on atoms get one bin each
_SETTLED = 1e-5  # of the range of returns: what sweeps may leave undone
_EXACT = ExactLaws(max_atoms=600)


def moving_world(world: MovingWorld, discount: float, seed: int) -> FiniteMDP:
    """The MDP; the policy takes action 0 everywhere.

    "garnet": 4 states with a reward for each transition. "bits": one state that pays 1 or 0 for ever, by a fair coin
    for seed 0 and by bent ones for others; fair and at discount 1/2, the return is uniform on [0, 2]. "jackpot": each
    step has a chance of about one in a hundred of a prize of 10, one in two of an end without it.
    """
    chance = np.random.default_rng([seed, _PURPOSE]).random()
    if world == "garnet":
        return race_world("garnet", discount, seed)
    if world == "bits":
        heads = 0.5 if seed == 0 else 0.2 + 0.6 * chance
        return from_transitions([{0: [(1 - heads, 0, 0.0, False), (heads, 0, 1.0, False)]}], discount, name="bits")
    rare = 0.005 + 0.005 * chance
    return from_transitions(
        [{0: [(0.5 - rare, 0, 0.0, False), (0.5, 0, 0.0, True), (rare, 0, _PRIZE, True)]}], discount, name="jackpot"
    )


def representation_of(form: Form, m: int, mdp: FiniteMDP, seed: int) -> MovingRepresentation:
    """A representation with m numbers per law, or m + 1 expectiles where m is even; `seed` is the luck of particles."""
    if form == "expectiles":
        return Expectiles(m if m % 2 else m + 1)
    if form == "categorical":
        return Categorical.covering(mdp, m)
    return Quantiles(m) if form == "quantiles" else Particles(m, seed)


@dataclass(frozen=True)
class Truth:
    """The return laws of a world, as nearly as they are known. missed: (S,), bounds on their error in Wasserstein-1."""

    laws: DiscreteLaws
    missed: NDArray[np.float64]

    @staticmethod
    def of(mdp: FiniteMDP) -> Truth:
        low, high = return_range(mdp)
        found = return_laws(mdp, _EXACT, _first_actions(mdp), tolerance=_SETTLED * (high - low))
        return Truth(found.laws, found.error_bounds)


@dataclass(frozen=True)
class Movement:
    """Parameters of the laws before the first sweep and after each, (sweeps + 1, S, m), and what is still to come.

    remaining: the distance to the fixed point is at most this, in the metric in which sweeps contract; infinite for
    expectiles, of which no such metric is known.
    """

    parameters: NDArray[np.float64]
    remaining: float

    @staticmethod
    def of(mdp: FiniteMDP, representation: MovingRepresentation) -> Movement:
        """Sweeps until what is left is a hundred-thousandth of the range; as many for all worlds of one discount.

        Expectiles are given the sweeps that their means take.
        """
        shrinks = mdp.discount if isinstance(representation, Expectiles) else representation.modulus(mdp.discount)
        sweeps = max(2, math.ceil(math.log(_SETTLED * (1 - mdp.discount)) / math.log(shrinks)))
        found = return_laws(mdp, representation, _first_actions(mdp), sweeps=sweeps, tolerance=0.0, keep_history=True)
        rest = [found.history[-1]] * (sweeps - found.sweeps)  # at rest before that
        return Movement(np.stack([*found.history, *rest]), found.remaining)


def proven_bound(representation: MovingRepresentation, mdp: FiniteMDP) -> float:
    """How far the fixed point can be from the return laws: in Cramer distance if categorical, else in Wasserstein-1.

    Nothing is proven for expectiles: they get the bound of as many quantiles, to be measured by.
    """
    if isinstance(representation, Expectiles):
        return Quantiles(representation.m).wasserstein_bound(mdp)
    if isinstance(representation, Categorical):
        return representation.error_bound(mdp)
    return representation.wasserstein_bound(mdp)


def distance_and_reach(
    laws: DiscreteLaws, truth: Truth, metric: Literal["Cramer", "Wasserstein-1", "Wasserstein-infinity"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of laws from the truth, (S,), and by how much each may be off since the truth is not known exactly.

    A Cramer distance is at most the root of the Wasserstein-1 distance, since distribution functions differ by at most
    1. In Wasserstein-infinity distance nothing is known of what pruning moved, and the reach is 0.
    """
    if metric == "Cramer":
        return cramer(laws, truth.laws), np.sqrt(truth.missed)
    if metric == "Wasserstein-1":
        return wasserstein(laws, truth.laws), truth.missed
    return wasserstein(laws, truth.laws, math.inf), np.zeros(laws.n_laws)


def bin_edges(representation: MovingRepresentation, mdp: FiniteMDP) -> NDArray[np.float64]:
    """Edges of bins over all returns: midway between atoms, or even."""
    if isinstance(representation, Categorical):
        middle = representation.atoms
    else:
        low, high = return_range(mdp)
        middle = np.linspace(min(low, 0.0), max(high, 0.0), _BINS)
    half = (middle[1] - middle[0]) / 2
    return np.append(middle - half, middle[-1] + half)


def bin_shares(cdf: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass of each bin, what lies beyond the ends counted to them."""
    return np.diff(np.concatenate([[0.0], cdf[1:-1], [1.0]]))


def _first_actions(mdp: FiniteMDP) -> NDArray[np.int32]:
    return np.zeros(mdp.n_states, dtype=np.int32)
