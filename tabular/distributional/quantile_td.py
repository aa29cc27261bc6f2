"""Quantile temporal-difference learning: each law is m locations, moved towards the quantiles of sample targets.

    theta_i(s) <- theta_i(s) + alpha (tau_i - 1/m sum_j 1{r + discount theta_j(s') < theta_i(s)})

with tau_i = (2 i + 1) / (2 m) (Dabney, Rowland, Bellemare & Munos 2018; section 6.4 of Bellemare, Dabney & Rowland,
*Distributional Reinforcement Learning*, 2023). With step sizes that fall it goes to a fixed point of quantile dynamic
programming, `return_laws` (Rowland et al., *An Analysis of Quantile Temporal-Difference Learning*, JMLR 2024). No
update is longer than alpha, whatever was paid: rewards need neither a variance nor a mean. A step size is therefore a
length, in units of return.

Locations may change places while they learn; the i-th one counts as the quantile of level tau_i all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlbook.mdp import owned
from rlbook.tabular.distributional.law_learner import LawControl, LawPrediction, distorted_levels
from rlbook.tabular.distributional.law_rules import NO_FRACTIONS, NONE, QUANTILE
from rlbook.tabular.distributional.quantile import Quantiles
from rlbook.tabular.distributional.risk_measures import Distortion, ExpectedShortfall, Mean


@dataclass(frozen=True, eq=False)
class QuantileTD(LawPrediction[Quantiles]):
    """Learns the return laws of a policy as quantiles; `LawPrediction` has the fields."""

    name: ClassVar[str] = "quantile TD"
    needs: ClassVar[type] = Quantiles

    def _rule(self) -> tuple[Any, ...]:
        return _quantile_rule(self.representation, Mean())


@dataclass(frozen=True, eq=False)
class QuantileQ(LawControl[Quantiles]):
    """Q-learning with laws as quantiles, the tabular form of QR-DQN; `LawControl` has the fields."""

    name: ClassVar[str] = "quantile Q-learning"
    needs: ClassVar[type] = Quantiles

    def _rule(self) -> tuple[Any, ...]:
        return _quantile_rule(self.representation, self.measure)


def _quantile_rule(quantiles: Quantiles, measure: Mean | ExpectedShortfall | Distortion) -> tuple[Any, ...]:
    weights = np.diff(distorted_levels(measure, np.arange(quantiles.m + 1) / quantiles.m))
    return QUANTILE, quantiles.levels, NONE, False, owned(weights), NONE, 0.0, *NO_FRACTIONS
