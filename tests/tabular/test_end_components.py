"""Maximal end components against a search through all sets of states; merging them; who can end at all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular.end_components import maximal_end_components
from rlbook.tabular.episodes import endless_states
from rlbook.tabular.proper_policies import quick_policy
from rlbook.tabular.quotient import quotient

from .exact_undiscounted import lawful_row, reachable, recurrent_classes, small_graph


def successors(mdp: FiniteMDP, pair: int) -> set[int]:
    return {int(t) for t in mdp.next_state[mdp.row_ptr[pair] : mdp.row_ptr[pair + 1]]}


def all_end_components(mdp: FiniteMDP, allowed: np.ndarray) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The maximal ones by definition: every set of states is tried."""
    found: list[tuple[set[int], set[int]]] = []
    for size in range(mdp.n_states, 0, -1):
        for states in map(set, itertools.combinations(range(mdp.n_states), size)):
            if any(states < larger for larger, _ in found):
                continue
            pairs = {
                i
                for i in np.flatnonzero(allowed).tolist()
                if mdp.pair_state[i] in states
                and mdp.continuing_end[i] == mdp.row_ptr[i + 1]
                and successors(mdp, i) <= states
            }
            edges = [
                {t for i in pairs if mdp.pair_state[i] == s for t in successors(mdp, i)} for s in range(mdp.n_states)
            ]
            reach = reachable([dict.fromkeys(each) for each in edges])
            if {mdp.pair_state[i] for i in pairs} == states and all(reach[s] == states for s in states):
                found.append((states, pairs))
    return sorted((tuple(sorted(states)), tuple(sorted(pairs))) for states, pairs in found)


def test_components_are_those_of_the_definition():
    """Prevents components that are not closed, not connected, not maximal, or with pairs that leave."""
    several = 0
    for seed in range(300):
        mdp = small_graph(seed, [0.0], ending=0.05, states=6)
        allowed = np.random.default_rng(seed).random(mdp.n_pairs) < 0.9
        found = maximal_end_components(mdp, allowed)
        kept = [np.flatnonzero(found.stays & (found.component[mdp.pair_state] == c)) for c in range(found.count)]
        listed = [(tuple(found.states(c).tolist()), tuple(kept[c].tolist())) for c in range(found.count)]
        assert sorted(listed) == all_end_components(mdp, allowed)
        assert listed == sorted(listed)
        several += found.count > 1
    assert several >= 20


def chain_of_sieves(states: int, end: bool) -> FiniteMDP:
    """Each state leads back, or on to the next one with probability 1/2; the last one stays, or ends the episode."""
    outcomes = [
        {0: [(0.5, s, 0.0, False), (0.5, s + 1, 0.0, False)], 1: [(1.0, max(s - 1, 0), 0.0, False)]}
        for s in range(states - 1)
    ]
    return from_transitions([*outcomes, {0: [(1.0, states - 1, 0.0, end)]}], 1.0)


@pytest.mark.parametrize("end", [False, True])
def test_a_long_chain_takes_no_recursion(end):
    """Prevents a stack that overflows, and work in the square of the states."""
    mdp = chain_of_sieves(100_000, end)
    found = maximal_end_components(mdp)
    assert found.count == 1 + (not end)
    assert found.states(0).tolist()[:2] == [0, 1]


def test_a_choice_of_pairs_is_checked():
    with pytest.raises(MDPError, match=r"give one bool per state-action pair, \(2,\)"):
        maximal_end_components(from_transitions([{0: [(1.0, 0, 0.0, False)], 1: [(1.0, 0, 0.0, False)]}], 1.0), [1, 1])


def test_endless_states_of_some_pairs():
    """Prevents taking a policy for a proper one because other policies are."""
    mdp = make("gridworld-4x4")
    up = mdp.action == 0
    assert len(endless_states(mdp)) == 14
    assert len(endless_states(mdp, up)) == 11  # all but the goals and the column under one
    proper = np.zeros(mdp.n_pairs, dtype=bool)
    proper[quick_policy(mdp)] = True
    assert len(endless_states(mdp, proper)) == 0


def test_quick_policies_end_exactly_where_some_policy_does():
    """Prevents a policy that ends with probability below 1, and states given up too early."""
    given_up = 0
    for seed in range(300):
        mdp = small_graph(seed, [0.0], states=4)
        choice = quick_policy(mdp)
        best: set[int] = set()
        for pairs in itertools.product(*(range(*mdp.state_ptr[s : s + 2]) for s in range(mdp.n_states))):
            rows = [lawful_row(mdp, i) for i in pairs]
            closed = {s for members in recurrent_classes(mdp, pairs, rows) for s in members}
            best |= {s for s, r in enumerate(reachable(rows)) if not r & closed}
        assert set(np.flatnonzero(choice >= 0).tolist()) == best
        given_up += len(best) < mdp.n_states
        if len(best) == mdp.n_states:
            assert recurrent_classes(mdp, tuple(choice), [lawful_row(mdp, i) for i in choice]) == []
    assert given_up >= 20


def test_quick_policies_shun_unlikely_short_cuts():
    """Prevents a start from the fewest steps, one of which takes a billion tries."""
    rows = [{0: [(1e-9, 0, -1.0, True), (1 - 1e-9, 0, -1.0, False)], 1: [(1.0, 1, -1.0, False)]}]
    rows += [{0: [(1.0, s + 1, -1.0, s == 9)]} for s in range(1, 10)] + [{0: [(1.0, 10, 0.0, True)]}]
    assert quick_policy(from_transitions(rows, 1.0))[0] == 1


def test_a_merged_policy_walks_to_where_it_leaves():
    """Prevents a policy that stays in the component that it was to leave."""
    # 0 and 1 and 2 are a free ring; only from 2 one leaves, to 3, which ends.
    ring = [{0: [(1.0, (s + 1) % 3, 0.0, False)], 1: [(1.0, s, 0.0, False)]} for s in range(3)]
    ring[2][2] = [(1.0, 3, 5.0, False)]
    mdp = from_transitions([*ring, {0: [(1.0, 3, 0.0, True)]}], 1.0)
    free = maximal_end_components(mdp, mdp.expected_reward == 0)
    merged = quotient(mdp, free, mdp.expected_reward, np.array([2.0]))
    assert merged.mdp.n_states == 2
    assert merged.mdp.expected_reward.tolist() == [5.0, 2.0, 0.0]
    leave = merged.pairs(np.array([0, 2]), free.staying_pairs(mdp))
    assert mdp.action[leave].tolist() == [0, 0, 2, 0]
    stop = merged.pairs(np.array([1, 2]), free.staying_pairs(mdp))
    assert set(mdp.next_state[mdp.row_ptr[stop[:3]]].tolist()) <= {0, 1, 2}
