"""The optimal value of a small MDP in exact rational arithmetic: an independent truth for every solver."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rlbook.mdp import FiniteMDP


def exact_optimal_values(mdp: FiniteMDP) -> list[Fraction]:
    """Policy iteration over the rationals, on the MDP of the stored doubles; ends with a proof of optimality.

    ArithmeticError where a policy comes back. At discount 1 rows of doubles may sum to a little more than 1, and where
    episodes hardly end, a policy can then have no value.
    """
    discount = Fraction(mdp.discount)
    rows = [_row(mdp, i) for i in range(mdp.n_pairs)]
    rewards = [Fraction(float(r)) for r in mdp.expected_reward]
    choice = [int(i) for i in mdp.state_ptr[:-1]]
    tried: set[tuple[int, ...]] = set()
    while True:
        if tuple(choice) in tried:
            raise ArithmeticError(f"the policy of pairs {choice} came back, so no values are optimal")
        tried.add(tuple(choice))
        values = _solve([rows[i] for i in choice], [rewards[i] for i in choice], discount)
        improved = False
        for s in range(mdp.n_states):
            for i in range(mdp.state_ptr[s], mdp.state_ptr[s + 1]):
                q = rewards[i] + discount * sum((p * values[t] for t, p in rows[i].items()), Fraction(0))
                if q > values[s] and i != choice[s]:
                    best = rewards[choice[s]] + discount * sum(
                        (p * values[t] for t, p in rows[choice[s]].items()), Fraction(0)
                    )
                    if q > best:
                        choice[s], improved = i, True
        if not improved:
            return values


def exact_policy_values(mdp: FiniteMDP, weight: np.ndarray) -> list[Fraction]:
    """The value over the rationals of a policy, one probability (a double) per pair."""
    rows: list[dict[int, Fraction]] = []
    rewards: list[Fraction] = []
    for s in range(mdp.n_states):
        row: dict[int, Fraction] = {}
        reward = Fraction(0)
        for i in range(mdp.state_ptr[s], mdp.state_ptr[s + 1]):
            share = Fraction(float(weight[i]))
            reward += share * Fraction(float(mdp.expected_reward[i]))
            for t, p in _row(mdp, i).items():
                row[t] = row.get(t, Fraction(0)) + share * p
        rows.append(row)
        rewards.append(reward)
    return _solve(rows, rewards, Fraction(mdp.discount))


def _row(mdp: FiniteMDP, pair: int) -> dict[int, Fraction]:
    row: dict[int, Fraction] = {}
    for k in range(mdp.row_ptr[pair], mdp.continuing_end[pair]):
        state = int(mdp.next_state[k])
        row[state] = row.get(state, Fraction(0)) + Fraction(float(mdp.probability[k]))
    return row


def _solve(rows: list[dict[int, Fraction]], rewards: list[Fraction], discount: Fraction) -> list[Fraction]:
    """Gaussian elimination on (I - discount P) v = r."""
    n = len(rows)
    matrix = [[Fraction(int(i == j)) - discount * rows[i].get(j, Fraction(0)) for j in range(n)] for i in range(n)]
    right = list(rewards)
    for i in range(n):
        pivot = next(k for k in range(i, n) if matrix[k][i] != 0)
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        right[i], right[pivot] = right[pivot], right[i]
        for k in range(i + 1, n):
            if matrix[k][i] != 0:
                factor = matrix[k][i] / matrix[i][i]
                for j in range(i, n):
                    matrix[k][j] -= factor * matrix[i][j]
                right[k] -= factor * right[i]
    for i in range(n - 1, -1, -1):
        right[i] = (right[i] - sum((matrix[i][j] * right[j] for j in range(i + 1, n)), Fraction(0))) / matrix[i][i]
    return right


def small_mdp(seed: int, discount: float, *, terminating: bool = False, hard: bool = False) -> FiniteMDP:
    """A random MDP of 1 to 4 states and 1 to 3 actions.

    terminating: some transitions end the episode. hard: rewards over twelve orders of magnitude, sparse, nearly
    deterministic and periodic rows.
    """
    rng = np.random.default_rng(seed)
    states, actions = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    concentration = 0.1 if hard else 1.0
    transition = rng.dirichlet(np.full(states, concentration), size=(states, actions))
    transition[transition < 1e-12] = 0.0
    if hard and rng.random() < 0.3:  # a cycle: nothing mixes
        transition[:] = np.eye(states)[(np.arange(states) + 1) % states][:, None, :]
    reward = rng.normal(size=(states, actions))
    if hard:
        reward *= 10.0 ** rng.integers(-6, 7, size=(states, actions))
        if actions > 1:  # nearly tied actions
            reward[:, 1] = reward[:, 0] * (1 + 1e-15)
            transition[:, 1] = transition[:, 0]
    ended = rng.random((states, actions, states)) < 0.3 if terminating else None
    return FiniteMDP.from_dense(transition, reward, discount, terminated=ended, normalise=True)
