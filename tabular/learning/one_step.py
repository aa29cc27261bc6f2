"""What learners share that move one action value by one transition: where the transition comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.learning.experience import Batch, Experience, Generative, Trajectory
from rlbook.tabular.learning.learner import ControlLearner, Follow
from rlbook.tabular.learning.one_step_kernels import EXPECTED, SAMPLED, one_step_updates

if TYPE_CHECKING:
    from rlbook.kernel import Kernel
    from rlbook.tabular.learning.learner import World

NO_BATCH = (owned(np.empty(0, np.int64)), owned(np.empty(0)), owned(np.empty(0, np.int32)))
"""What kernels read as the batch of a learner that has none, of type TRANSITIONS."""


def require_steps(experience: Experience, record: tuple[Any, ...]) -> None:
    """Raise ParameterError where a record, of type RECORD, counts episodes of a learner that does not walk."""
    if record[1]:
        raise ParameterError(
            f"episodes cannot be counted where experience is {experience}, since nobody walks; give steps"
        )


@dataclass(frozen=True, eq=False)
class OneStepLearner(ControlLearner):
    """Fields that one-step learners share, beyond those of `ControlLearner`.

    experience: the learner's own walk, `Trajectory()`; a `Generative()` model; or a `Batch(transitions)`. Without a
    walk there are no episodes and no visits of states, so schedules count steps or visits of pairs; exploration then
    only says which policy SARSA and expected SARSA learn the values of, and the record's reward is the sum over the
    transitions that were learned from.
    """

    experience: Experience = field(default_factory=Trajectory)

    rule: ClassVar[int]
    walk: ClassVar[Kernel]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.experience, get_args(Experience)):
            raise ParameterError(
                f"experience is {self.experience!r}, but it must be Trajectory(), Generative() or Batch(transitions)"
            )

    def prepare(self, world: World) -> Follow:
        schedules, initial, arguments = self.schedules, self.initial_values(world), world.arguments
        if isinstance(self.experience, Trajectory):

            def follow(seed: int, record: tuple[Any, ...]) -> int:
                return int(self.walk(seed, arguments, *schedules, initial, record))

            return follow
        source = self._source(world, self.experience)

        def learn(seed: int, record: tuple[Any, ...]) -> int:
            require_steps(self.experience, record)
            return int(one_step_updates(seed, arguments, self.rule, *source, *schedules, initial, record))

        return learn

    def _source(self, world: World, experience: Generative | Batch) -> tuple[bool, bool, tuple[Any, ...]]:
        """Whether all pairs move at once, whether a batch is read in order, and the batch: as the kernel takes them."""
        chooses = self.rule in (SAMPLED, EXPECTED)
        for name, wrong in (("step_size", ("episodes",)), ("exploration", ("episodes", "visits") if chooses else ())):
            schedule = getattr(self, name)
            if schedule.clock in wrong:
                raise ParameterError(
                    f"{name} counts {schedule.clock}, but nobody walks where experience is {experience}; "
                    'give the schedule clock="steps"'
                )
        if isinstance(experience, Generative):
            return experience.synchronous, False, NO_BATCH
        if self.rule == SAMPLED:
            raise ParameterError(
                f"experience is {experience}, but {self.name} learns from the action that it takes next, which stored "
                "transitions do not hold; use ExpectedSarsa, which needs none"
            )
        experience.transitions.check(world.mdp)
        return False, experience.in_order, experience.transitions.arguments
