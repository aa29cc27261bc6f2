"""The kernels of bellman.cu, compiled by CuPy for an MDP's row lengths, and how they are launched."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from rlbook.errors import RlbookError
from rlbook.mdp_device import cupy_with_device

THREADS, ROWS, WIDEST = 256, 4, 32  # as in bellman.cu, where the last is LANES
_BLOCKS_PER_MULTIPROCESSOR = 8


def width_for(mean_row: float) -> int:
    """How many lanes share a row of this mean length: a power of two, so that each reads about two entries."""
    width = 1
    while 2 * width < mean_row and width < WIDEST:
        width *= 2
    return width


class DeviceKernels:
    """`backup`, `gather` and `sweep` for one row width and one index type, and the memory in which blocks meet."""

    def __init__(self, width: int, index: np.dtype[Any]) -> None:
        if width not in {1, 2, 4, 8, 16, WIDEST}:
            raise RlbookError(f"width is {width}; the lanes that share a row are a power of two, at most {WIDEST}")
        cupy = cupy_with_device()
        options = (f"-DWIDTH={width}", f"-DINDEX={'int' if index == np.int32 else 'long long'}")
        source = files("rlbook.tabular.gpu").joinpath("bellman.cu").read_text(encoding="utf-8")
        module = cupy.RawModule(code=source, options=options)
        self._functions = {name: module.get_function(name) for name in ("backup", "gather", "sweep")}
        self._width = width
        self._most_blocks = _BLOCKS_PER_MULTIPROCESSOR * int(cupy.cuda.Device().attributes["MultiProcessorCount"])
        self.partial = cupy.empty(3 * self._most_blocks, dtype=np.float64)
        self.ticket = cupy.zeros(1, dtype=np.uint32)

    def launch(self, name: str, groups: int, *arguments: Any) -> None:
        """Run a kernel whose work is divided among `groups` groups of lanes."""
        blocks = min(-(-groups * self._width // THREADS), self._most_blocks)
        self._functions[name]((blocks,), (THREADS,), arguments)
