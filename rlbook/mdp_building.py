"""Building a `FiniteMDP` from arrays that people have: dense, or a sparse matrix with one row per pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import as_numbers, from_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def from_dense(
    transition: ArrayLike,
    reward: ArrayLike,
    discount: float,
    *,
    terminated: ArrayLike | None = None,
    start: ArrayLike | None = None,
    normalise: bool = False,
    name: str = "mdp",
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    layout: GridLayout | None = None,
    policies: Mapping[str, ArrayLike] | None = None,
) -> FiniteMDP:
    """Build an MDP from dense arrays; they are copied.

    transition: P[S, A, S'], rows summing to 1. reward: R[S, A], or R[S, A, S'] per transition; -inf marks an action as
    infeasible in that state. terminated: booleans of shape (S, A, S'), or (S') for "entering s' ends the episode".
    start: law of the first state, (S,), uniform by default. normalise: rescale rows to sum to 1. policies: named
    stochastic policies of shape (S, A). Raises MDPError naming the first offending entry.
    """
    p = as_numbers(transition, "transition")
    r = as_numbers(reward, "reward")
    if p.ndim != 3 or p.shape[0] != p.shape[2]:
        turn = "; turn yours with P.transpose(1, 0, 2)" if p.ndim == 3 and p.shape[1] == p.shape[2] else ""
        raise MDPError(f"transition has shape {p.shape}; give P with shape (states, actions, states){turn}")
    states, actions, _ = p.shape
    if states < 1 or actions < 1:
        raise MDPError(f"transition has shape {p.shape}; an MDP needs at least one state and one action")
    if r.shape not in ((states, actions), p.shape):
        raise MDPError(f"reward has shape {r.shape}; it must be {(states, actions)} or {p.shape}, to fit transition")
    _refuse_nan_and_plus_infinity(r)
    feasible = r != -np.inf if r.ndim == 2 else ~np.any((r == -np.inf) & (p != 0), axis=2)
    kept_state, kept_action = np.nonzero(feasible)
    rows = p[kept_state, kept_action]
    row, column = np.nonzero(rows)
    pointer = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])
    stops = None
    if terminated is not None:
        ended = np.asarray(terminated, dtype=bool)
        if ended.shape not in ((states,), p.shape):
            raise MDPError(f"terminated has shape {ended.shape}; it must be {(states,)} or {p.shape}")
        stops = ended[column] if ended.ndim == 1 else ended[kept_state[row], kept_action[row], column]
    paid = r[kept_state, kept_action]
    return from_rows(
        state_ptr=np.concatenate([[0], np.cumsum(feasible.sum(axis=1))]),
        action=kept_action,
        row_ptr=pointer,
        next_state=column,
        probability=rows[row, column],
        reward=paid if r.ndim == 2 else paid[row, column],
        terminated=stops,
        discount=discount,
        start=start,
        normalise=normalise,
        name=name,
        state_names=state_names,
        action_names=action_names,
        layout=layout,
        policies={
            label: _dense_policy(label, policy, kept_state, kept_action, (states, actions))
            for label, policy in (policies or {}).items()
        },
    )


def from_csr(
    transition: Any,
    reward: ArrayLike,
    discount: float,
    *,
    state: ArrayLike | None = None,
    action: ArrayLike | None = None,
    terminated: ArrayLike | None = None,
    start: ArrayLike | None = None,
    normalise: bool = False,
    name: str = "mdp",
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    layout: GridLayout | None = None,
) -> FiniteMDP:
    """Build an MDP from a sparse matrix with one row per state-action pair; the caller's arrays are copied.

    transition: scipy sparse matrix or array (pairs, S) of next-state probabilities. reward: (pairs,), or (entries,)
    in the order of the matrix's stored entries (per pair where both fit); -inf marks the pair as infeasible. state,
    action: integers (pairs,), the pair of each row, ordered by state and then action; without them the row of (s, a)
    is s * A + a, with A = pairs / S. terminated: booleans (entries,). Arrays per entry need a matrix in CSR format,
    whose entries are taken as they stand: putting another format in order by rows moves and merges them. Raises
    MDPError naming the first offending entry.
    """
    import scipy.sparse

    if not scipy.sparse.issparse(transition):
        raise MDPError(f"transition is a {type(transition).__name__}; give a scipy sparse matrix, or use from_dense")
    if transition.ndim != 2 or transition.shape[1] < 1 or transition.shape[0] < transition.shape[1]:
        raise MDPError(f"transition has shape {transition.shape}; give one row per pair and one column per state")
    pairs, states = transition.shape
    paid = as_numbers(reward, "reward")
    stops = None if terminated is None else np.asarray(terminated, dtype=bool)
    if transition.format != "csr":
        _refuse_entries_out_of_order(transition.format, paid if paid.shape != (pairs,) else None, stops)
    matrix = transition.tocsr()
    if (state is None) != (action is None):
        raise MDPError("state and action must be given together: they say which pair each row of transition is")
    if state is None or action is None:
        if pairs % states:
            raise MDPError(
                f"transition has {pairs} rows for {states} states; say with state and action which pair each is"
            )
        per_state = pairs // states
        row_state, row_action = np.divmod(np.arange(pairs), per_state)
    else:
        row_state = _indices(state, pairs, states, "state")
        row_action = _indices(action, pairs, 2**31 - 1, "action")
        if np.any(np.diff(row_state) < 0):
            first = int(np.flatnonzero(np.diff(row_state) < 0)[0]) + 1
            raise MDPError(f"state[{first}] is {row_state[first]} after {row_state[first - 1]}; order rows by state")
    entries = len(matrix.data)
    if paid.shape not in ((pairs,), (entries,)):
        raise MDPError(f"reward has shape {paid.shape}; give ({pairs},) per pair or ({entries},) per stored entry")
    _refuse_nan_and_plus_infinity(paid)
    if stops is not None and stops.shape != (entries,):
        raise MDPError(f"terminated has shape {stops.shape}; give one flag per stored entry, ({entries},)")
    row_ptr = matrix.indptr.astype(np.int64)
    next_state, probability = matrix.indices, np.array(matrix.data, dtype=np.float64)
    if np.any(paid == -np.inf):
        lengths = np.diff(row_ptr)
        per_pair = paid.shape == (pairs,)
        bad_row = paid == -np.inf
        if not per_pair:
            bad_row = np.bincount(np.repeat(np.arange(pairs), lengths)[bad_row], minlength=pairs) > 0
        keep_row, keep_entry = ~bad_row, np.repeat(~bad_row, lengths)
        row_state, row_action = row_state[keep_row], row_action[keep_row]
        next_state, probability = next_state[keep_entry], probability[keep_entry]
        stops = None if stops is None else stops[keep_entry]
        paid = paid[keep_row] if per_pair else paid[keep_entry]
        row_ptr = np.concatenate([[0], np.cumsum(lengths[keep_row])])
    return from_rows(
        state_ptr=np.concatenate([[0], np.cumsum(np.bincount(row_state, minlength=states))]),
        action=row_action,
        row_ptr=row_ptr,
        next_state=next_state,
        probability=probability,
        reward=paid,
        terminated=stops,
        discount=discount,
        start=start,
        normalise=normalise,
        name=name,
        state_names=state_names,
        action_names=action_names,
        layout=layout,
    )


def _refuse_entries_out_of_order(
    format: str, reward: NDArray[np.float64] | None, terminated: NDArray[np.bool_] | None
) -> None:
    for name, per_entry in (("reward", reward), ("terminated", terminated)):
        if per_entry is not None:
            raise MDPError(
                f"{name} has shape {per_entry.shape}, but transition is in {format} format, whose entries have no "
                f"order by rows; convert it with .tocsr() first and give {name} in its order"
                + (", or one reward per pair" if name == "reward" else "")
            )


def _indices(values: ArrayLike, length: int, limit: int, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (length,) or not np.issubdtype(array.dtype, np.integer):
        raise MDPError(f"{name} must hold {length} integers, one per row of transition")
    bad = np.flatnonzero((array < 0) | (array >= limit))
    if len(bad):
        raise MDPError(f"{name}[{bad[0]}] is {array[bad[0]]}; it must lie in 0 to {limit - 1}")
    return array.astype(np.int64)


def _refuse_nan_and_plus_infinity(reward: NDArray[np.float64]) -> None:
    bad = np.argwhere(np.isnan(reward) | (reward == np.inf))
    if len(bad):
        where = ", ".join(str(i) for i in bad[0])
        raise MDPError(
            f"reward[{where}] is {reward[tuple(bad[0])]}; rewards must be finite, or -inf to mark an infeasible action"
        )


def _dense_policy(
    label: str, policy: ArrayLike, state: NDArray[Any], action: NDArray[Any], shape: tuple[int, int]
) -> NDArray[np.float64]:
    table = as_numbers(policy, f"policy {label!r}")
    if table.shape != shape:
        raise MDPError(f"policy {label!r} has shape {table.shape}; it must be {shape}, states by actions")
    return np.ascontiguousarray(table[state, action])
