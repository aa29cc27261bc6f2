"""On a finite MDP an agent is graded against the exact solution of the same problem, by its own discount.

    error = q(s, a) - q*(s, a),    bias = mean_s [max_a q(s, a) - v*(s)],    regret = v*(start) - v^greedy(start)

over the states that some policy visits; regret is exact, for the policy that is greedy in the agent's values.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rlbook.deep.algorithm import Algorithm
from rlbook.deep.config import Config
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.errors import MDPError, ParameterError

if TYPE_CHECKING:
    from jaxtyping import Array, Float
    from numpy.typing import NDArray


class Oracle:
    """Exact values of one environment, for agents of one algorithm."""

    def __init__(self, environment: FiniteMDPEnvironment, algorithm: Algorithm, config: Config) -> None:
        """Solve the MDP by the discount of `config`; raises MDPError where it has no solution, as at discount 1."""
        from rlbook.tabular.learning.truth import optimal_truth

        mdp = environment.mdp
        self._environment, self._algorithm, self._config = environment, algorithm, config
        self._mdp = mdp.replace(discount=float(getattr(config, "discount", mdp.discount)))
        self._q = optimal_truth(self._mdp).reshape(mdp.n_states, mdp.n_actions)
        self._visited = ~np.isnan(self._q[:, 0])
        if self._mdp.discount == 1:
            from rlbook.tabular import solve

            self._ending = solve(self._mdp).policy
        self._best = float(mdp.start[self._visited] @ self._q.max(axis=1)[self._visited])

    @classmethod
    def of(cls, environment: Any, algorithm: Algorithm, config: Config) -> Oracle | None:
        """The oracle of a finite MDP; None for other environments and for algorithms without action values.

        Raises ParameterError where states differ in their actions, since no agent here minds that, and MDPError.
        """
        if not isinstance(environment, FiniteMDPEnvironment):
            return None
        mdp = environment.mdp
        if mdp.n_pairs != mdp.n_states * mdp.n_actions:
            raise ParameterError(
                f"not all actions of {environment.name} are available in all of its states, but deep agents choose "
                f"among all {mdp.n_actions}; take another environment, or learn this one with rlbook.tabular"
            )
        return None if algorithm.action_values is None else cls(environment, algorithm, config)

    def action_values(self, state: Any) -> NDArray[np.float64]:
        """The agent's action values of every state, (S, A)."""
        seen = self._environment.observe_all()
        return np.asarray(_values(self._algorithm, self._config, state, seen), dtype=np.float64)

    def judge(self, state: Any) -> dict[str, float]:
        """q_error, q_rms_error, bias and regret of an agent; NaN where its values are no numbers.

        Regret is NaN too where the greedy policy has no value, since at discount 1 its episode may never end.
        """
        q = self.action_values(state)
        if not np.isfinite(q).all():
            return dict.fromkeys(("q_error", "q_rms_error", "bias", "regret"), np.nan)
        error = (q - self._q)[self._visited]
        over = (q.max(axis=1) - self._q.max(axis=1))[self._visited]
        return {
            "q_error": float(np.abs(error).max()),
            "q_rms_error": float(np.sqrt(np.mean(error**2))),
            "bias": float(over.mean()),
            "regret": self._best - self._value_at_start(q.argmax(axis=1)),
        }

    def _value_at_start(self, policy: NDArray[np.int64]) -> float:
        from rlbook.tabular import evaluate_policy
        from rlbook.tabular.learning.truth import reachable_states
        from rlbook.tabular.policies import induced_chain

        if self._mdp.discount < 1:
            return float(evaluate_policy(self._mdp, policy).value_at_start)
        # What it would do where it never comes must not keep its value from being known.
        comes = reachable_states(induced_chain(self._mdp, policy))
        try:
            return float(evaluate_policy(self._mdp, np.where(comes, policy, self._ending)).value_at_start)
        except MDPError:
            return np.nan


@partial(jax.jit, static_argnums=0)
def _values(algorithm: Algorithm, config: Config, state: Any, seen: Float[Array, "S d"]) -> Float[Array, "S A"]:
    assert algorithm.action_values is not None
    return jax.vmap(partial(algorithm.action_values, config, state))(seen)
