"""Concentrability: how much more often than the data some policy visits a state, exactly, on a finite MDP.

Data follow a law mu over states, or over state-action pairs. Errors that are small under mu are small where it matters
if no policy's visits outweigh mu by much. For a start law nu,

    c(m) = max over policies pi_1, ..., pi_m and entries x of (nu P^pi_1 ... P^pi_m)(x) / mu(x)

is how much they can outweigh it at step m (Munos 2003 for policy iteration; Munos & Szepesvari 2008 for fitted value
iteration; over pairs, Antos, Munos & Szepesvari 2008). The bounds of fitted value iteration scale with discounted
averages of it, the first as errors enter once, the second as they enter through values that were learnt themselves:

    (1 - discount) sum_{m>=0} discount^m c(m)        (1 - discount)^2 sum_{m>=1} m discount^(m-1) c(m)

Chen & Jiang (2019), assumption 1, ask for one number C with nu_h(s, a) / mu(s, a) <= C for every step h and every
policy that need not be stationary: the largest of all c(m). Farahmand, Munos & Szepesvari (2010) replace the largest
ratio by its second moment under mu, whose maximum over policies is a maximum of a convex function and has no such
recursion; it lies below, since E_mu[ratio^2] <= c(m). The definitions are given from memory of the papers.

The maximum over policies is a dynamic program for each state x: h_0 = 1{x}, h_{j+1}(s) = max_a sum p(s'|s, a) h_j(s')
is the greatest chance to be in x after j + 1 steps, and nu h_m / mu(x) the ratio. All x are done at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlbook.errors import ParameterError
from rlbook.tabular.learning.learner import as_array
from rlbook.tabular.occupancy import occupancy_measure, start_weights
from rlbook.tabular.policy_rows import require_stored
from rlbook.whole_numbers import is_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

MOST_STATES = 3000  # a table of states by states is kept


@dataclass(frozen=True, eq=False)
class Concentrability:
    """What policies' visits can outweigh the data by, for steps m = 0, 1, ..., M.

    per_step: c(m), float64 (M + 1,), at least 0, inf where the data lack what a policy reaches; c(0) compares the start
    itself. entry: the state, or pair, where the ratio is greatest, int64 (M + 1,). later: a bound on c(m) for all
    m > M. discount: of the MDP.
    """

    per_step: NDArray[np.float64]
    entry: NDArray[np.int64]
    later: float
    discount: float

    @property
    def worst(self) -> tuple[float, float]:
        """Bounds on the largest c(m) over all m: Chen & Jiang's coefficient, from the steps computed and beyond."""
        computed = float(self.per_step.max())
        return computed, max(computed, self.later)

    @property
    def first_order(self) -> tuple[float, float]:
        """Bounds on (1 - discount) sum_{m>=0} discount^m c(m); equal once enough steps are computed."""
        g, m = self._discount(), np.arange(len(self.per_step))
        return self._enclosed(np.asarray((1.0 - g) * g**m, dtype=np.float64), g ** len(m))

    @property
    def second_order(self) -> tuple[float, float]:
        """Bounds on (1 - discount)^2 sum_{m>=1} m discount^(m-1) c(m) (Munos & Szepesvari 2008)."""
        g, m, last = self._discount(), np.arange(len(self.per_step)), len(self.per_step) - 1
        weight = np.append(0.0, (1.0 - g) ** 2 * m[1:] * g ** (m[1:] - 1.0))
        return self._enclosed(weight, g**last * (1.0 + last * (1.0 - g)))

    def _enclosed(self, weight: NDArray[np.float64], beyond: float) -> tuple[float, float]:
        some = weight > 0
        low = float(weight[some] @ self.per_step[some])
        return low, low + beyond * self.later if beyond > 0 else low

    def _discount(self) -> float:
        if self.discount >= 1.0:
            raise ParameterError(
                "discount is 1, but discounted averages need one below 1; read per_step or worst, or lower the discount"
            )
        return self.discount


