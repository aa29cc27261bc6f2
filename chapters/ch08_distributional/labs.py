"""The labs of chapter 08."""

from __future__ import annotations

from typing import Any

from rlbook.chapters.ch08_distributional.battery_arbitrage import BatteryArbitrage
from rlbook.chapters.ch08_distributional.contraction_race import ContractionRace
from rlbook.chapters.ch08_distributional.convex_scoring_lab import ConvexScoringRisk
from rlbook.chapters.ch08_distributional.heavy_tails import HeavyTails
from rlbook.chapters.ch08_distributional.iqn_quantiles import IQNQuantiles
from rlbook.chapters.ch08_distributional.joint_contraction import JointContraction
from rlbook.chapters.ch08_distributional.joint_return import JointReturn
from rlbook.chapters.ch08_distributional.moving_law import MovingLaw
from rlbook.chapters.ch08_distributional.risk_measures_lab import RiskMeasures
from rlbook.lab import Lab

# In the order of the notebook.
LABS: tuple[type[Lab[Any, Any]], ...] = (
    ContractionRace,
    MovingLaw,
    HeavyTails,
    IQNQuantiles,
    ConvexScoringRisk,
    RiskMeasures,
    BatteryArbitrage,
    JointReturn,
    JointContraction,
)
