"""Plans for the lab of risk measures: solved once for each world and worst share, since no seed changes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rlbook.chapters.ch08_distributional.risk_worlds import HORIZON, RiskWorld, risk_world
from rlbook.tabular.distributional import AugmentedReturns, DiscreteLaws, ShortfallScore, augment, minimal_static_risk
from rlbook.tabular.distributional.augmented_risk import Policy

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Who minds the worst returns alone does not care what happens once these are out of reach; a thousandth of the mean
# settles that, and takes next to nothing from the tail.
TAIL_WEIGHT = 0.999
_TOLERANCE = 0.01  # of the search, in units of return


@dataclass(frozen=True)
class Place:
    """A world with its numbers. cancel: uint8 (1,), of the run that asks first; it does not tell places apart."""

    world: RiskWorld
    wind: float
    fall: float
    cancel: NDArray[np.uint8] = field(compare=False, repr=False)

    @staticmethod
    def of(world: RiskWorld, wind: float, fall: float, cancel: NDArray[np.uint8]) -> Place:
        """The place of these numbers; a world that does not read wind and fall is the same one for all of them."""
        return Place(world, wind, fall, cancel) if world == "gusty cliff" else Place(world, 0.0, 0.0, cancel)


@dataclass(frozen=True, eq=False)
class Plan:
    """A policy that may look at the return so far. gap: no policy has a risk lower by more; visits: (S,), expected."""

    policy: Policy = field(repr=False)
    law: DiscreteLaws
    gap: float
    visits: NDArray[np.float64] = field(repr=False)


@lru_cache(maxsize=16)
def augmented(place: Place) -> AugmentedReturns:
    """The world with the return so far in its states."""
    return augment(risk_world(place.world, place.wind, place.fall), HORIZON[place.world])


@lru_cache(maxsize=128)
def plan(place: Place, level: float) -> Plan:
    """The plan of best expected shortfall, level 1 being the mean. Raises Cancelled, and is then not remembered."""
    returns = augmented(place)
    score = ShortfallScore(level, TAIL_WEIGHT if level < 1 else 1.0)
    solved = minimal_static_risk(returns, score, tolerance=_TOLERANCE, cancel=place.cancel)
    visits = np.asarray(sum(mass.sum(axis=1) for mass in returns.occupancies(solved.policy)[:-1]))
    visits.setflags(write=False)
    return Plan(solved.policy, solved.law, solved.gap, visits)
