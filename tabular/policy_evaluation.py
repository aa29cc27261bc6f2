"""The value of a policy: a sparse direct solve, refined and certified on the policy's own operator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.bellman import action_values
from rlbook.tabular.certificate import Contraction
from rlbook.tabular.policies import as_stochastic, induced_chain
from rlbook.tabular.solution import History, Solution

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from rlbook.mdp import FiniteMDP


def evaluate_policy(mdp: FiniteMDP, policy: ArrayLike) -> Solution:
    """The value of a policy by a sparse direct solve of (I - discount P) v = r, with certified bounds.

    policy: as in `as_stochastic`. At discount 1 the policy's episodes must end. The solve is refined on the residual of
    the policy's own operator, sum_a pi(a|s) q(s, a), until the bounds stop improving, so `reason` is "rounding floor".
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import splu

    started = time.perf_counter()
    weight = as_stochastic(mdp, policy)
    chain = induced_chain(mdp, weight)
    contraction = Contraction.of_policy(mdp, weight, chain)
    factors = splu(sp.eye_array(mdp.n_states, format="csc") - mdp.discount * sp.csc_array(chain.continuing_matrix()))
    best = candidate = factors.solve(chain.expected_reward)
    gaps: list[float] = []
    changes: list[tuple[float, float, float, float]] = []
    shifts = (-np.inf, np.inf)
    while True:
        change = np.add.reduceat(weight * action_values(mdp, candidate), mdp.state_ptr[:-1]) - candidate
        least, greatest, magnitude = float(change.min()), float(change.max()), float(np.abs(candidate).max())
        found = contraction.shifts(least, greatest, magnitude)
        gap = contraction.gap(found, magnitude)
        if gaps and not gap < 0.9 * gaps[-1]:
            break
        best, shifts = candidate, found
        gaps.append(gap)
        changes.append((least, greatest, time.perf_counter() - started, float(len(gaps))))
        candidate = candidate + factors.solve(change)
    lower, upper = contraction.bounds(best, shifts)
    likeliest = [int(a + np.argmax(weight[a:b])) for a, b in zip(mdp.state_ptr[:-1], mdp.state_ptr[1:], strict=True)]
    return Solution(
        mdp=mdp,
        method="sparse direct solve",
        values=lower + (upper - lower) / 2,
        lower=lower,
        upper=upper,
        policy=mdp.action[likeliest],
        iterations=len(gaps),
        seconds=time.perf_counter() - started,
        tolerance=0.0,
        reason="rounding floor",
        history=History(np.array(gaps), *np.array(changes).T),
    )
