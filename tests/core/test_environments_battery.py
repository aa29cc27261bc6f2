"""The battery: what is offered, what it pays, and the law of prices, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.tabular import backward_induction


def state(mdp, name: str) -> int:
    return mdp.state_names.index(name)


def test_a_trade_settles_at_the_next_price():
    """Prevents a trade at the price that is seen, at which nothing would be unsure."""
    mdp = make("battery", nervous_spikes=0.3, calm_spikes=0.0, turning=0.1)
    calm = mdp.transitions(state(mdp, "40, calm, 1 stored, 4 sales left"), 0)
    paid = {price: sum(p for p, _, r, _ in calm if r == price) for price in {r for _, _, r, _ in calm}}
    assert paid == pytest.approx({80.0: 0.2, 0.0: 0.12, 40.0: 0.68})
    nervous = mdp.transitions(state(mdp, "120, nervous, 0 stored, 4 sales left"), 2)
    paid = {price: sum(p for p, _, r, _ in nervous if r == price) for price in {r for _, _, r, _ in nervous}}
    assert paid == pytest.approx({-80.0: 0.14, -120.0: 0.56, 80.0: 0.15, -240.0: 0.15})


def test_stock_and_sales_are_counted():
    mdp = make("battery")
    for p, following, _, ended in mdp.transitions(state(mdp, "0, calm, 1 stored, 3 sales left"), 0):
        assert p > 0
        assert not ended
        assert mdp.state_names[following].endswith("0 stored, 2 sales left")
    bought = mdp.transitions(state(mdp, "0, calm, 1 stored, 3 sales left"), 2)
    assert all(mdp.state_names[following].endswith("2 stored, 3 sales left") for _, following, _, _ in bought)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("0, calm, 0 stored, 4 sales left", [1, 2]),
        ("0, calm, 2 stored, 4 sales left", [0, 1]),
        ("0, calm, 1 stored, 0 sales left", [1, 2]),
        ("0, calm, 1 stored, 1 sales left", [0, 1, 2]),
    ],
)
def test_only_what_can_be_done_is_offered(name, offered):
    mdp = make("battery")
    s = state(mdp, name)
    assert mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]].tolist() == offered


def test_two_periods_without_spikes_are_worth_what_a_hand_finds():
    """One unit, from base 40: buy at 40 on average or wait, then sell at what follows."""
    mdp = make("battery", capacity=1, sales=1, nervous_spikes=0.0, calm_spikes=0.0, discount=1.0)
    after = {0.0: 0.12, 40.0: 0.68, 80.0: 0.2}
    mean = {0.0: 0.8 * 0 + 0.2 * 40, 40.0: 0.68 * 40 + 0.2 * 80, 80.0: 0.2 * 40 + 0.68 * 80 + 0.12 * 120}
    buy_first = sum(p * (mean[base] - base) for base, p in after.items())
    assert backward_induction(mdp, 2).value_at_start == pytest.approx(max(buy_first, 0.0))
    assert np.isclose(sum(after.values()), 1.0)
