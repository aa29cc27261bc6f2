"""The command line that runs a lab as a page shows it; pages and notebooks print it, `rlbook run` reads it."""

from __future__ import annotations

import shlex
from typing import Any

from rlbook.lab import Lab
from rlbook.parameters import Parameters


def command_for(lab: Lab[Any, Any], parameters: Parameters, seeds: int) -> str:
    """The command that runs `lab` with these parameters and the seeds 0 to `seeds` - 1, quoted for a POSIX shell.

    All parameters are written out: a page outlives the defaults of the day it was made.
    """
    words = ["rlbook", "run", lab.name]
    for name, value in parameters.model_dump().items():
        words += ["--set", f"{name}={value}"]
    return shlex.join([*words, "--seeds", str(seeds)])
