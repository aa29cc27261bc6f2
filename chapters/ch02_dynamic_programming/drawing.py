"""Lines of the figures of this chapter, as plain dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def line(x: NDArray[Any], y: NDArray[np.float64], name: str, colour: str, **look: Any) -> dict[str, Any]:
    """A trace that joins the points (x, y); look: width, 2 by default, and dash."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": 2, **look},
    }
