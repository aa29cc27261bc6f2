"""Whole numbers among the parameters of learners and environments: one rule for what counts as one."""

from __future__ import annotations

from numbers import Integral
from typing import TypeGuard

from rlbook.errors import ParameterError


def is_whole(value: object, least: int = 0, most: int | None = None) -> TypeGuard[int]:
    """Whether it is an integer of Python or NumPy, and no bool, from `least` to `most` (None: without an end)."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return False
    return least <= int(value) and (most is None or int(value) <= most)


def require_whole(name: str, value: object, least: int, most: int) -> None:
    """Raise ParameterError unless the value is a whole number between these two."""
    if not is_whole(value, least, most):
        raise ParameterError(f"{name} is {value!r}; give a whole number from {least} to {most}")
