"""The law of the first state of a model whose transitions are not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.mdp_rows import as_numbers
from rlbook.mdp_validation import check_start

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

UNIFORM: Any = None  # as a field's default: the field holds an array once `starting_law` has seen it


def starting_law(start: ArrayLike | None, states: int) -> NDArray[np.float64]:
    """The law of the first state as a read-only array (states,); the uniform one takes the room of one number."""
    if start is None:
        return np.broadcast_to(np.float64(1.0 / states), (states,))
    law = np.array(as_numbers(start, "start"))
    check_start(law, states)
    law.setflags(write=False)
    return law
