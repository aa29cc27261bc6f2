"""Small worlds whose numbers are short binary fractions, so that return laws of a few steps are exact in doubles."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.distributional import DiscreteLaws

Law = dict[Fraction, Fraction]


@st.composite
def dyadic_worlds(draw: st.DrawFn) -> FiniteMDP:
    """1 to 3 states, ragged actions, quarters as probabilities, rewards that vary within a pair, some endings."""
    states = draw(st.integers(1, 3))
    outcome = st.tuples(st.integers(0, states - 1), st.integers(-2, 2), st.booleans())
    pair = st.lists(outcome, min_size=1, max_size=4).map(
        lambda found: [(share, *one) for share, one in zip(_SHARES[len(found)], found, strict=True)]
    )
    choices = st.dictionaries(st.integers(0, 2), pair, min_size=1, max_size=2)
    outcomes = draw(st.lists(choices, min_size=states, max_size=states))
    return from_transitions(outcomes, draw(st.sampled_from([0.0, 0.5, 0.75, 1.0])))


_SHARES = {1: [1.0], 2: [0.25, 0.75], 3: [0.5, 0.25, 0.25], 4: [0.25] * 4}


@st.composite
def dyadic_policies(draw: st.DrawFn, mdp: FiniteMDP) -> np.ndarray:
    """One probability per pair, quarters."""
    weights = []
    for s in range(mdp.n_states):
        if mdp.state_ptr[s + 1] - mdp.state_ptr[s] == 1:
            weights.append(1.0)
        else:
            first = draw(st.integers(0, 4)) / 4
            weights += [first, 1 - first]
    return np.array(weights)


def laws_by_trajectories(mdp: FiniteMDP, policy: np.ndarray, steps: int) -> list[Law]:
    """The laws of the first `steps` discounted rewards from each state: all trajectories walked forwards, in fractions.

    Walking forwards with a running sum, not backwards as the operator does, makes it independent of what it checks.
    """
    laws: list[Law] = []
    gamma = Fraction(mdp.discount)
    for start in range(mdp.n_states):
        law: Law = {}
        paths = [(Fraction(1), start, Fraction(0))]
        for t in range(steps):
            onward = []
            for chance, s, total in paths:
                for i in range(mdp.state_ptr[s], mdp.state_ptr[s + 1]):
                    for p, following, reward, ended in mdp.transitions(s, int(mdp.action[i])):
                        share = chance * Fraction(float(policy[i])) * Fraction(p)
                        earned = total + gamma**t * Fraction(reward)
                        if share == 0:
                            continue
                        if ended:
                            law[earned] = law.get(earned, Fraction(0)) + share
                        else:
                            onward.append((share, following, earned))
            paths = onward
        for chance, _, total in paths:
            law[total] = law.get(total, Fraction(0)) + chance
        laws.append(law)
    return laws


def as_fractions(laws: DiscreteLaws) -> list[Law]:
    """Discrete laws as exact dictionaries from atom to mass."""
    return [
        {Fraction(x): Fraction(p) for x, p in zip(*(part.tolist() for part in laws.law(i)), strict=True)}
        for i in range(laws.n_laws)
    ]


def coin_world(discount: float = 0.9) -> FiniteMDP:
    """A coin pays 4 or -2 and ends the episode on one side in two; else a walk goes on. Rewards vary within pairs."""
    return from_transitions(
        [
            {0: [(0.3, 1, 4.0, False), (0.3, 1, -2.0, False), (0.2, 0, 1.0, False), (0.2, 0, -5.0, True)]},
            {0: [(0.5, 0, 0.0, False), (0.25, 2, 3.0, False), (0.25, 1, -1.0, True)], 1: [(1.0, 2, 0.5, False)]},
            {0: [(0.4, 0, 2.0, True), (0.4, 1, -3.0, False), (0.2, 2, 0.25, False)]},
        ],
        discount,
        name="coin world",
    )
