"""The grid on which heads learn laws of the return, its exact laws, and the agents that learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.environments import make
from rlbook.tabular.distributional import DiscreteLaws, ExactLaws, pair_return_laws, return_laws, wasserstein
from rlbook.tabular.learning.truth import reachable_states

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.deep.algorithm import Algorithm
    from rlbook.deep.config import Config
    from rlbook.deep.environments import FiniteMDPEnvironment
    from rlbook.mdp import FiniteMDP

Head = Literal["C51", "QR-DQN", "DQN"]

_SIZE, _SLIP, _DISCOUNT = 5, 0.3, 0.9
_TIME_LIMIT = 50
_PLACES = 41
_EXACT = ExactLaws(max_atoms=400)
_LOWEST, _HIGHEST = -1.0, 1.0  # the goal pays 1, the pit takes 1, and for ever -0.02 is more than -1


@lru_cache(maxsize=1)
def head_mdp() -> FiniteMDP:
    """Five by five cells with a goal, a pit beside it, and ice: a move slips to one of its sides in 3 of 10 cases.

    Episodes start anywhere, so that all cells are learned.
    """
    mdp = make("gridworld", size=_SIZE, slip=_SLIP, discount=_DISCOUNT)
    comes = reachable_states(mdp)
    return mdp.replace(start=comes / comes.sum())


@lru_cache(maxsize=1)
def head_world() -> FiniteMDPEnvironment:
    """The same, for deep agents; made once, since a program is compiled for each world."""
    from rlbook.deep.environments import FiniteMDPEnvironment

    return FiniteMDPEnvironment(head_mdp(), time_limit=_TIME_LIMIT)


@dataclass(frozen=True, eq=False)
class HeadTruth:
    """Exact laws of the optimal policy's return, and what the best point masses leave of them.

    pairs: the law of each pair, (S A,), in the order of states and actions. best: the optimal action of each state,
    (S,). states: those where an agent can be, (n,). sure: Wasserstein-1 distance of the nearest point mass from the law
    of the best action, averaged over these states. missed: a bound on the error of that and of any distance.
    """

    pairs: DiscreteLaws
    best: NDArray[np.int32]
    states: NDArray[np.int64]
    sure: float
    missed: float


@lru_cache(maxsize=1)
def head_truth() -> HeadTruth:
    mdp = head_mdp()
    found = return_laws(mdp, _EXACT, tolerance=1e-4)
    states = np.flatnonzero(mdp.start)
    # Of all points the median is nearest in Wasserstein-1 distance.
    points = DiscreteLaws.point_masses(found.laws.quantiles([0.5])[:, 0])
    return HeadTruth(
        pairs=pair_return_laws(mdp, found.laws),
        best=np.asarray(found.policy, dtype=np.int32),
        states=states,
        sure=float(wasserstein(points, found.laws)[states].mean()),
        missed=float(found.wasserstein_bounds.max()),
    )


def head_agent(head: Head, learning_rate: float) -> tuple[Algorithm, Config]:
    """The agent and its configuration; the three differ in their heads alone."""
    from rlbook.deep import c51, dqn, qr_dqn

    common = {
        **{"learning_rate": learning_rate, "discount": _DISCOUNT, "first_width": 64, "second_width": 64},
        **{"train_every": 4, "batch_size": 32, "buffer_size": 20_000, "learning_starts": 500, "target_every": 50},
        **{"exploration_end": 0.1},
    }
    if head == "C51":
        return c51.ALGORITHM, c51.Config.parse({**common, "lowest": _LOWEST, "highest": _HIGHEST, "atoms": _PLACES})
    if head == "QR-DQN":
        # Errors beyond kappa count as for quantiles, and most of these are larger than a fiftieth of the range.
        return qr_dqn.ALGORITHM, qr_dqn.Config.parse({**common, "kappa": 0.04, "quantiles": _PLACES})
    return dqn.ALGORITHM, dqn.Config.parse(common)


def distances(atoms: NDArray[np.floating], mass: NDArray[np.floating]) -> NDArray[np.float64]:
    """Wasserstein-1 distances of believed laws, (..., S, A, k), from the exact ones, (..., S, A)."""
    pairs, places = head_truth().pairs, atoms.shape[-1]
    each = [
        wasserstein(laws_of(a, m), pairs)
        for a, m in zip(atoms.reshape(-1, pairs.n_laws, places), mass.reshape(-1, pairs.n_laws, places), strict=True)
    ]
    return np.array(each).reshape(atoms.shape[:-1])


def laws_of(atoms: NDArray[np.floating], mass: NDArray[np.floating]) -> DiscreteLaws:
    """Laws from single-precision atoms and masses, (n, k), whose sums are 1 but for rounding."""
    share = mass.astype(np.float64)
    return DiscreteLaws.from_arrays(atoms.astype(np.float64), share / share.sum(axis=-1, keepdims=True))
