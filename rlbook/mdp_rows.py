"""Building a `FiniteMDP` from compressed rows, where every other constructor ends, and from listed transitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP, GridLayout, check_names
from rlbook.mdp_validation import RowName, check_rows, row_totals

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def from_rows(
    *,
    state_ptr: NDArray[Any],
    action: NDArray[Any],
    row_ptr: NDArray[Any],
    next_state: NDArray[Any],
    probability: NDArray[Any],
    reward: NDArray[Any],
    discount: float,
    terminated: NDArray[Any] | None = None,
    start: ArrayLike | None = None,
    normalise: bool = False,
    name: str = "mdp",
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    layout: GridLayout | None = None,
    policies: Mapping[str, NDArray[np.float64]] | None = None,
) -> FiniteMDP:
    """Build an MDP from compressed rows; every other constructor ends here.

    reward is per pair or per transition, terminated per transition. Zeros are dropped, terminating transitions moved to
    the end of their row, and rewards that vary within no row reduced to one per pair.
    """
    states, pairs = len(state_ptr) - 1, len(action)
    if len(reward) not in (pairs, len(probability)):
        raise MDPError(
            f"reward has {len(reward)} entries; give {pairs}, per pair, or {len(probability)}, per transition"
        )
    empty = np.flatnonzero(np.diff(state_ptr) == 0)
    if len(empty):
        raise MDPError(f"state {empty[0]} has no feasible action; give every state at least one")
    pair_state = np.repeat(np.arange(states, dtype=np.int32), np.diff(state_ptr))
    labels = np.array(action, dtype=np.int32)
    pointer = np.array(row_ptr, dtype=np.int64)
    mass = np.array(probability, dtype=np.float64)
    named = RowName(pair_state, labels)
    if len(mass):
        outside = np.flatnonzero((next_state < 0) | (next_state >= states))
        if len(outside):
            row = int(np.searchsorted(pointer, outside[0], side="right")) - 1
            raise MDPError(f"next state of {named(row)} is {next_state[outside[0]]}; states are 0 to {states - 1}")
    following = np.array(next_state, dtype=np.int32)
    if normalise:
        mass = _normalised(mass, pointer, named)
    check_rows(mass, pointer, named)
    per_transition = len(reward) != pairs or (len(reward) == len(mass) and np.all(np.diff(pointer) == 1))
    paid = np.array(reward, dtype=np.float64)
    ended = None if terminated is None or not np.any(terminated) else np.asarray(terminated, dtype=bool)
    if np.any(mass == 0):
        kept = mass > 0
        pointer = np.concatenate([[0], np.cumsum(kept)])[pointer].astype(np.int64)
        mass, following = mass[kept], following[kept]
        paid = paid[kept] if per_transition else paid
        ended = None if ended is None else ended[kept]
    lengths = np.diff(pointer)
    if ended is None:
        continuing_end = pointer[1:]
    else:
        continuing_end = pointer[1:] - np.add.reduceat(ended, pointer[:-1], dtype=np.int64)
        entries, order = _terminating_last(ended, pointer, lengths)
        mass[entries], following[entries] = mass[order], following[order]
        if per_transition:
            paid[entries] = paid[order]
    varying = None
    expected = paid
    if per_transition:
        first = paid[pointer[:-1]]
        if np.array_equal(paid, np.repeat(first, lengths)):
            expected = first
        else:
            varying = paid
            expected = np.add.reduceat(mass * paid, pointer[:-1])
    beginning = np.full(states, 1.0 / states) if start is None else np.array(as_numbers(start, "start"))
    return FiniteMDP(
        state_ptr=_frozen(np.array(state_ptr, dtype=np.int64)),
        action=_frozen(labels),
        row_ptr=_frozen(pointer),
        continuing_end=_frozen(np.array(continuing_end)),
        next_state=_frozen(following),
        probability=_frozen(mass),
        expected_reward=_frozen(expected),
        discount=discount,
        start=_frozen(beginning),
        reward=None if varying is None else _frozen(varying),
        name=name,
        state_names=check_names(state_names, states, "state_names"),
        action_names=check_names(action_names, int(labels.max()) + 1, "action_names"),
        layout=layout,
        policies=dict(policies or {}),
    )


def from_transitions(
    outcomes: Sequence[Mapping[int, Sequence[tuple[float, int, float, bool]]]], discount: float, **options: Any
) -> FiniteMDP:
    """Build an MDP from `outcomes[state][action] = [(probability, next state, reward, terminated), ...]`.

    Transitions that agree in next state, reward and termination are merged; merging any others would change the law of
    the return. Options are those of `from_rows`.
    """
    state_ptr, action, row_ptr = [0], [], [0]
    mass: list[float] = []
    following: list[int] = []
    paid: list[float] = []
    ended: list[bool] = []
    for choices in outcomes:
        for label in sorted(choices):
            merged: dict[tuple[int, float, bool], float] = {}
            for probability, next_state, reward, terminated in choices[label]:
                key = (int(next_state), float(reward), bool(terminated))
                merged[key] = merged.get(key, 0.0) + float(probability)
            for (next_state, reward, terminated), probability in merged.items():
                mass.append(probability)
                following.append(next_state)
                paid.append(reward)
                ended.append(terminated)
            action.append(label)
            row_ptr.append(len(mass))
        state_ptr.append(len(action))
    return from_rows(
        state_ptr=np.array(state_ptr),
        action=np.array(action),
        row_ptr=np.array(row_ptr),
        next_state=np.array(following, dtype=np.int64),
        probability=np.array(mass),
        reward=np.array(paid),
        terminated=np.array(ended),
        discount=discount,
        **options,
    )


def merge_identical(
    row: NDArray[Any],
    next_state: NDArray[Any],
    reward: NDArray[np.float64],
    terminated: NDArray[np.bool_],
    probability: NDArray[np.float64],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Add up the probabilities of transitions that agree in row, next state, reward and termination; sorted by row."""
    order = np.lexsort((reward, next_state, terminated, row))
    row, next_state, reward, terminated = row[order], next_state[order], reward[order], terminated[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (
        (np.diff(row) != 0) | (np.diff(next_state) != 0) | (np.diff(reward) != 0) | (terminated[1:] != terminated[:-1])
    )
    first = np.flatnonzero(new)
    return row[first], next_state[first], reward[first], terminated[first], np.add.reduceat(probability[order], first)


def as_numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """An array of float64; raises MDPError where `values` are anything else."""
    try:
        if np.iscomplexobj(values):
            raise TypeError
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise MDPError(f"{name} is not an array of numbers; give a rectangular array of floats") from None


def _terminating_last(
    ended: NDArray[np.bool_], pointer: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Entries of the rows in which a terminating transition precedes a continuing one, and the order that they need."""
    early = np.flatnonzero(ended[:-1] & ~ended[1:])
    rows = np.searchsorted(pointer, early, side="right") - 1
    rows = np.unique(rows[early + 1 < pointer[rows + 1]])
    sizes = lengths[rows]
    row_of = np.repeat(np.arange(len(rows)), sizes)
    offset = np.arange(len(row_of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    entries = np.repeat(pointer[rows], sizes) + offset
    return entries, entries[np.argsort(2 * row_of + ended[entries], kind="stable")]


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """An array that nobody else holds, made read-only so that `FiniteMDP` takes it without a copy."""
    array.setflags(write=False)
    return array


def _normalised(mass: NDArray[np.float64], pointer: NDArray[np.int64], named: RowName) -> NDArray[np.float64]:
    totals = row_totals(mass, pointer)
    bad = np.flatnonzero(~(totals > 0) | ~np.isfinite(totals))
    if len(bad):
        raise MDPError(f"row for {named(bad[0])} sums to {totals[bad[0]]:.12g}; it cannot be rescaled to 1")
    return mass / np.repeat(totals, np.diff(pointer))
