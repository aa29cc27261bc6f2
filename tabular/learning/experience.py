"""Where learners take transitions from: their own walk, a generative model, or a batch that was drawn beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.learning.experience_kernels import follow_policy, sample_pairs
from rlbook.tabular.learning.learner import World
from rlbook.tabular.policies import as_stochastic, uniform_policy
from rlbook.tabular.sampling_tables import ENDED, alias_table
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_MOST_DRAWN = 100_000_000  # transitions in one array: 2 GB


@dataclass(frozen=True, eq=False)
class Transitions:
    """Transitions that were seen, as read-only arrays of one length, at least 1.

    pair: the state-action pair that acted, int64 (n,). reward: float64 (n,), finite, in units of reward. next_state:
    int32 (n,), or ENDED (-1) where the episode ended. Raises ParameterError for anything else.
    """

    pair: NDArray[np.int64]
    reward: NDArray[np.float64]
    next_state: NDArray[np.int32]

    def __post_init__(self) -> None:
        pair = _whole("pair", self.pair, 0, np.iinfo(np.int64).max).astype(np.int64)
        following = _whole("next_state", self.next_state, ENDED, np.iinfo(np.int32).max).astype(np.int32)
        reward = np.asarray(self.reward, dtype=np.float64)
        if not (pair.ndim == 1 and pair.shape == reward.shape == following.shape and len(pair)):
            raise ParameterError(
                f"pair, reward and next_state have shapes {pair.shape}, {reward.shape} and {following.shape}, but they "
                "are three arrays of one length, (n,), with n at least 1"
            )
        wrong = np.flatnonzero(~np.isfinite(reward))
        if len(wrong):
            raise ParameterError(
                f"reward[{wrong[0]}] is {reward[wrong[0]]}, but rewards are finite; leave such transitions out"
            )
        for name, array in (("pair", pair), ("reward", reward), ("next_state", following)):
            object.__setattr__(self, name, owned(np.ascontiguousarray(array)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writable, which kernels would compile for a second time; building again freezes them.
        return type(self), self.arguments

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def arguments(self) -> tuple[NDArray[Any], ...]:
        """What kernels read, of type TRANSITIONS."""
        return self.pair, self.reward, self.next_state

    def check(self, mdp: FiniteMDP) -> None:
        """Raise ParameterError unless all pairs and next states are those of an MDP."""
        for name, found, count in (("pair", self.pair, mdp.n_pairs), ("next_state", self.next_state, mdp.n_states)):
            if found.max() >= count:
                raise ParameterError(
                    f"transitions name {name} {found.max()}, but {mdp.name!r} has {count} of them, counted from 0; "
                    "give transitions of the MDP that is learned"
                )


@dataclass(frozen=True)
class Trajectory:
    """The learner's own walk, from episode to episode."""

    def __str__(self) -> str:
        return "trajectory"


@dataclass(frozen=True)
class Generative:
    """A model that can be asked for any pair: each step one pair, drawn uniformly from all.

    synchronous: whether a step asks for every pair once and moves all at once, from the estimates before the step.
    """

    synchronous: bool = False

    def __str__(self) -> str:
        return "generative, synchronous" if self.synchronous else "generative"


@dataclass(frozen=True, eq=False)
class Batch:
    """Stored transitions: each step one of them, drawn uniformly.

    in_order: whether they are taken in their order instead, again and again.
    """

    transitions: Transitions
    in_order: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.transitions, Transitions):
            raise ParameterError(
                f"transitions is a {type(self.transitions).__name__}, but a batch holds Transitions, for example those "
                "of draw_trajectory"
            )

    def __str__(self) -> str:
        return f"batch of {len(self.transitions)}{', in order' if self.in_order else ''}"


Experience = Trajectory | Generative | Batch


def draw_transitions(mdp: FiniteMDP, pairs: ArrayLike, seed: int) -> Transitions:
    """One transition of each of the given pairs, integers (n,), in their order.

    seed: from 0 to 2^63 - 1. The k-th transition is keyed by its place k, and is the one that a learner with that seed
    meets if it tries this pair in its update k, counted from 0. Raises ParameterError for pairs that do not exist, and
    MDPError for models that are not stored.
    """
    arguments = World(mdp).arguments
    pair = _whole("pairs", pairs, 0, mdp.n_pairs - 1).astype(np.int64)
    if pair.ndim != 1 or not len(pair):
        raise ParameterError(f"pairs has shape {pair.shape}, but it is a list of at least one pair, (n,)")
    pair = owned(np.ascontiguousarray(pair))
    reward, following = np.empty(len(pair)), np.empty(len(pair), dtype=np.int32)
    sample_pairs(_seed(seed), arguments, pair, reward, following)
    return Transitions(pair, reward, following)


def draw_trajectory(mdp: FiniteMDP, policy: ArrayLike | None, steps: int, seed: int) -> Transitions:
    """What a policy meets in so many steps, episode after episode, each from the start distribution.

    policy: None for uniform, or as in `as_stochastic`. steps: 1 to 100 million. seed: from 0 to 2^63 - 1; the
    transitions are those of learners with that seed that act alike. Raises ParameterError and MDPError.
    """
    arguments = World(mdp).arguments
    if not is_whole(steps, 1, _MOST_DRAWN):
        raise ParameterError(f"steps is {steps!r}, but a trajectory has a whole number of 1 to {_MOST_DRAWN} steps")
    law = uniform_policy(mdp) if policy is None else as_stochastic(mdp, policy)
    pair, reward, following = np.empty(steps, np.int64), np.empty(steps), np.empty(steps, dtype=np.int32)
    follow_policy(_seed(seed), arguments, *alias_table(mdp.state_ptr, law), pair, reward, following)
    return Transitions(pair, reward, following)


def _whole(name: str, given: Any, least: int, most: int) -> NDArray[Any]:
    array = np.asarray(given)
    if not np.issubdtype(array.dtype, np.integer):
        raise ParameterError(f"{name} has type {array.dtype}, but its entries are numbered; give integers")
    outside = np.argwhere((array < least) | (array > most))
    if len(outside):
        place = tuple(int(index) for index in outside[0])
        raise ParameterError(f"{name} holds {array[place]}, but its entries lie in {least} to {most}")
    return array


def _seed(seed: int) -> int:
    if not is_whole(seed, 0, 2**63 - 1):
        raise ParameterError(f"seed is {seed!r}, but it is a whole number from 0 to 2^63 - 1")
    return int(seed)