def concentrability(
    mdp: FiniteMDP, data: ArrayLike, start: ArrayLike | None = None, *, steps: int = 50
) -> Concentrability:
    """c(m) for m = 0..steps over all policies, which may change from step to step.

    data: the law mu of the data, over states (S,) or over pairs (pairs,); weights that are divided by their sum. start:
    the law nu, over states, or over pairs (then the first action is given and policies choose from step 1 on, as where
    fitted Q iteration is analysed); `mdp.start` by default. An episode that has ended is nowhere. Takes steps + 1
    products of the transition matrix with a table of states by states. Raises ParameterError for weights out of range
    or more than 3,000 states.
    """
    require_stored(mdp, "concentrability")
    if mdp.n_states > MOST_STATES:
        raise ParameterError(
            f"mdp has {mdp.n_states:,} states, but concentrability keeps a table of states by states for at most "
            f"{MOST_STATES:,}; take a smaller model"
        )
    if not is_whole(steps):
        raise ParameterError(f"steps is {steps!r}, but steps are counted from 0; give a whole number, 0 or more")
    mu = _law(mdp, data, "data")
    nu = _law(mdp, mdp.start if start is None else start, "start")
    first = mdp.state_ptr[:-1]
    if len(mu) == mdp.n_states:
        least, where = mu, np.arange(mdp.n_states)
    else:  # whoever reaches a state may take the action that the data hold least of
        least, where = _least_pair(mdp, mu)
    matrix = mdp.continuing_matrix()
    lag = 0 if len(nu) == mdp.n_states else 1  # steps that policies have no say in
    law = nu if lag == 0 else matrix.T @ nu
    per_step, entry = np.empty(steps + 1), np.empty(steps + 1, dtype=np.int64)
    reach = np.eye(mdp.n_states)  # [s, x]: the greatest chance to go from s to x in m - lag steps
    for m in range(steps + 1):
        if m < lag:
            ratio, place = _ratio(nu if len(mu) == len(nu) else np.add.reduceat(nu, first), mu), np.arange(len(mu))
        else:
            ratio, place = _ratio(law @ reach, least), where
            reach = np.maximum.reduceat(matrix @ reach, first, axis=0)
        best = int(ratio.argmax())
        per_step[m], entry[m] = ratio[best], place[best]
    later = float(_ratio(reach.max(axis=0), least).max())
    return Concentrability(per_step, entry, later, mdp.discount)


def policy_concentrability(
    mdp: FiniteMDP, policy: ArrayLike, data: ArrayLike, start: ArrayLike | None = None
) -> NDArray[np.float64]:
    """d_pi / mu for each pair, (pairs,): how one policy's discounted visits outweigh the data; its maximum is C^pi.

    d_pi(s, a) = (1 - discount) sum_t discount^t Pr(s_t = s, a_t = a). data: the law mu over pairs, (pairs,), weights
    that are divided by their sum. policy: as in `as_stochastic`. Entries are inf where the data lack a pair that the
    policy takes, and 0 where neither has it. Raises ParameterError at discount 1.
    """
    require_stored(mdp, "policy_concentrability")
    if mdp.discount >= 1.0:
        raise ParameterError("discount is 1, but discounted visits need one below 1; lower the discount")
    mu = _law(mdp, data, "data")
    if len(mu) != mdp.n_pairs:
        raise ParameterError(f"data has {len(mu)} weights; give one for each of {mdp.n_pairs} pairs")
    nu = start_weights(mdp, start)
    visits = (1.0 - mdp.discount) * occupancy_measure(mdp, policy, nu / nu.sum())
    return _ratio(visits, mu)


def _law(mdp: FiniteMDP, given: ArrayLike, name: str) -> NDArray[np.float64]:
    weights = as_array(name, given)
    if weights.shape not in ((mdp.n_states,), (mdp.n_pairs,)):
        raise ParameterError(
            f"{name} has shape {weights.shape}; give one weight for each of {mdp.n_states} states, or of {mdp.n_pairs} "
            "pairs"
        )
    if not np.all(np.isfinite(weights)) or weights.min() < 0 or weights.sum() <= 0:
        raise ParameterError(f"{name} must hold finite weights, none negative and not all zero")
    return np.asarray(weights / weights.sum())


def _least_pair(mdp: FiniteMDP, mu: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each state the smallest weight of its pairs, and the first pair that has it."""
    first = mdp.state_ptr[:-1]
    least = np.minimum.reduceat(mu, first)
    at = np.where(mu == least[mdp.pair_state], np.arange(mdp.n_pairs), mdp.n_pairs)
    return least, np.minimum.reduceat(at, first)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """above / below, where 0 / 0 is 0 and anything else over 0 is inf."""
    empty = below == 0
    ratio = above / np.where(empty, 1.0, below)
    ratio[empty] = np.where(above[empty] > 0, np.inf, 0.0)
    return np.asarray(ratio)
