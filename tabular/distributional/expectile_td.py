"""Expectile temporal-difference learning: each law is m expectiles, moved by sample targets with imputed laws.

    e_i(s) <- e_i(s) + alpha E[2 |tau_i - 1{Z < e_i(s)}| (Z - e_i(s))],      Z = r + discount X,  or r if it ended

X has a law whose expectiles are those kept for s' (`Expectiles` says which one; with `naive` the expectiles themselves
are taken for samples). That is after Rowland, Dadashi, Kumar, Munos, Bellemare & Dabney, *Statistics and Samples in
Distributional Reinforcement Learning* (2019), of which we could read no more than the introduction; the law that is
imputed is ours. The factor 2 makes the expectile of level 1/2, the mean, learn by TD(0): one expectile is TD(0), bit
for bit. The expected update is zero where the e_i are the expectiles of the backed-up law, and so at the fixed points
of `return_laws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlbook.mdp import owned
from rlbook.tabular.distributional.expectile import DEGENERATE, Expectiles
from rlbook.tabular.distributional.law_learner import LawPrediction
from rlbook.tabular.distributional.law_rules import EXPECTILE, NAIVE, NO_FRACTIONS, NONE


@dataclass(frozen=True, eq=False)
class ExpectileTD(LawPrediction[Expectiles]):
    """Learns the return laws of a policy as expectiles; `LawPrediction` has the fields."""

    name: ClassVar[str] = "expectile TD"
    needs: ClassVar[type] = Expectiles

    def _rule(self) -> tuple[Any, ...]:
        kept = self.representation
        weights = np.full(kept.m, 1.0 / kept.m) if kept.naive else (np.arange(kept.m) == kept.m // 2).astype(np.float64)
        rule = NAIVE if kept.naive else EXPECTILE
        return rule, kept.levels, NONE, False, owned(weights), NONE, DEGENERATE, *NO_FRACTIONS
