"""Rules for numbers and arrays that several functions of this package are given."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.learning.learner import as_array
from rlbook.whole_numbers import is_whole, require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def number_within(
    name: str, given: object, low: float, high: float = np.inf, *, above: bool = False, otherwise: str = ""
) -> float:
    """A finite number in [low, high], or above `low`, as a float; raises ParameterError naming the argument.

    otherwise: the way out, where there is a better one than another number.
    """
    good = isinstance(given, (Real, np.number)) and not isinstance(given, bool)
    number = float(given) if good else np.nan  # type: ignore[arg-type]
    if not low <= number <= high or not np.isfinite(number) or (above and number == low):
        rule = f"above {low:g}" if above else f"at least {low:g}"
        rule = f"{rule} and at most {high:g}" if high < np.inf else rule
        raise ParameterError(f"{name} is {given!r}, but it is a finite number {rule}{otherwise and '; '}{otherwise}")
    return number


def require_counts(**given: object) -> None:
    """Raise ParameterError unless each argument is a whole number from 1."""
    for name, value in given.items():
        if not is_whole(value, 1):
            raise ParameterError(f"{name} is {value!r}, but it is a whole number from 1")


def require_seed(seed: object) -> int:
    """A seed as kernels read it, an int from 0 to 2^63 - 1; raises ParameterError for anything else."""
    require_whole("seed", seed, 0, 2**63 - 1)
    return int(seed)  # type: ignore[call-overload, no-any-return]


def vector_of(name: str, given: ArrayLike, entries: int, of: str) -> NDArray[np.float64]:
    """One finite number for each entry, float64 (entries,); raises ParameterError naming the argument."""
    values = as_array(name, given)
    if values.shape != (entries,) or not np.all(np.isfinite(values)):
        raise ParameterError(
            f"{name} has shape {values.shape} or holds numbers that are not finite; give one finite number for each of "
            f"{entries} {of}, ({entries},)"
        )
    return values
