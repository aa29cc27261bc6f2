"""A battery that buys and sells energy at prices which settle only after the trade."""

from __future__ import annotations

from itertools import product
from typing import Annotated

import numpy as np
from pydantic import Field

from rlbook.environments.registry import Discount, Probability, environment
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_rows

BASES = (0.0, 40.0, 80.0, 120.0)  # money per unit of energy: what prices settle at, but for spikes
SPIKES = (-80.0, 240.0)
REGIMES = ("calm", "nervous")
ACTIONS = ("sell", "wait", "buy")

_TOWARDS, _AWAY = 0.2, 0.12  # chances of a step towards the middle of the bases, and away from it


@environment("battery", "Energy arbitrage: buy and sell with a battery, at synthetic prices that spike")
def battery(
    *,
    capacity: Annotated[int, Field(ge=1, le=20, description="units of energy that the battery holds")] = 2,
    sales: Annotated[int, Field(ge=1, le=50, description="units that may be sold in all: the limit on cycles")] = 4,
    nervous_spikes: Annotated[Probability, Field(description="chance of a spike in a nervous market")] = 0.25,
    calm_spikes: Annotated[Probability, Field(description="chance of a spike in a calm market")] = 0.01,
    turning: Annotated[Probability, Field(description="chance that the market's mood turns in a period")] = 0.15,
    discount: Discount = 0.99,
) -> FiniteMDP:
    """A synthetic market of our own, in the manner of Karimi Madahi, Claessens & Develder, *Distributional
    Reinforcement Learning-based Energy Arbitrage Strategies in Imbalance Settlement Mechanism* (2023), who use Belgian
    imbalance prices; of the paper we could read the abstract and a summary. No number here is measured.

    A state is (base price, mood, units stored, sales left); an action trades one unit, or none, and is offered where
    there is room, or stock and a sale left. The trade settles at the price of the *next* period, which is not known:
    the base price moves by a step towards the middle (chance 0.2), a step away (0.12) or not at all, and what is
    settled is that base, or a spike of -80 or 240, as likely as each other. The mood, seen before the trade, says how
    likely spikes are. It starts empty, calm, at base 40, and has no end.
    """
    moods, n_bases = len(REGIMES), len(BASES)
    shape = (n_bases, moods, capacity + 1, sales + 1)
    state_ptr, row_ptr = [0], [0]
    action: list[int] = []
    rows: list[tuple[int, float, float]] = []
    for base, mood, stored, left in product(*map(range, shape)):
        settled = _settled(base, nervous_spikes if mood else calm_spikes)
        for chosen, trade in enumerate((-1, 0, 1)):
            if (trade == -1 and not (stored and left)) or (trade == 1 and stored == capacity):
                continue
            action.append(chosen)
            for (following, price, chance), turned in product(settled, (0, 1)):
                share = chance * (turning if turned else 1 - turning)
                then = np.ravel_multi_index((following, mood ^ turned, stored + trade, left - (trade == -1)), shape)
                rows.append((int(then), share, -trade * price))
            row_ptr.append(len(rows))
        state_ptr.append(len(action))
    next_state, probability, reward = zip(*rows, strict=True)
    start = np.zeros(int(np.prod(shape)))
    start[np.ravel_multi_index((1, 0, 0, sales), shape)] = 1.0
    return from_rows(
        state_ptr=np.array(state_ptr),
        action=np.array(action),
        row_ptr=np.array(row_ptr),
        next_state=np.array(next_state),
        probability=np.array(probability),
        reward=np.array(reward),
        discount=discount,
        start=start,
        name="battery",
        state_names=[
            f"{BASES[base]:g}, {REGIMES[mood]}, {stored} stored, {left} sales left"
            for base, mood, stored, left in product(*map(range, shape))
        ],
        action_names=list(ACTIONS),
    )


def _settled(base: int, spikes: float) -> list[tuple[int, float, float]]:
    """Next base, price settled and chance, for everything that can happen in a period."""
    middle = (len(BASES) - 1) / 2
    towards = 1 if base < middle else -1
    law = np.zeros(len(BASES))
    law[base + towards] += _TOWARDS
    law[min(max(base - towards, 0), len(BASES) - 1)] += _AWAY
    law[base] += 1 - _TOWARDS - _AWAY
    outcomes = []
    for following in np.flatnonzero(law):
        chance = float(law[following])
        outcomes.append((int(following), BASES[following], chance * (1 - spikes)))
        outcomes += [(int(following), spike, chance * spikes / len(SPIKES)) for spike in SPIKES]
    return outcomes
