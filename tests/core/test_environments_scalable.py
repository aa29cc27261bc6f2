"""Environments that are made to be large: the slow chain, the slippery grid, and Garnets with many next states."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.environments.garnet import _replace_taken, _replace_taken_by_table
from rlbook.errors import ParameterError


@pytest.mark.parametrize("states", [3, 10, 41])
def test_the_slow_chain_mixes_as_slowly_as_it_says(states):
    """Prevents ends that reflect by two steps: Levin, Peres & Wilmer (2009), section 12.3, give the spectrum."""
    mdp = make("slow-chain", states=states, pace=0.3)
    resting = mdp.continuing_matrix()[1::3].toarray()
    found = np.sort(np.linalg.eigvalsh(resting))[::-1]
    expected = 1 - 2 * 0.3 * (1 - np.cos(np.pi * np.arange(states) / states))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_slow_chain_is_pushed_to_the_crests():
    """Prevents a push in the wrong direction, or one that costs nothing."""
    mdp = make("slow-chain", states=9, waves=1, pace=0.25, push=0.1, effort=0.2)
    expected = {
        (4, 0): [(0.35, 3, 1.8, False), (0.5, 4, 1.8, False), (0.15, 5, 1.8, False)],
        (4, 1): [(0.25, 3, 2.0, False), (0.5, 4, 2.0, False), (0.25, 5, 2.0, False)],
        (0, 2): [(0.65, 0, -0.2, False), (0.35, 1, -0.2, False)],
        (8, 2): [(0.15, 7, -0.2, False), (0.85, 8, -0.2, False)],
    }
    for pair, outcomes in expected.items():
        np.testing.assert_allclose(mdp.transitions(*pair), outcomes, atol=1e-12)
    with pytest.raises(ParameterError, match=r"slow-chain: parameter 'push' is 0.4, more than pace=0.3"):
        make("slow-chain", pace=0.3, push=0.4)


def test_the_slippery_grid_without_slipping_counts_steps():
    """Prevents a step that costs nothing, the last one above all: v = -(1 - discount**n) / (1 - discount), n steps."""
    rows, columns, discount = 4, 7, 0.9
    mdp = make("slippery-grid", rows=rows, columns=columns, slip=0.0, step_cost=2.0, discount=discount)
    matrix, value = mdp.continuing_matrix(), np.zeros(mdp.n_states)
    for _ in range(rows + columns):
        value = np.maximum.reduceat(mdp.expected_reward + discount * (matrix @ value), mdp.state_ptr[:-1])
    steps = (rows - 1 - np.arange(rows))[:, None] + (columns - 1 - np.arange(columns))
    np.testing.assert_allclose(value.reshape(rows, columns), -2 * (1 - discount**steps) / (1 - discount), rtol=1e-12)


def test_the_slippery_grid_slips_to_both_sides():
    """Prevents slips backwards."""
    mdp = make("slippery-grid", rows=3, columns=3, slip=0.2)
    assert mdp.transitions(4, 1) == [(0.1, 1, -1.0, False), (0.8, 5, -1.0, False), (0.1, 7, -1.0, False)]
    assert mdp.transitions(5, 2) == [(0.1, 4, -1.0, False), (0.1, 5, -1.0, False), (0.8, 8, -1.0, True)]
    assert not mdp.expected_reward[-4:].any(), "nothing is paid in the corner"


@pytest.mark.parametrize(("count", "below"), [(2, 2), (3, 5), (30, 31), (25, 400), (60, 3000)])
def test_two_ways_to_draw_next_states_agree(count, below):
    """Prevents Garnets of many next states from having another law than those of few."""
    random = np.random.default_rng(1)
    drawn = np.column_stack([random.integers(0, top + 1, size=300) for top in range(below - count, below)])
    one, other = drawn.copy(), drawn.copy()
    _replace_taken(one, below)
    _replace_taken_by_table(other, below)
    np.testing.assert_array_equal(one, other)
    assert all(len(set(row)) == count for row in one.tolist())


def test_a_garnet_with_all_states_as_next_states():
    """Prevents a dense Garnet whose next states are drawn one by one."""
    mdp = make("garnet", states=300, actions=2, branching=300)
    assert mdp.next_state.reshape(-1, 300).tolist() == [list(range(300))] * 600
