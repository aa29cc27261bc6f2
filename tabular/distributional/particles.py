"""Return laws as m equally likely particles that were drawn: quantiles at random levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.distributional.quantile import LocationLaws
from rlbook.tabular.distributional.quantile_kernels import draw_levels
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Particles(LocationLaws):
    """Laws as m draws from them: the quantiles at m random levels, those of law i being a function of (seed, i) alone.

    stratified: one level from each m-th of [0, 1), which makes the draw much less noisy and lets `wasserstein_bound`
    hold for every seed; otherwise independent levels. Each sweep uses the same levels, so that sweeps contract to a
    fixed point, one for each seed; over seeds a single projection is right on average, its distribution function being
    that of the law. Raises ParameterError for m below 1 and seeds out of range.
    """

    seed: int = 0
    stratified: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("seed", self.seed, 0, 2**63 - 1)
        if not isinstance(self.stratified, bool):
            raise ParameterError(f"stratified is {self.stratified!r}; give True or False")

    def levels_of(self, n: int) -> NDArray[np.float64]:
        levels = np.empty((n, self.m))
        draw_levels(int(self.seed), bool(self.stratified), levels)
        levels.setflags(write=False)
        return levels

    @property
    def missed_share(self) -> float:
        """1 / m if stratified, since quantiles move within one m-th of the levels; else all: every draw may be low."""
        return 1 / self.m if self.stratified else 1.0
