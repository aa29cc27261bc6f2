"""What linear learners share: features, the policy that is asked about, and the one that moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlbook.errors import MDPError, ParameterError
from rlbook.kernel import float64, reads
from rlbook.tabular.approximation.features import LinearFeatures, Of
from rlbook.tabular.learning.learner import Estimates, World, initial_estimates
from rlbook.tabular.learning.prediction import followed_chain, policy_weights
from rlbook.tabular.learning.records import Keep, Records
from rlbook.tabular.learning.schedules import Schedule, as_schedule
from rlbook.tabular.policy_rows import require_stored
from rlbook.tabular.stopping import cancel_flag
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

# What kernels of state values read beside the world: chances of behaviour's actions, importance ratios, features.
WALK = (reads(float64), reads(float64), reads(float64, 2))


_MOST_STEPS = 2**62


@dataclass(frozen=True, eq=False)
class LinearLearner:
    """Fields that all linear learners share; estimates are Phi w, and +inf once a weight exceeds 1e100 in magnitude.

    features: Phi. initial: weights to begin with, one number or (d,).
    """

    features: LinearFeatures
    initial: ArrayLike = 0.0

    counts_updates: ClassVar[bool] = False
    needs: ClassVar[Of]

    def __post_init__(self) -> None:
        if not isinstance(self.features, LinearFeatures) or self.features.of != self.needs:
            known = isinstance(self.features, LinearFeatures)
            found = f"LinearFeatures of {self.features.of}" if known else type(self.features).__name__
            raise ParameterError(
                f"features is {found}, but this learner needs LinearFeatures of {self.needs}; make them with "
                f"one_hot(mdp, {self.needs!r}), for example"
            )

    @property
    def initial_weights(self) -> NDArray[np.float64]:
        """The first weights of every replicate, (d,), read-only."""
        return initial_estimates(self.initial, self.features.n_features, "weights")


@dataclass(frozen=True, eq=False)
class LinearPrediction(LinearLearner):
    """Fields that linear learners of state values share, beside those of `LinearLearner`.

    step_size: alpha, a number in [0, 1] or a schedule; visits are those of the state that moves. policy: whose values
    are learnt, as in `as_stochastic`; None draws all actions equally often. behaviour: the policy that moves, if it is
    another one; it must take every action that `policy` takes, and each step is then weighted with the importance ratio
    rho = policy / behaviour of its action. Without it the learner meets the same transitions as `TD` does for the same
    seed.
    """

    step_size: Schedule | float = 0.1
    policy: ArrayLike | None = None
    behaviour: ArrayLike | None = None

    estimates: ClassVar[Estimates] = "state"
    needs: ClassVar[Of] = "states"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "step_size", as_schedule("step_size", self.step_size))

    @property
    def schedule(self) -> tuple[Any, ...]:
        """The step size as kernels read it."""
        return as_schedule("step_size", self.step_size).arguments

    def walk(self, world: World) -> tuple[Any, ...]:
        """The world that is walked, and what WALK says; raises ParameterError or MDPError where they do not fit."""
        mdp = world.mdp
        require_stored(mdp, "learning")
        self.features.check(mdp)
        target = policy_weights(mdp, self.policy)
        if self.behaviour is None:
            chain = followed_chain(mdp, target.tobytes())
            ones = _frozen(np.ones(mdp.n_states))
            return chain.arguments, ones, ones, self.features.matrix
        try:
            behaviour = policy_weights(mdp, self.behaviour)
        except MDPError as error:
            raise ParameterError(f"behaviour does not fit: {error}") from None
        missed = np.flatnonzero((behaviour == 0) & (target > 0))
        if len(missed):
            state, action = int(mdp.pair_state[missed[0]]), int(mdp.action[missed[0]])
            raise ParameterError(
                f"behaviour never takes action {action} in state {state}, but policy does; give it a positive chance"
            )
        ratio = np.divide(target, behaviour, out=np.zeros_like(target), where=behaviour > 0)
        return world.arguments, _frozen(behaviour), _frozen(ratio), self.features.matrix


@dataclass(frozen=True, eq=False)
class LinearControl(LinearLearner):
    """Fields that linear learners of action values share, beside those of `LinearLearner`.

    exploration: epsilon, the chance of an action drawn uniformly, a number or a schedule; visits are those of the
    state.
    """

    exploration: Schedule | float = 0.1

    estimates: ClassVar[Estimates] = "action"
    needs: ClassVar[Of] = "pairs"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "exploration", as_schedule("exploration", self.exploration))

    @property
    def epsilon(self) -> tuple[Any, ...]:
        """The exploration as kernels read it."""
        return as_schedule("exploration", self.exploration).arguments

    def arguments(self, world: World) -> tuple[Any, ...]:
        """World and features as kernels read them; raises ParameterError or MDPError where they do not fit."""
        require_stored(world.mdp, "learning")
        self.features.check(world.mdp)
        return world.arguments, self.features.matrix


@dataclass(frozen=True, eq=False)
class LinearQLearner(LinearControl):
    """Fields that linear Q-learners share, beside those of `LinearControl`.

    step_size: alpha, a number in [0, 1] or a schedule; visits are those of the pair that moves.
    """

    step_size: Schedule | float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "step_size", as_schedule("step_size", self.step_size))

    @property
    def schedules(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Step size and exploration as kernels read them."""
        return as_schedule("step_size", self.step_size).arguments, self.epsilon


def own_record(mdp: FiniteMDP, marks: ArrayLike, keep: Keep = "estimates") -> tuple[Records, tuple[Any, ...]]:
    """Room for one learner of action values, and what its kernel writes into; for results that `replicate` lacks.

    marks: steps at which it writes, whole numbers that increase from 1; raises ParameterError for others.
    """
    asked = np.asarray(marks)
    whole = asked.ndim == 1 and len(asked) > 0 and all(is_whole(mark, 1, _MOST_STEPS) for mark in asked)
    if not whole or np.any(np.diff(asked) < 1):
        raise ParameterError(f"marks are {marks!r}, but they are numbers of steps that increase from 1")
    at = asked.astype(np.int64)
    at.setflags(write=False)
    records = Records(1, at, False, int(at[-1]), _frozen(np.empty(0)), mdp.n_pairs, keep, cancel_flag(None))
    return records, records.of(0)


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.array(array, dtype=np.float64)
    array.setflags(write=False)
    return array
