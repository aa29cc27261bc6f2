"""The variance of the return, from a Bellman equation of its own: no law is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlbook.tabular.policies import induced_chain
from rlbook.tabular.policy_evaluation import evaluate_policy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP


def return_variance(mdp: FiniteMDP, policy: ArrayLike) -> NDArray[np.float64]:
    """Var(G | S_0 = s) of the discounted return under a policy, (S,), in squared units of return.

    With v the policy's value, and the continuing part of the last term alone,

        V(s) = Var(R + discount v(S') | s) + discount^2 E[V(S') | s]

    (Sobel, "The variance of discounted Markov decision processes", 1982; here the reward of each transition is that of
    the transition, not its expectation). It is the value of the policy's chain with the first term as its reward and
    discount^2 as its discount, and solved as one. policy: as in `as_stochastic`. Raises MDPError where the policy has
    no value (discount 1, and episodes that need not end).
    """
    chain = induced_chain(mdp, policy)
    only = np.zeros(chain.n_states, dtype=np.int32)
    values = evaluate_policy(chain, only).values
    lengths = np.diff(chain.row_ptr)
    paid = np.repeat(chain.expected_reward, lengths) if chain.reward is None else chain.reward
    share = chain.probability / np.repeat(np.add.reduceat(chain.probability, chain.row_ptr[:-1]), lengths)
    outcome = paid + np.where(chain.terminated, 0.0, chain.discount * values[chain.next_state])
    centred = outcome - np.repeat(np.add.reduceat(share * outcome, chain.row_ptr[:-1]), lengths)
    spread = np.add.reduceat(share * centred**2, chain.row_ptr[:-1])
    squares = chain.replace(expected_reward=spread, reward=None, discount=chain.discount**2)
    return np.maximum(evaluate_policy(squares, only).values, 0.0)
