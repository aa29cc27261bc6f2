"""Categorical temporal-difference learning: each law is masses on fixed atoms, mixed with projected sample targets.

    masses(s) <- masses(s) + alpha (Pi target - masses(s)),      target = law of r + discount G(s'), of r if it ended

Pi is the Cramer projection; written so the update is that of Rowland, Bellemare, Dabney, Munos & Teh, *An Analysis of
Categorical Distributional Reinforcement Learning* (2018), and of section 6.3 of Bellemare, Dabney & Rowland (2023).
C51 (Bellemare, Dabney & Munos 2017) follows the gradient of a Kullback-Leibler divergence to the same target instead.
The expected update is Pi T^pi masses - masses, so with step sizes that fall it goes to the fixed point of
`return_laws`. Where no target leaves the atoms, means move as TD(0) moves values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlbook.mdp import owned
from rlbook.tabular.distributional.categorical import Categorical
from rlbook.tabular.distributional.law_learner import LawControl, LawPrediction, distorted_levels
from rlbook.tabular.distributional.law_rules import CATEGORICAL, NO_FRACTIONS, NONE
from rlbook.tabular.distributional.risk_measures import Mean

_CELLS = 4096  # of the table of a distortion; straight lines between its points make it another distortion


@dataclass(frozen=True, eq=False)
class CategoricalTD(LawPrediction[Categorical]):
    """Learns the return laws of a policy as masses on fixed atoms; `LawPrediction` has the fields."""

    name: ClassVar[str] = "categorical TD"
    needs: ClassVar[type] = Categorical

    def _rule(self) -> tuple[Any, ...]:
        atoms = self.representation
        return CATEGORICAL, atoms.atoms, atoms.inverse_gaps, atoms.even, atoms.atoms, NONE, 0.0, *NO_FRACTIONS


@dataclass(frozen=True, eq=False)
class CategoricalQ(LawControl[Categorical]):
    """Q-learning with laws as masses on fixed atoms; `LawControl` has the fields.

    Distortions are read from a table of 4096 cells, with straight lines between its points.
    """

    name: ClassVar[str] = "categorical Q-learning"
    needs: ClassVar[type] = Categorical

    def _rule(self) -> tuple[Any, ...]:
        atoms, table = self.representation, NONE
        if not isinstance(self.measure, Mean):
            table = owned(np.ascontiguousarray(distorted_levels(self.measure, np.arange(_CELLS + 1) / _CELLS)))
        return CATEGORICAL, atoms.atoms, atoms.inverse_gaps, atoms.even, atoms.atoms, table, 0.0, *NO_FRACTIONS
