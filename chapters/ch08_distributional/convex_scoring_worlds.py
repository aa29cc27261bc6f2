"""Worlds for static risk, all policies of the small ones, and the scores that are compared."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlbook.mdp_rows import from_rows
from rlbook.tabular.distributional import (
    AugmentedReturns,
    ConvexScoring,
    DiscreteLaws,
    EntropicScore,
    ShortfallScore,
    VarianceScore,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP

Measure = Literal["variance", "mean-variance", "expected shortfall", "mean-shortfall", "entropic value at risk"]
StaticWorld = Literal["random", "casino", "spread trading"]

STATES, ACTIONS, BRANCHES, LARGEST = 2, 2, 2, 5
_PURPOSE = 83
_SPREADS = np.arange(-3, 4)


def scoring(measure: Measure, level: float) -> ConvexScoring:
    """The score of a measure; the level is the share of the worst, and for variances nothing."""
    scores: dict[Measure, ConvexScoring] = {
        "variance": VarianceScore(),
        "mean-variance": VarianceScore(1.0, 0.1),
        "expected shortfall": ShortfallScore(level),
        "mean-shortfall": ShortfallScore(level, 0.5),
        "entropic value at risk": EntropicScore(level),
    }
    return scores[measure]


def static_world(world: StaticWorld, seed: int) -> FiniteMDP:
    """The world of this name; the seed draws all but the last."""
    if world == "spread trading":
        return spread_world()
    return random_world(seed) if world == "random" else casino(seed)


def random_world(seed: int) -> FiniteMDP:
    """2 states, 2 actions, 2 transitions each with a whole reward from -5 to 5 of its own; it starts in state 0."""
    random = np.random.default_rng([seed, _PURPOSE])
    pairs = STATES * ACTIONS
    first = random.uniform(0.15, 0.85, size=pairs)
    return from_rows(
        state_ptr=ACTIONS * np.arange(STATES + 1),
        action=np.tile(np.arange(ACTIONS), STATES),
        row_ptr=BRANCHES * np.arange(pairs + 1),
        next_state=random.integers(STATES, size=pairs * BRANCHES),
        probability=np.column_stack([first, 1 - first]).ravel(),
        reward=random.integers(-LARGEST, LARGEST + 1, size=pairs * BRANCHES).astype(float),
        discount=1.0,
        start=np.eye(STATES)[0],
        name=f"random world {seed}",
    )


def casino(seed: int) -> FiniteMDP:
    """One state, and two games to choose from in every round: nothing happens, or a stake that is worth it on average.

    The stake wins 1 to 5 with a chance from 0.5 to 0.8, and loses 1 to 5 else; drawn until it is worth 0.25 or more.
    After the casino of Baeuerle & Ott (2011), whose odds we could not read.
    """
    random = np.random.default_rng([seed, _PURPOSE + 1])
    while True:
        chance, win, loss = random.uniform(0.5, 0.8), *random.integers(1, LARGEST + 1, size=2)
        if chance * win - (1 - chance) * loss >= 0.25:
            break
    return from_rows(
        state_ptr=np.array([0, 2]),
        action=np.array([0, 1]),
        row_ptr=np.array([0, 1, 3]),
        next_state=np.zeros(3, dtype=int),
        probability=np.array([1.0, chance, 1 - chance]),
        reward=np.array([0.0, win, -loss]),
        discount=1.0,
        name=f"casino {seed}",
        action_names=["leave it", "stake"],
    )


def spread_world() -> FiniteMDP:
    """A spread between two prices that returns to its mean, and a position in it of -1, 0 or 1.

    A state is (spread from -3 to 3, position); an action is the next position, each change of which costs 1 per unit.
    Then the spread moves: one step towards 0 with chance 0.45, one step away with 0.2, three steps away with 0.05
    (as far as the ends allow), else not at all; at 0 away is up or down alike. The position earns the move, twice
    over, so that a cost of 1 is half of a step. Made up for this lab; it starts at spread 2 without a position.
    """
    entries: list[tuple[int, float, float]] = []
    row_ptr = [0]
    n = len(_SPREADS)
    for spread, position, chosen in product(_SPREADS, (-1, 0, 1), (-1, 0, 1)):
        law = np.zeros(n)
        for away in (1, -1) if spread == 0 else (int(np.sign(spread)),):
            share = 0.5 if spread == 0 else 1.0
            for move, chance in ((-away if spread else 0, 0.45), (away, 0.2), (3 * away, 0.05), (0, 0.3)):
                law[np.clip(spread + move, -3, 3) + 3] += share * chance
        for place in np.flatnonzero(law):
            paid = 2.0 * chosen * (_SPREADS[place] - spread) - abs(chosen - position)
            entries.append((3 * int(place) + chosen + 1, float(law[place]), paid))
        row_ptr.append(len(entries))
    following, probability, reward = zip(*entries, strict=True)
    return from_rows(
        state_ptr=3 * np.arange(3 * n + 1),
        action=np.tile([0, 1, 2], 3 * n),
        row_ptr=np.array(row_ptr),
        next_state=np.array(following),
        probability=np.array(probability),
        reward=np.array(reward),
        discount=1.0,
        start=np.eye(3 * n)[3 * 5 + 1],
        name="spread trading",
        action_names=["short", "flat", "long"],
    )


def all_history_laws(mdp: FiniteMDP, horizon: int) -> DiscreteLaws:
    """The law of the return from the start of every deterministic policy, which may look at the whole history.

    For an MDP with one start state, whole rewards, discount 1 and no end; there are 2^(2^horizon - 1) policies with
    two actions and two transitions each. No code is shared with the augmented dynamic programme.
    """
    rewards = mdp.expected_reward if mdp.reward is None else mdp.reward
    low, high = int(rewards.min()), int(rewards.max())
    # masses[s]: one row for each policy from s on, one column for each whole return from left * low to left * high
    masses = [np.ones((1, 1)) for _ in range(mdp.n_states)]
    for left in range(1, horizon + 1):
        width = left * (high - low) + 1
        found = []
        for s in range(mdp.n_states):
            rows = []
            for action in mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]:
                total = np.zeros((1, width))
                for p, following, paid, _ in mdp.transitions(s, int(action)):
                    later = masses[following]
                    moved = np.zeros((len(later), width))
                    moved[:, int(paid) - low : int(paid) - low + later.shape[1]] = p * later
                    total = (total[:, None, :] + moved[None, :, :]).reshape(-1, width)
                rows.append(total)
            found.append(np.concatenate(rows))
        masses = found
    start = int(np.flatnonzero(mdp.start)[0])
    return DiscreteLaws.from_arrays(np.arange(horizon * low, horizon * high + 1, dtype=float), masses[start])


def all_memoryless_laws(augmented: AugmentedReturns) -> DiscreteLaws:
    """The law of the return of every deterministic policy that looks at the stage and the state alone."""
    mdp, horizon = augmented.mdp, augmented.horizon
    under_way = np.flatnonzero(mdp.start)
    reached: list[tuple[int, int]] = []
    for stage in range(horizon):
        reached += [(stage, int(s)) for s in under_way]
        pairs = np.isin(mdp.pair_state, under_way)
        under_way = np.unique(mdp.next_state[np.repeat(pairs, np.diff(mdp.row_ptr))])
    places = [range(int(mdp.state_ptr[s + 1] - mdp.state_ptr[s])) for _, s in reached]
    table = np.zeros((horizon, mdp.n_states), dtype=np.int32)
    stages, states = np.array(reached).T
    laws = []
    for chosen in product(*places):
        table[stages, states] = chosen
        laws.append(augmented.law(augmented.memoryless(table)))
    return _together(laws)


def _together(laws: list[DiscreteLaws]) -> DiscreteLaws:
    sizes: NDArray[np.int64] = np.concatenate([law.sizes for law in laws])
    return DiscreteLaws(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([law.atom for law in laws]),
        np.concatenate([law.mass for law in laws]),
    )
