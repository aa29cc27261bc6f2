"""Functions that a reader gives as a model: compiled, and what is said about them when they are wrong."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.core.registry import CPUDispatcher

from rlbook.errors import MDPError
from rlbook.kernel import float64, int64, writes
from rlbook.mdp_validation import MASS_TOLERANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

GUARD = 8  # entries on either side of the arrays that successors fills: a write there is noticed
UNTOUCHED = 0x5555_5555_5555_5555  # lies where nothing was written: no state; and -UNTOUCHED is no probability

_SUCCESSORS = (int64, int64, writes(int64), writes(float64))
_PAIR = (int64, int64)


@dataclass(frozen=True)
class ModelFunctions:
    """The compiled functions of a model; two are equal where all are the same compiled objects."""

    successors: Any
    reward: Any
    feasible: Any


def compile_functions(successors: Any, reward: Any, feasible: Any | None) -> tuple[ModelFunctions, ModelFunctions]:
    """The functions as sweeps call them, and as they are tried: plain ones then have their indices checked.

    Checked indices turn a read or write outside an array into an error that names the pair, and made a backup ten times
    slower. Raises MDPError where Numba cannot compile, or where a result is of another kind than needed.
    """
    arguments = "state, action, next_state, probability"
    compiled = [
        _compiled("successors", successors, arguments, _SUCCESSORS, (types.Integer,), "how many it wrote"),
        _compiled("reward", reward, "state, action", _PAIR, (types.Float, types.Integer), "a number"),
        (_always, _always)
        if feasible is None
        else _compiled("feasible", feasible, "state, action", _PAIR, (types.Boolean,), "True or False"),
    ]
    swept, tried = zip(*compiled, strict=True)
    return ModelFunctions(*swept), ModelFunctions(*tried)


@numba.njit(nogil=True)
def _always(state: int, action: int) -> bool:
    return True


def _compiled(
    name: str, function: Any, arguments: str, signature: tuple[Any, ...], results: tuple[Any, ...], wanted: str
) -> tuple[Any, Any]:
    swept: Any
    tried: Any
    if isinstance(function, CPUDispatcher):
        for option in ("parallel", "fastmath", "forceobj"):
            if function.targetoptions.get(option):
                raise MDPError(
                    f"{name} is compiled with {option}, with which it cannot run within a parallel kernel and give "
                    "the same numbers each time; use numba.njit without it"
                )
        swept = tried = function
    elif isinstance(function, FunctionType):
        swept, tried = numba.njit(nogil=True)(function), numba.njit(nogil=True, boundscheck=True)(function)
    else:
        raise MDPError(f"{name} is a {type(function).__name__}; give a Python function, or one made by numba.njit")
    takes = inspect.signature(swept.py_func)
    try:
        takes.bind(*signature)
    except TypeError:
        raise MDPError(f"{name} takes {takes}; it is called as {name}({arguments})") from None
    try:
        # Both now: Numba freezes what a function reads from outside when it compiles it.
        swept.compile(signature)
        tried.compile(signature)
    except (NumbaError, TypeError, RuntimeError, NotImplementedError) as error:
        raise MDPError(
            f"{name} cannot be compiled ({_reason(error)}); use numbers and arrays only, as numba.njit asks"
        ) from error
    result = swept.overloads[signature].signature.return_type
    if not isinstance(result, results):
        raise MDPError(f"{name} returns {result}; it must return {wanted}, for every state and action")
    return swept, tried


def _reason(error: Exception) -> str:
    """What Numba says, without the pages around it: its first line of substance, and the call that it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = next((at for at, line in enumerate(lines) if not line.startswith("Failed in")), None)
    if first is None:
        return type(error).__name__
    about = lines[first + 1] if lines[first].endswith(":") and first + 1 < len(lines) else ""
    return " ".join([lines[first], about.removeprefix(">>> ")]).strip().rstrip(".")


def guarded_arrays(room: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Untouched arrays for `successors`, with a guard on either side of the room."""
    return np.full(room + 2 * GUARD, UNTOUCHED, np.int64), np.full(room + 2 * GUARD, -float(UNTOUCHED))


def what_is_wrong(functions: ModelFunctions, state: int, n_states: int, n_actions: int, room: int) -> MDPError:
    """The error for a state where the functions broke a rule, found by calling them again."""
    feasible_actions = 0
    for action in range(n_actions):
        where = f"state {state}, action {action}"
        following, mass = guarded_arrays(room)
        inner = slice(GUARD, GUARD + room)
        called = "feasible"
        try:
            if not functions.feasible(state, action):
                continue
            called = "reward"
            reward = float(functions.reward(state, action))
            if reward == -math.inf:
                continue
            called = "successors"
            count = int(functions.successors(state, action, following[inner], mass[inner]))
        except Exception as error:
            beyond = called == "successors" and isinstance(error, IndexError)
            way_out = f"raise most_successors, which is {room}, if it needs more room" if beyond else "mend it there"
            made = MDPError(f"{called} raises {type(error).__name__} ({error}) for {where}; {way_out}")
            made.__cause__ = error
            return made
        feasible_actions += 1
        broken = _broken_rule(where, count, following, mass, n_states, room)
        if broken is None and not math.isfinite(reward):
            broken = f"reward of {where} is {reward!r}; rewards must be finite, or -inf to mark an infeasible action"
        if broken is not None:
            return MDPError(broken)
    if not feasible_actions:
        return MDPError(f"state {state} has no feasible action; give every state at least one")
    return MDPError(
        f"the functions answered differently for state {state} when asked again; they must depend on state and action "
        "alone"
    )


def _broken_rule(
    where: str, count: int, following: NDArray[np.int64], mass: NDArray[np.float64], n_states: int, room: int
) -> str | None:
    inner, outer = slice(GUARD, GUARD + room), np.r_[:GUARD, GUARD + room : room + 2 * GUARD]
    if np.any(following[outer] != UNTOUCHED) or np.any(mass[outer] != -float(UNTOUCHED)):
        return f"successors of {where} writes beyond its arrays; raise most_successors, which is {room}"
    if count > room:
        return f"successors of {where} returns {count}; there is room for {room}, so raise most_successors"
    if count < 1:
        return f"successors of {where} returns {count}; return how many successors it wrote, at least one"
    following, mass = following[inner][:count], mass[inner][:count]
    unwritten = np.flatnonzero((following == UNTOUCHED) | (mass == -float(UNTOUCHED)))
    if len(unwritten):
        return (
            f"successors of {where} returns {count}, but did not write both arrays at {unwritten[0]}; return how many "
            "successors it wrote"
        )
    outside = following[following >= n_states]
    if len(outside):
        return f"next state of {where} is {outside[0]}; states are 0 to {n_states - 1}, and a negative one ends"
    bad = mass[~(mass >= 0) | ~np.isfinite(mass)]
    if len(bad):
        rule = "must not be negative" if bad[0] < 0 else "must be finite"
        return f"probability of {where} is {float(bad[0])!r}; probabilities {rule}"
    total = float(mass.sum())
    if not abs(total - 1.0) <= MASS_TOLERANCE:
        return f"row for {where} sums to {total:.12g}, not 1; make successors divide by the sum"
    return None
