"""A lab that runs for minutes and leaves a mark when it begins, for tests of interruption."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import xarray as xr

from rlbook.lab import Context

from .fake_lab import DrawsParameters, UniformMean


class Sleepy(UniformMean):
    """Sleeps, whatever its context says."""

    name = "sleepy"
    chapter = 91
    papers = ()
    canonical = (DrawsParameters(), DrawsParameters(draws=60))

    def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        with open(f"{os.environ['SLEEPY_MARK']}-{parameters.draws}", "w"):
            time.sleep(300)
        return super().run(parameters, seeds, context)
