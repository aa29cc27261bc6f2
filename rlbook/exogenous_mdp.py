"""`ExogenousMDP`: the action moves one part of the state, a Markov chain of its own moves the other.

A state is a pair (e, x), numbered s = e * X + x: the endogenous e is moved by the action, e' = f(e, x, a), and the
exogenous x (a price, a shock, the weather) moves as it likes, with probabilities Q[x, x']. Hence

    q(e, x, a) = r(e, x, a) + discount * W[f(e, x, a), x]   with   W = V Q^T,

one product of small matrices and a gather, where the stored form needs X transitions for each pair. Users of
QuantEcon.py's `DiscreteDP` asked for this form (its issue 228).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP, owned
from rlbook.mdp_rows import as_numbers, from_rows
from rlbook.mdp_validation import MASS_TOLERANCE, check_discount
from rlbook.starting_law import UNIFORM, starting_law

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class ExogenousMDP:
    """A finite MDP with E endogenous and X exogenous states, and A actions.

    next_endogenous: integers f(e, x, a), (E, X, A); or (E, A) or (A,) where they do not depend on the rest, such as
    `np.arange(E)` where the action is the next endogenous state. Negative: the episode ends. exogenous_transition: Q,
    (X, X), rows summing to 1. reward: (E, X, A), in units of reward; -inf marks an action as infeasible there.
    discount: in [0, 1]. start: law of the first state, (E * X,), uniform by default. Arrays are kept read-only, and
    copied unless they are so already. Raises MDPError naming the first offending entry.

    Savings with uncertain income (Aiyagari 1994), where the action is what is kept for tomorrow:

    >>> import numpy as np
    >>> assets, income = np.linspace(0, 20, 200), np.array([0.5, 1.0, 1.5])
    >>> chain = np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.2, 0.8]])
    >>> eaten = 1.02 * assets[:, None, None] + income[:, None] - assets
    >>> utility = np.where(eaten > 0, np.log(np.maximum(eaten, 1e-300)), -np.inf)
    >>> savings = ExogenousMDP(np.arange(200), chain, utility, 0.95)
    >>> from rlbook.tabular import modified_policy_iteration
    >>> kept = assets[modified_policy_iteration(savings).policy.reshape(200, 3)]
    >>> bool(np.all(np.diff(kept, axis=0) >= 0))  # who has more keeps more
    True
    """

    next_endogenous: NDArray[np.int32]
    exogenous_transition: NDArray[np.float64]
    reward: NDArray[np.float64]
    discount: float
    start: NDArray[np.float64] = field(default=UNIFORM, kw_only=True)
    name: str = field(default="exogenous-mdp", kw_only=True)

    def __post_init__(self) -> None:
        reward = kept(as_numbers(self.reward, "reward"))
        if reward.ndim != 3 or 0 in reward.shape:
            raise MDPError(
                f"reward has shape {reward.shape}; give one number for each endogenous state, exogenous state and "
                "action, (E, X, A)"
            )
        _check_reward(reward)
        endogenous, exogenous, _ = reward.shape
        chain = kept(as_numbers(self.exogenous_transition, "exogenous_transition"))
        _check_chain(chain, exogenous)
        check_discount(self.discount)
        settled = {
            "next_endogenous": _following(self.next_endogenous, reward),
            "exogenous_transition": chain,
            "reward": reward,
            "discount": float(self.discount),
            "start": starting_law(self.start, endogenous * exogenous),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writable, which kernels would compile for a second time; building again freezes them.
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return _built, (values | {"start": None if self.start.strides == (0,) else self.start},)

    def __repr__(self) -> str:
        return (
            f"ExogenousMDP({self.name!r}, endogenous={self.n_endogenous}, exogenous={self.n_exogenous}, "
            f"actions={self.n_actions}, discount={self.discount:g})"
        )

    @property
    def n_endogenous(self) -> int:
        return self.reward.shape[0]

    @property
    def n_exogenous(self) -> int:
        return self.reward.shape[1]

    @property
    def n_actions(self) -> int:
        return self.reward.shape[2]

    @property
    def n_states(self) -> int:
        return self.n_endogenous * self.n_exogenous

    @property
    def next_table(self) -> NDArray[np.int32]:
        """f with three axes, each of full length or 1: it broadcasts to (E, X, A)."""
        f = self.next_endogenous
        return f[:, None, :] if f.ndim == 2 else f.reshape((1,) * (3 - f.ndim) + f.shape)

    def to_finite_mdp(self) -> FiniteMDP:
        """The same MDP with every transition stored, where it fits: up to X of them for each feasible pair.

        A transition that ends the episode stays, by name, in its own state.
        """
        e, x, a = np.nonzero(self.reward > -np.inf)
        state = e * self.n_exogenous + x
        onward = np.broadcast_to(self.next_table, self.reward.shape)[e, x, a].astype(np.int64)
        ends = onward < 0
        from_x, to_x = np.nonzero(self.exogenous_transition)
        first = np.searchsorted(from_x, np.arange(self.n_exogenous + 1))
        lengths = np.where(ends, 1, np.diff(first)[x])
        row_ptr = np.concatenate([[0], np.cumsum(lengths)])
        pair = np.repeat(np.arange(len(a)), lengths)
        terminated = ends[pair]
        entry = np.where(terminated, 0, first[x[pair]] + np.arange(len(pair)) - row_ptr[pair])
        return from_rows(
            state_ptr=np.searchsorted(state, np.arange(self.n_states + 1)),
            action=a,
            row_ptr=row_ptr,
            next_state=np.where(terminated, state[pair], onward[pair] * self.n_exogenous + to_x[entry]),
            probability=np.where(terminated, 1.0, self.exogenous_transition[from_x[entry], to_x[entry]]),
            reward=self.reward[e, x, a],
            terminated=terminated,
            discount=self.discount,
            start=self.start,
            name=self.name,
        )


def kept(values: NDArray[Any]) -> NDArray[Any]:
    """The values in one read-only block; the caller's array itself only where nobody can write to it."""
    array = np.ascontiguousarray(values)
    if array is not values:
        array.setflags(write=False)
    return owned(array)


