"""What learners of return laws share: a representation, and the experience that moves the laws.

They are learners as all others: `replicate` runs them, over seeds and grids. Their estimates are the means of the kept
laws (for some control learners a distorted mean), and with `keep="laws"` the record holds the parameters of all laws:

    learner = QuantileTD(Quantiles(51))
    found = replicate(mdp, learner, range(20), steps=100_000, truth=None, keep="laws")
    found["parameters"]                             # (seed, checkpoint, state, parameter)
    learner.laws_of(found["parameters"][0, -1])     # the laws of all states that seed 0 learned
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

import numpy as np

from rlbook.errors import ParameterError
from rlbook.mdp import owned
from rlbook.tabular.distributional.law_learning_kernels import law_updates, law_walk
from rlbook.tabular.distributional.laws import DiscreteLaws
from rlbook.tabular.distributional.representation import Representation
from rlbook.tabular.distributional.risk_measures import Distortion, ExpectedShortfall, Mean
from rlbook.tabular.learning.experience import Batch, Experience, Generative, Trajectory, Transitions
from rlbook.tabular.learning.learner import Follow, World, initial_estimates
from rlbook.tabular.learning.one_step import NO_BATCH, OneStepLearner, require_steps
from rlbook.tabular.learning.one_step_kernels import GREEDY
from rlbook.tabular.learning.prediction import PredictionLearner, policy_weights
from rlbook.tabular.learning.schedules import as_schedule, constant

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

R = TypeVar("R", bound=Representation)

_WATCHES = constant(0.0).arguments


@dataclass(frozen=True, eq=False)
class _LawLearner(ABC, Generic[R]):
    """Keeps one law for each entry, a state or a pair, in a representation."""

    representation: R

    needs: ClassVar[type]

    @property
    def n_parameters(self) -> int:
        """Numbers per law."""
        return self.representation.n_parameters

    def laws_of(self, parameters: ArrayLike) -> DiscreteLaws:
        """The laws that recorded parameters, (n, n_parameters), stand for."""
        return self.representation.laws(np.ascontiguousarray(parameters, dtype=np.float64))

    @abstractmethod
    def _rule(self) -> tuple[Any, ...]:
        """What kernels read of type LAWS, but for the laws to begin with."""

    def _check_representation(self) -> None:
        if not isinstance(self.representation, self.needs):
            raise ParameterError(
                f"representation is {self.representation!r}, but this learner keeps laws as {self.needs.__name__}; "
                f"give one, for example {_EXAMPLES[self.needs.__name__]}"
            )

    def _first(self, initial: ArrayLike | DiscreteLaws, entries: int, of: str) -> NDArray[np.float64]:
        """The laws to begin with, (entries, m), as kernels read them."""
        if not isinstance(initial, DiscreteLaws):
            initial = DiscreteLaws.point_masses(initial_estimates(initial, entries, of))
        if initial.n_laws != entries:
            raise ParameterError(f"initial holds {initial.n_laws} laws; give one for each of {entries} {of}")
        return owned(np.ascontiguousarray(self.representation.project(initial), dtype=np.float64))


_EXAMPLES = {
    "Categorical": "Categorical.uniform(-10.0, 10.0, 51)",
    "Quantiles": "Quantiles(51)",
    "Expectiles": "Expectiles(11)",
    "CosineQuantiles": "CosineQuantiles(features=16)",
}


@dataclass(frozen=True, eq=False)
class LawPrediction(PredictionLearner, _LawLearner[R]):
    """Fields of learners of the return laws of a policy, one law per state, beside those of `PredictionLearner`.

    representation: how laws are kept. initial: the laws to begin with, or values at which they are point masses; they
    are projected. experience: the policy's own walk, `Trajectory()`; `Generative()`, where the policy acts in states
    that are drawn uniformly, or in all at once; or a `Batch(transitions)`, whose actions the policy must have drawn: no
    importance ratios mend others, and pairs that the policy never takes are refused. On a walk it meets the transitions
    that `TD` meets with the same seed. Raises ParameterError for representations of another kind.
    """

    initial: ArrayLike | DiscreteLaws = 0.0  # type: ignore[assignment]
    experience: Experience = field(default_factory=Trajectory)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_representation()
        if not isinstance(self.experience, get_args(Experience)):
            raise ParameterError(
                f"experience is {self.experience!r}, but it must be Trajectory(), Generative() or Batch(transitions)"
            )

    def prepare(self, world: World) -> Follow:
        chain, schedule = self.chain(world).arguments, self.schedule
        laws = (*self._rule(), self._first(self.initial, world.mdp.n_states, "states"))
        if isinstance(self.experience, Trajectory):

            def follow(seed: int, record: tuple[Any, ...]) -> int:
                return int(law_walk(seed, chain, laws, schedule, _WATCHES, record))

            return follow
        source = self._source(world, self.experience)

        def learn(seed: int, record: tuple[Any, ...]) -> int:
            require_steps(self.experience, record)
            return int(law_updates(seed, chain, laws, *source, schedule, record))

        return learn

    def _source(self, world: World, experience: Generative | Batch) -> tuple[bool, bool, tuple[Any, ...]]:
        """Whether all states move at once, whether a batch is read in order, and the batch, by states."""
        if as_schedule("step_size", self.step_size).clock == "episodes":
            raise ParameterError(
                f"step_size counts episodes, but nobody walks where experience is {experience}; "
                'give the schedule clock="steps"'
            )
        if isinstance(experience, Generative):
            return experience.synchronous, False, NO_BATCH
        stored = experience.transitions
        stored.check(world.mdp)
        never = stored.pair[policy_weights(world.mdp, self.policy)[stored.pair] == 0]
        if len(never):
            state, action = int(world.mdp.pair_state[never[0]]), int(world.mdp.action[never[0]])
            raise ParameterError(
                f"the batch takes action {action} in state {state}, which policy never does; draw it by the policy, "
                "with draw_trajectory(mdp, policy, ...)"
            )
        by_state = Transitions(world.mdp.pair_state[stored.pair].astype(np.int64), stored.reward, stored.next_state)
        return False, experience.in_order, by_state.arguments


@dataclass(frozen=True, eq=False)
class LawControl(OneStepLearner, _LawLearner[R]):
    """Fields of Q-learners that keep the law of the return of each pair, beside those of `OneStepLearner`.

    representation: how laws are kept. measure: what actions are greedy in, in the learner's walk and in its targets,
    and what it records as estimates: the mean, or a distorted mean, in units of return. initial: the laws to begin
    with, or values at which they are point masses; they are projected. Among actions that are best the first one leads
    the targets. A policy that is greedy in a distorted mean need not be the best one for the distorted mean of the
    return from the start, which no policy that looks at the state alone need reach. Raises ParameterError for what is
    of another kind.
    """

    initial: ArrayLike | DiscreteLaws = 0.0  # type: ignore[assignment]
    measure: Mean | ExpectedShortfall | Distortion = field(default_factory=Mean)

    rule: ClassVar[int] = GREEDY  # of the targets, as one-step learners name it

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_representation()
        if not isinstance(self.measure, Mean | ExpectedShortfall | Distortion):
            raise ParameterError(
                f"measure is {self.measure!r}, but actions are greedy in Mean(), ExpectedShortfall(level), or a "
                "distortion: Wang(eta), CPW(eta) or Power(eta)"
            )

    def prepare(self, world: World) -> Follow:
        (step_size, exploration), arguments = self.schedules, world.arguments
        laws = (*self._rule(), self._first(self.initial, world.mdp.n_pairs, "pairs"))
        if isinstance(self.experience, Trajectory):

            def follow(seed: int, record: tuple[Any, ...]) -> int:
                return int(law_walk(seed, arguments, laws, step_size, exploration, record))

            return follow
        source = self._source(world, self.experience)

        def learn(seed: int, record: tuple[Any, ...]) -> int:
            require_steps(self.experience, record)
            return int(law_updates(seed, arguments, laws, *source, step_size, record))

        return learn


def distorted_levels(
    measure: Mean | ExpectedShortfall | Distortion, levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much of the mass up to each level, in [0, 1], a measure gives to what lies there: rising from 0 to 1."""
    if isinstance(measure, Mean):
        return levels
    if isinstance(measure, ExpectedShortfall):
        return np.minimum(levels / measure.level, 1.0)
    return measure.inverse(levels)
