"""Offline datasets: episodes that some behaviour policy left behind, and ways to draw them with controlled coverage.

A dataset knows states, actions and rewards, and no MDP: `transitions(mdp)` gives what batch learners read, and
`minari_layout` saves and loads it. How well it covers an MDP can be chosen: by the policy that walks
(`draw_episodes`), by a law over pairs (`draw_pairs`, and `draw_counts` where only counts matter), and by joining
datasets; `coverage_laws` has policies and laws to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.keyed_random import MOST_DRAWS, keyed_uniforms
from rlbook.mdp import owned
from rlbook.tabular.approximation.argument_checks import require_counts, require_seed
from rlbook.tabular.approximation.lspi import PairCounts
from rlbook.tabular.approximation.offline_kernels import follow_episodes
from rlbook.tabular.learning.experience import Transitions, draw_transitions
from rlbook.tabular.learning.learner import World, as_array
from rlbook.tabular.policies import as_stochastic, uniform_policy
from rlbook.tabular.policy_rows import require_stored
from rlbook.tabular.sampling_tables import ENDED, alias_table
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_MOST_STEPS = 100_000_000
_PAIRS = 2  # purpose of the random numbers that choose pairs; 0 and 1 are the environment's and the learner's


@dataclass(frozen=True, eq=False)
class OfflineDataset:
    """Episodes one after another, as read-only arrays of one length, at least 1.

    state: int32 (n,). action: labels, int32 (n,). reward: float64 (n,), finite, in units of reward. next_state: int32
    (n,), ENDED (-1) where the episode ended. truncated: whether it was cut off after the step although it had not
    ended, bool (n,). Every episode ends in one of the two, and goes on from where it led. n_states, n_actions: of the
    world. behaviour: name of the policy that acted. world: name of what it acted in. Raises ParameterError for anything
    else.
    """

    state: NDArray[np.int32]
    action: NDArray[np.int32]
    reward: NDArray[np.float64]
    next_state: NDArray[np.int32]
    truncated: NDArray[np.bool_]
    n_states: int
    n_actions: int
    behaviour: str = "unknown"
    world: str = "unknown"

    def __post_init__(self) -> None:
        require_counts(n_states=self.n_states, n_actions=self.n_actions)
        for name, least, end in (
            ("state", 0, self.n_states),
            ("action", 0, self.n_actions),
            ("next_state", ENDED, self.n_states),
        ):
            array = np.asarray(getattr(self, name))
            if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or not len(array):
                raise ParameterError(f"{name} has type {array.dtype} and shape {array.shape}; give integers, (n,)")
            if array.min() < least or array.max() >= end:
                wrong = array[(array < least) | (array >= end)][0]
                raise ParameterError(f"{name} holds {wrong}, but its entries lie in {least} to {end - 1}")
            object.__setattr__(self, name, owned(np.ascontiguousarray(array, dtype=np.int32)))
        reward, truncated = as_array("reward", self.reward), np.asarray(self.truncated, dtype=np.bool_)
        shapes = {self.state.shape, self.action.shape, reward.shape, self.next_state.shape, truncated.shape}
        if len(shapes) > 1:
            raise ParameterError(f"arrays of a dataset have one length, (n,); found shapes {sorted(shapes)}")
        if not np.all(np.isfinite(reward)):
            raise ParameterError("reward holds numbers that are not finite; leave such episodes out")
        object.__setattr__(self, "reward", owned(np.ascontiguousarray(reward)))
        object.__setattr__(self, "truncated", owned(np.ascontiguousarray(truncated)))
        self._check_episodes()

    def _check_episodes(self) -> None:
        both = np.flatnonzero(self.truncated & self.terminated)
        if len(both):
            raise ParameterError(f"step {both[0]} both ended and was truncated; an episode that ended is not cut off")
        if not (self.truncated[-1] or self.terminated[-1]):
            raise ParameterError("the last episode neither ended nor was truncated; mark its last step as truncated")
        inside = ~(self.truncated | self.terminated)[:-1]
        broken = np.flatnonzero(inside & (self.next_state[:-1] != self.state[1:]))
        if len(broken):
            t = int(broken[0])
            raise ParameterError(
                f"step {t} leads to state {self.next_state[t]}, but step {t + 1} of the same episode starts in state "
                f"{self.state[t + 1]}; mark where episodes are cut off"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writable, which kernels would compile for a second time; building again freezes them.
        arrays = (self.state, self.action, self.reward, self.next_state, self.truncated)
        return type(self), (*arrays, self.n_states, self.n_actions, self.behaviour, self.world)

    def __len__(self) -> int:
        """Steps."""
        return len(self.state)

    @property
    def terminated(self) -> NDArray[np.bool_]:
        """Whether the episode ended with each step, (n,)."""
        return np.asarray(self.next_state == ENDED)

    @cached_property
    def episode_ptr(self) -> NDArray[np.int64]:
        """Episode e is steps episode_ptr[e] : episode_ptr[e + 1], int64 (episodes + 1,)."""
        return np.concatenate([[0], np.flatnonzero(self.truncated | self.terminated) + 1]).astype(np.int64)

    @property
    def n_episodes(self) -> int:
        return len(self.episode_ptr) - 1

    def transitions(self, mdp: FiniteMDP) -> Transitions:
        """What learners from a batch read, in the order of the steps; raises ParameterError for another MDP."""
        if (self.n_states, self.n_actions) != (mdp.n_states, mdp.n_actions):
            raise ParameterError(
                f"the dataset is of {self.n_states} states and {self.n_actions} actions, but mdp {mdp.name!r} has "
                f"{mdp.n_states} and {mdp.n_actions}"
            )
        pair_of = np.full((mdp.n_states, mdp.n_actions), -1, dtype=np.int64)
        pair_of[mdp.pair_state, mdp.action] = np.arange(mdp.n_pairs)
        pair = pair_of[self.state, self.action]
        if pair.min() < 0:
            t = int(pair.argmin())
            raise ParameterError(f"step {t} takes action {self.action[t]}, which state {self.state[t]} does not have")
        return Transitions(pair, self.reward, self.next_state)

    def returns(self, discount: float) -> NDArray[np.float64]:
        """The discounted return of each episode as far as it was seen, (episodes,), in units of return."""
        lengths = np.diff(self.episode_ptr)
        age = np.arange(len(self)) - np.repeat(self.episode_ptr[:-1], lengths)
        return np.asarray(np.add.reduceat(discount**age * self.reward, self.episode_ptr[:-1]))


def draw_episodes(
    mdp: FiniteMDP, policy: ArrayLike | None, episodes: int, seed: int, *, horizon: int = 1000, behaviour: str = ""
) -> OfflineDataset:
    """Episodes of a policy, each from the start distribution, cut off after `horizon` steps.

    policy: None for uniform, or as in `as_stochastic`. seed: from 0 to 2^63 - 1; as long as nothing is cut off, the
    steps are those of `draw_trajectory`. behaviour: the policy's name. Raises ParameterError for more than 100 million
    steps, and MDPError for models that are not stored.
    """
    arguments = World(mdp).arguments
    require_counts(episodes=episodes, horizon=horizon)
    if episodes * horizon > _MOST_STEPS:
        raise ParameterError(
            f"episodes is {episodes} and horizon {horizon}, but their product is at most {_MOST_STEPS:,} steps; take "
            "fewer or shorter ones"
        )
    law = uniform_policy(mdp) if policy is None else as_stochastic(mdp, policy)
    most = episodes * horizon
    pair, reward = np.empty(most, np.int64), np.empty(most)
    following, cut = np.empty(most, np.int32), np.empty(most, np.uint8)
    tables = alias_table(mdp.state_ptr, law)
    steps = follow_episodes(require_seed(seed), arguments, *tables, episodes, horizon, pair, reward, following, cut)
    return _dataset(
        mdp,
        pair[:steps],
        reward[:steps],
        following[:steps],
        cut[:steps].astype(np.bool_),
        behaviour or ("uniform" if policy is None else "unnamed"),
    )


def draw_pairs(
    mdp: FiniteMDP, law: ArrayLike, n: int, seed: int, *, behaviour: str = "law over pairs"
) -> OfflineDataset:
    """Independent transitions of pairs drawn by a law, each an episode of one step, as theorems like to have them.

    law: weights of pairs, (pairs,), divided by their sum; those with weight 0 are never drawn. n: 1 to 2^24. The first
    k of n transitions are those that n = k gives. Raises ParameterError and MDPError.
    """
    weights = _weights(mdp, law)
    require_whole("n", n, 1, MOST_DRAWS)
    require_seed(seed)
    edges = np.cumsum(weights)
    u = keyed_uniforms(seed, n, purpose=_PAIRS) * edges[-1]
    # The first edge beyond u belongs to a pair of positive weight; rounding may put u on the last edge.
    pair = np.minimum(np.searchsorted(edges, u, side="right"), int(np.flatnonzero(weights)[-1]))
    drawn = draw_transitions(mdp, pair, seed)
    return _dataset(mdp, drawn.pair, drawn.reward, drawn.next_state, drawn.next_state != ENDED, behaviour)


def draw_counts(mdp: FiniteMDP, law: ArrayLike, n: int, seed: int) -> PairCounts:
    """How often each pair of n independent transitions led where, at a cost that does not grow with n.

    The counts have the law of those of `draw_pairs`, by one multinomial draw over all transitions of the MDP, but not
    its luck. law: as there. n: 1 to 2^53. Raises ParameterError and MDPError.
    """
    import scipy.sparse

    require_stored(mdp, "draw_counts")
    weights = _weights(mdp, law)
    require_whole("n", n, 1, 2**53)
    lengths = np.diff(mdp.row_ptr)
    chance = np.repeat(weights, lengths) * mdp.probability
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([require_seed(seed), _PAIRS])))
    times = random.multinomial(n, chance / chance.sum()).astype(np.float64)
    paid = np.repeat(mdp.expected_reward, lengths) if mdp.reward is None else mdp.reward
    return PairCounts(
        np.add.reduceat(times, mdp.row_ptr[:-1]),
        np.add.reduceat(times * paid, mdp.row_ptr[:-1]),
        scipy.sparse.csr_array(mdp.continuing_matrix(times)),
        n,
    )


def joined(datasets: Sequence[OfflineDataset], behaviour: str = "") -> OfflineDataset:
    """The episodes of several datasets of one world, one after another; raises ParameterError."""
    if not datasets:
        raise ParameterError("datasets is empty; give at least one")
    first = datasets[0]
    if any((each.n_states, each.n_actions) != (first.n_states, first.n_actions) for each in datasets):
        raise ParameterError("datasets have different numbers of states or actions; join datasets of one world")
    named = behaviour or " and ".join(dict.fromkeys(each.behaviour for each in datasets))
    return OfflineDataset(
        np.concatenate([each.state for each in datasets]),
        np.concatenate([each.action for each in datasets]),
        np.concatenate([each.reward for each in datasets]),
        np.concatenate([each.next_state for each in datasets]),
        np.concatenate([each.truncated for each in datasets]),
        first.n_states,
        first.n_actions,
        named,
        first.world,
    )


def _weights(mdp: FiniteMDP, law: ArrayLike) -> NDArray[np.float64]:
    weights = as_array("law", law)
    if weights.shape != (mdp.n_pairs,) or not np.all(np.isfinite(weights)) or weights.min() < 0 or weights.sum() <= 0:
        raise ParameterError(f"law is one finite weight from 0 for each of {mdp.n_pairs} pairs, and not all are zero")
    return weights


def _dataset(
    mdp: FiniteMDP,
    pair: NDArray[np.int64],
    reward: NDArray[np.float64],
    next_state: NDArray[np.int32],
    truncated: NDArray[np.bool_],
    behaviour: str,
) -> OfflineDataset:
    return OfflineDataset(
        mdp.pair_state[pair],
        mdp.action[pair],
        reward,
        next_state,
        truncated,
        mdp.n_states,
        mdp.n_actions,
        behaviour,
        mdp.name,
    )