def _check_reward(reward: NDArray[np.float64]) -> None:
    best = reward.max(axis=2)  # NaN where one is NaN: no other pass over what may be most of the memory is needed
    bad = np.argwhere(~(best < np.inf))
    if len(bad):
        e, x = (int(i) for i in bad[0])
        a = int(np.flatnonzero(~(reward[e, x] < np.inf))[0])
        raise MDPError(
            f"reward[{e}, {x}, {a}] is {float(reward[e, x, a])!r}; rewards must be finite, or -inf to mark an "
            "infeasible action"
        )
    bad = np.argwhere(best == -np.inf)
    if len(bad):
        e, x = (int(i) for i in bad[0])
        raise MDPError(
            f"endogenous state {e}, exogenous state {x} has no feasible action; give every state at least one"
        )


def _check_chain(chain: NDArray[np.float64], exogenous: int) -> None:
    if chain.shape != (exogenous, exogenous):
        raise MDPError(
            f"exogenous_transition has shape {chain.shape}; reward has {exogenous} exogenous states, so give "
            f"({exogenous}, {exogenous})"
        )
    bad = np.argwhere(~(chain >= 0) | ~np.isfinite(chain))
    if len(bad):
        x, y = (int(i) for i in bad[0])
        raise MDPError(
            f"exogenous_transition[{x}, {y}] is {float(chain[x, y])!r}; probabilities must be finite and not negative"
        )
    totals = chain.sum(axis=1)
    off = np.flatnonzero(np.abs(totals - 1.0) > MASS_TOLERANCE)
    if len(off):
        raise MDPError(
            f"row {off[0]} of exogenous_transition sums to {totals[off[0]]:.12g}, not 1; divide it by its sum"
        )


def _following(values: Any, reward: NDArray[np.float64]) -> NDArray[np.int32]:
    given = np.asarray(values)
    endogenous, exogenous, actions = reward.shape
    shapes = [(endogenous, exogenous, actions), (endogenous, actions), (actions,)]
    if given.shape not in shapes:
        raise MDPError(
            f"next_endogenous has shape {given.shape}; give {shapes[0]}, or {shapes[1]} or {shapes[2]} where it "
            "depends on nothing else"
        )
    if not np.issubdtype(given.dtype, np.integer):
        raise MDPError(f"next_endogenous holds {given.dtype} values; give integers")
    beyond = given >= endogenous
    if beyond.any():
        spread = beyond[:, None, :] if given.ndim == 2 else beyond
        bad = np.argwhere(spread & (reward > -np.inf))
        if len(bad):
            e, x, a = (int(i) for i in bad[0])
            found = int(np.broadcast_to(given[:, None, :] if given.ndim == 2 else given, reward.shape)[e, x, a])
            raise MDPError(
                f"next_endogenous[{e}, {x}, {a}] is {found}; endogenous states are 0 to {endogenous - 1}, and a "
                "negative one ends the episode"
            )
    # Whatever is out of range belongs to pairs that are infeasible, and its size must not wrap around in 32 bits.
    following = np.where(beyond | (given < 0), -1, given).astype(np.int32)
    following.setflags(write=False)
    return following


def _built(values: dict[str, Any]) -> ExogenousMDP:
    return ExogenousMDP(**values)
