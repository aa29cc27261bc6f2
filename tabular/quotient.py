"""An MDP with its end components merged: each becomes one state, which may also stop for a reward of its own.

Within an end component one can go from any state to any other with probability 1. Where that costs nothing, its states
are as good as one (Ciesinski, Baier, Groesser & Klein, *Reduction techniques for model checking Markov decision
processes*, 2008): they have all actions that leave, and one more, to stay for ever. What is found for the merged MDP
is taken back to the whole one: `Quotient.pairs` walks to where the merged state leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.kernel import boolean, int32, int64, kernel, reads, writes
from rlbook.mdp import FiniteMDP
from rlbook.tabular.episodes import GRAPH, predecessors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.tabular.end_components import EndComponents

STOP = -1  # stands for the pair that stops


@dataclass(frozen=True, eq=False)
class Quotient:
    """A merged MDP and the way back.

    mdp: the merged one, at discount 1. merged: int64 (S,), the merged state of each state. representative: int64, the
    first state of each merged one. pair: int64, the pair of the whole MDP that each merged pair is, or STOP.
    """

    whole: FiniteMDP
    components: EndComponents
    mdp: FiniteMDP
    merged: NDArray[np.int64]
    representative: NDArray[np.int64]
    pair: NDArray[np.int64]

    def pairs(self, greedy: NDArray[np.int64], staying: NDArray[np.int64]) -> NDArray[np.int64]:
        """A policy of the whole MDP, as one pair per state, (S,), from one of the merged MDP.

        greedy: a merged pair per merged state. staying: (S,), the pair to take in each state of a component that stops.
        A component that leaves by some pair is walked through to the state of that pair, which ends with probability 1.
        """
        chosen = self.pair[greedy][self.merged]
        inside = self.components.component >= 0
        choice = np.where(chosen == STOP, staying, chosen)
        here = self.whole.pair_state[choice] == np.arange(self.whole.n_states)
        choice[~here] = STOP
        return walk(self.whole, self.components.stays, choice) if np.any(inside & ~here) else choice


def quotient(
    mdp: FiniteMDP, components: EndComponents, reward: NDArray[np.float64], stop_reward: NDArray[np.float64]
) -> Quotient:
    """Merge end components; their own pairs vanish.

    reward: (pairs,), what the pairs that remain pay. stop_reward: (components,), what stopping in each pays.
    """
    component = components.component
    if not components.count:
        unchanged = mdp.replace(discount=1.0)
        if reward is not mdp.expected_reward:
            unchanged = unchanged.replace(expected_reward=reward, reward=None, policies={})
        everywhere = np.arange(mdp.n_states)
        return Quotient(mdp, components, unchanged, everywhere, everywhere, np.arange(mdp.n_pairs))
    inside = np.flatnonzero(component >= 0)
    first = np.full(components.count, mdp.n_states)
    np.minimum.at(first, component[inside], inside)
    own = np.arange(mdp.n_states)
    own[inside] = first[component[inside]]
    representative, merged = np.unique(own, return_inverse=True)
    kept = np.flatnonzero(~components.stays)
    pair = np.concatenate([kept, np.full(components.count, STOP)])
    owner = np.concatenate([merged[mdp.pair_state[kept]], merged[first]])
    paid = np.concatenate([reward[kept], stop_reward])
    order = np.argsort(owner, kind="stable")
    made = assembled(mdp, pair[order], owner[order], merged, len(representative), paid[order])
    return Quotient(mdp, components, made, merged, representative, pair[order])


def assembled(
    mdp: FiniteMDP,
    pair: NDArray[np.int64],
    owner: NDArray[np.int64],
    renamed: NDArray[np.int64],
    states: int,
    reward: NDArray[np.float64],
) -> FiniteMDP:
    """An MDP of some of another's rows, at discount 1, as they are.

    pair: which rows, or STOP for one that terminates at once. owner: the state of each, not decreasing, every state
    once at least. renamed: (S,), the new number of each old state. reward: what each pair pays.
    """
    stop = pair == STOP
    source = np.where(stop, 0, pair)
    lengths = np.where(stop, 1, mdp.row_ptr[source + 1] - mdp.row_ptr[source])
    continuing = np.where(stop, 0, mdp.continuing_end[source] - mdp.row_ptr[source])
    row_ptr = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.repeat(mdp.row_ptr[source] - row_ptr[:-1], lengths) + np.arange(row_ptr[-1])
    following, mass = renamed[mdp.next_state[entries]].astype(np.int32), mdp.probability[entries]
    following[row_ptr[:-1][stop]] = owner[stop]
    mass[row_ptr[:-1][stop]] = 1.0
    state_ptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=states))])
    return FiniteMDP(
        state_ptr=state_ptr,
        action=(np.arange(len(pair)) - state_ptr[owner]).astype(np.int32),
        row_ptr=row_ptr,
        continuing_end=row_ptr[:-1] + continuing,
        next_state=following,
        probability=mass,
        expected_reward=reward,
        discount=1.0,
        start=np.full(states, 1.0 / states),
        name=mdp.name,
    )


def walk(mdp: FiniteMDP, stays: NDArray[np.bool_], choice: NDArray[np.int64]) -> NDArray[np.int64]:
    """A policy, a pair per state, that walks by pairs in `stays` from where `choice` is negative to where it is not."""
    completed = choice.copy()
    _walk(mdp.state_ptr, mdp.row_ptr, mdp.continuing_end, mdp.next_state, stays, mdp.pair_state, completed)
    return completed


@kernel(*GRAPH, writes(boolean), reads(int32), writes(int64))
def _walk(
    state_ptr: Any, row_ptr: Any, continuing_end: Any, next_state: Any, stays: Any, owner: Any, choice: Any
) -> None:
    """Give each state whose `choice` is negative a pair of `stays` that may lead nearer to a state that has one."""
    states = len(state_ptr) - 1
    first, entering = predecessors(row_ptr, continuing_end, next_state, stays, states)
    queue = np.empty(states, np.int64)
    head, tail = 0, 0
    for s in range(states):
        if choice[s] >= 0:
            queue[tail] = s
            tail += 1
    while head < tail:
        nearer = queue[head]
        head += 1
        for at in range(first[nearer], first[nearer + 1]):
            i = entering[at]
            if choice[owner[i]] < 0:
                choice[owner[i]] = i
                queue[tail] = owner[i]
                tail += 1
