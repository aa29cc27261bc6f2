"""Schedules of step sizes and exploration, as values: constant, polynomial, or a function of one's own.

A schedule is read at a whole number n >= 1, and its `clock` says what n counts: visits of the pair that moves (for
exploration: of the state), steps, or episodes. All of them give min(1, ...), since neither a step size nor a chance is
above 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numba import types

from rlbook.errors import ParameterError
from rlbook.kernel import float64, inline, int64, reads
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

Clock = Literal["visits", "steps", "episodes"]
CONSTANT, POLYNOMIAL, TABULATED = range(3)
VISITS, STEPS, EPISODES = range(3)
_CLOCKS: dict[Clock, int] = {"visits": VISITS, "steps": STEPS, "episodes": EPISODES}
_MOST_TABULATED = 10_000_000

SCHEDULE = types.Tuple(
    (
        int64,  # kind
        int64,  # clock
        float64,  # scale
        float64,  # power
        float64,  # offset
        float64,  # least
        reads(float64),  # values at n = 1, 2, ..., for tabulated schedules
    )
)


@dataclass(frozen=True)
class Schedule:
    """A rate for every n = 1, 2, ...; made by `constant`, `polynomial` and `tabulated`.

    name: how results call it. clock: what n counts. The other fields are those of the makers.
    """

    name: str
    clock: Clock
    scale: float = 0.0
    power: float = 0.0
    offset: float = 0.0
    least: float = 0.0
    function: Callable[[NDArray[np.int64]], Any] | None = None
    values: NDArray[np.float64] = field(default_factory=lambda: _frozen(np.empty(0)), compare=False, repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> int:
        if len(self.values):
            return TABULATED
        return POLYNOMIAL if self.power else CONSTANT

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What kernels read, of type SCHEDULE."""
        clock = _CLOCKS[self.clock]
        return self.kind, clock, self.scale, self.power, self.offset, self.least, self.values

    def __call__(self, n: int) -> float:
        """The rate at n, as kernels compute it."""
        if n < 1:
            raise ParameterError(f"n is {n}, but schedules count from 1")
        if len(self.values):
            return float(self.values[min(n, len(self.values)) - 1])
        if not self.power:
            return self.scale
        base = float(n + self.offset)
        if self.power == 1.0:
            found = self.scale / base
        elif self.power == 0.5:
            found = self.scale / math.sqrt(base)
        else:
            found = self.scale * base**-self.power
        return min(1.0, max(self.least, found))


def constant(value: float) -> Schedule:
    """The same rate for ever; value in [0, 1]."""
    return Schedule(f"{require_rate('value', value):g}", "steps", scale=float(value))


def polynomial(
    scale: float, power: float, *, clock: Clock = "visits", offset: float = 0.0, least: float = 0.0
) -> Schedule:
    """min(1, max(least, scale / (n + offset)^power)).

    scale: positive. power: positive; step sizes converge for powers in (1/2, 1] (Robbins & Monro 1951). clock: what n
    counts. offset: at least 0. least: in [0, 1], for exploration that never ends.
    """
    for name, value in (("scale", scale), ("power", power), ("offset", offset)):
        require_number(name, value)
    if not (np.isfinite(scale) and scale > 0):
        raise ParameterError(f"scale is {scale}, but a polynomial schedule falls from a positive number")
    if not (np.isfinite(power) and power > 0):
        raise ParameterError(f"power is {power}, but it must be positive; use constant({scale:g}) for no decay")
    if not (np.isfinite(offset) and offset >= 0):
        raise ParameterError(f"offset is {offset}, but it must be at least 0")
    _check_clock(clock)
    shift = f"(n + {offset:g})" if offset else "n"
    return Schedule(
        f"{scale:g} / {shift}^{power:g}",
        clock,
        scale=float(scale),
        power=float(power),
        offset=float(offset),
        least=require_rate("least", least),
    )


def tabulated(
    function: Callable[[NDArray[np.int64]], Any], *, upto: int, clock: Clock = "visits", name: str = ""
) -> Schedule:
    """Any function of n, evaluated once at 1..upto; from there on the last value holds.

    function: takes an array of n, int64 (upto,), and gives as many rates in [0, 1]. upto: at most 10 million.
    """
    if not callable(function):
        raise ParameterError(
            f"function is {function!r}, but it must take an array of n; use constant(...) for one rate"
        )
    if not is_whole(upto, 1, _MOST_TABULATED):
        raise ParameterError(f"upto is {upto!r}, but it must be a whole number from 1 to {_MOST_TABULATED}")
    _check_clock(clock)
    found = function(np.arange(1, upto + 1))
    try:
        values = np.array(np.broadcast_to(np.asarray(found, dtype=np.float64), (upto,)))
    except (TypeError, ValueError):
        raise ParameterError(
            f"function gives a {type(found).__name__} of shape {np.shape(found)} for n = 1 to {upto}, but it must give "
            "a rate in [0, 1] for each n, or one for all"
        ) from None
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(wrong):
        raise ParameterError(
            f"function gives {values[wrong[0]]:g} at n = {wrong[0] + 1}, but rates lie in [0, 1]; clip them"
        )
    return Schedule(name or getattr(function, "__name__", "function"), clock, function=function, values=_frozen(values))


def as_schedule(name: str, given: Schedule | float) -> Schedule:
    """A schedule as it is, or a number as a constant one; raises ParameterError naming the argument otherwise."""
    if isinstance(given, Schedule):
        return given
    if isinstance(given, bool) or not isinstance(given, (int, float, np.number)):
        raise ParameterError(
            f"{name} is {given!r}, but it must be a number in [0, 1], or a schedule: constant(...), polynomial(...) "
            "or tabulated(...)"
        )
    return constant(require_rate(name, given))


@inline
def rate(schedule: Any, visits: Any, step: Any, episode: Any) -> Any:
    """A schedule's rate within a kernel; visits, step and episode count from 1."""
    kind, clock, scale, power, offset, least, values = schedule
    if kind == CONSTANT:
        return scale
    n = visits if clock == VISITS else (step if clock == STEPS else episode)
    if kind == TABULATED:
        return values[min(n, len(values)) - 1]
    # A general power costs as much as the rest of an update.
    if power == 1.0:
        found = scale / (n + offset)
    elif power == 0.5:
        found = scale / np.sqrt(n + offset)
    else:
        found = scale * (n + offset) ** -power
    return min(1.0, max(least, found))


@inline
def counted(schedule: Any, entries: Any) -> Any:
    """For how many entries a kernel must count visits for this schedule: all, or none."""
    return entries if schedule[0] != CONSTANT and schedule[1] == VISITS else 0


def require_number(name: str, value: object) -> float:
    """A number as a float; raises ParameterError naming the argument for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ParameterError(f"{name} is {value!r}, but it must be a number")
    return float(value)


def require_rate(name: str, value: object) -> float:
    """A number in [0, 1] as a float; raises ParameterError naming the argument for anything else."""
    number = require_number(name, value)
    if not 0.0 <= number <= 1.0:
        raise ParameterError(f"{name} is {value}, but rates lie in [0, 1]")
    return number


def _check_clock(clock: Clock) -> None:
    if clock not in _CLOCKS:
        raise ParameterError(f"clock is {clock!r}, but schedules count {', '.join(map(repr, get_args(Clock)))}")


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array.setflags(write=False)
    return array
