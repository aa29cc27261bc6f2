"""Q-learning with experience replay: Lin, *Self-Improving Reactive Agents* (1992).

After every K environment steps the learner draws M stored transitions (s, a, r, s'), one after the other, and makes
the update of Q-learning with each, as if it were met now:

    Q(s, a) <- Q(s, a) + alpha (r + discount max_b Q(s', b) - Q(s, a)),      max = 0 where the episode ended

K (`every`: how often) and M (`updates`: how many) are the two parameters that Szlak & Shamir study, *Convergence
Results For Q-Learning With Experience Replay* (2021), of which only abstract and introduction could be read. M = 0 is
Q-learning, to the bit, and for any M the learner meets the
transitions that Q-learning would meet if it acted alike: replay draws by keys of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rlbook.errors import ParameterError, suggest
from rlbook.keyed_random import MOST_DRAWS, MOST_STEPS
from rlbook.mdp import owned
from rlbook.tabular.learning.learner import ControlLearner, Follow
from rlbook.tabular.learning.prioritised_replay import PrioritySettings
from rlbook.tabular.learning.replay_kernels import PRIORITISED, REVERSE, UNIFORM, replay_q_learning
from rlbook.tabular.learning.replay_memory import MOST_SLOTS, Eviction
from rlbook.tabular.policies import as_stochastic
from rlbook.tabular.sampling_tables import alias_table
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.learning.learner import World

Order = Literal["uniform", "reverse", "prioritised"]
_ORDERS: dict[Order, int] = {"uniform": UNIFORM, "reverse": REVERSE, "prioritised": PRIORITISED}
_MOST_TRANSITIONS = 2**31 - 1  # of a model: the memory keeps their numbers


@dataclass(frozen=True, eq=False)
class ReplayQLearning(ControlLearner):
    """Epsilon-greedy Q-learning with experience replay; the module's text has the update.

    every: K, environment steps from one replay to the next; the first comes after step K. updates: M, replayed updates
    each time; 0 for none. capacity: transitions that the memory keeps. eviction: "first in, first out" keeps the last,
    "reservoir" a uniform sample of all so far. order: "uniform" draws with replacement; "reverse" starts at the last
    transition and walks back, and again from the last once it is past the oldest; "prioritised" draws by the last
    temporal-difference error, as `priorities` says, and weighs steps by importance, to at most 1. batch: so many
    updates are drawn at once, and all their targets are computed before the first of them moves Q; then each moves its
    pair towards its own target, in turn. online: whether the step itself is learned from too.

    behaviour: the policy that exploratory actions are drawn from, as in `as_stochastic`; uniform by default. With
    exploration 1 it is the policy that acts.

    step_size: as in `ControlLearner`; replayed updates count as visits, so that 1 / n averages all targets that a pair
    was moved towards, and clocks of steps and episodes stand still during a replay. The record's "updates" counts
    online and replayed ones.
    """

    every: int = 1
    updates: int = 1
    capacity: int = 1_000_000
    eviction: Eviction = "first in, first out"
    order: Order = "uniform"
    batch: int = 1
    online: bool = True
    priorities: PrioritySettings = field(default_factory=PrioritySettings)
    behaviour: ArrayLike | None = None

    name = "Q-learning with replay"
    counts_updates = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least, most in (
            ("every", 1, MOST_STEPS - 1),
            ("updates", 0, MOST_DRAWS),
            ("capacity", 1, MOST_SLOTS),
            ("batch", 1, MOST_DRAWS),
        ):
            require_whole(name, getattr(self, name), least, most)
        for name, known in (("eviction", get_args(Eviction)), ("order", get_args(Order))):
            found = getattr(self, name)
            if found not in known:
                raise ParameterError(f"{name} {found!r} is unknown; {suggest(str(found), known)}")
        if self.order == "reverse" and self.eviction == "reservoir":
            raise ParameterError(
                "order is 'reverse', but a reservoir forgets in which order transitions came; use eviction "
                "'first in, first out'"
            )
        if not isinstance(self.priorities, PrioritySettings):
            raise ParameterError(f"priorities is {self.priorities!r}, but it must be PrioritySettings(...)")

    def prepare(self, world: World) -> Follow:
        arguments, schedules, initial = world.arguments, self.schedules, self.initial_values(world)
        replaying = self._replaying(world.mdp)

        def follow(seed: int, record: tuple[Any, ...]) -> int:
            return int(replay_q_learning(seed, arguments, *schedules, replaying, initial, record))

        return follow

    def _replaying(self, mdp: FiniteMDP) -> tuple[Any, ...]:
        """What the kernel reads, of type REPLAYING."""
        if mdp.n_transitions > _MOST_TRANSITIONS:
            raise ParameterError(
                f"the MDP has {mdp.n_transitions} transitions, but a memory numbers at most {_MOST_TRANSITIONS}; "
                "use a smaller one"
            )
        chosen = self.priorities
        return (
            int(self.every),
            int(self.updates),
            int(self.batch),
            int(self.capacity),
            self.eviction == "reservoir",
            _ORDERS[self.order],
            bool(self.online),
            *(float(chosen.alpha), float(chosen.beta), float(chosen.eps)),
            bool(chosen.stratified),
            chosen.reference,
            owned(np.repeat(np.arange(mdp.n_pairs, dtype=np.int32), np.diff(mdp.row_ptr))),
            *self._law(mdp),
        )

    def _law(self, mdp: FiniteMDP) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        if self.behaviour is None:
            return owned(np.empty(0)), owned(np.empty(0, np.int32))
        return alias_table(mdp.state_ptr, as_stochastic(mdp, self.behaviour))
