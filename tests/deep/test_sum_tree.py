"""The sum tree in arrays: its sums, the leaf that a mass meets, and leaves of priority 0, which are never drawn."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbook.deep import sum_tree

pytestmark = pytest.mark.usefixtures("quick_compilation")

write, draw = jax.jit(sum_tree.write), jax.jit(sum_tree.draw)
WRITES, DRAWS = 4, 64
SIZES = [1, 2, 5, 64]


def written(size, writes):
    """A tree after rounds of writes, and its priorities as a plain array."""
    tree, priorities = sum_tree.empty(size), np.zeros(len(sum_tree.empty(size)) // 2, np.float32)
    for index, priority in writes:
        tree = write(tree, np.int32(index), np.float32(priority))
        for i, p in zip(index, priority, strict=True):
            priorities[i] = p
    return np.asarray(tree), priorities


def rounds(size, priority):
    one = st.tuples(
        st.lists(st.integers(0, size - 1), min_size=WRITES, max_size=WRITES),
        st.lists(priority, min_size=WRITES, max_size=WRITES),
    )
    return st.lists(one, min_size=1, max_size=5)


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_node_is_the_sum_of_the_two_below(size, data):
    """Prevents sums that drift, and rows written twice in one batch that leave a sum of both."""
    real = st.floats(0, 1e6, width=32, allow_subnormal=False)
    tree, priorities = written(size, data.draw(rounds(size, real)))
    leaves = len(tree) // 2
    assert size <= leaves <= max(1, 2 * size - 1)
    assert np.array_equal(tree[leaves:], priorities)
    for node in range(1, leaves):
        assert tree[node] == tree[2 * node] + tree[2 * node + 1]


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_mass_meets_the_leaf_whose_part_it_falls_in(size, data, seed):
    """Prevents draws beside their leaf; sums of whole priorities are exact."""
    whole = st.integers(0, 50)
    tree, priorities = written(size, data.draw(rounds(size, whole)))
    total = priorities.sum()
    if total == 0:
        return
    part = np.random.default_rng(seed).integers(0, total, DRAWS)
    uniform = np.float32((part + 0.5) / total)
    expected = np.searchsorted(np.cumsum(priorities), part, side="right")
    assert np.array_equal(draw(tree, uniform), expected)


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_what_has_no_priority_is_never_drawn(size, data, seed):
    """Prevents rounding that leads to a row which is not there, at both ends of the unit interval too."""
    real = st.one_of(st.just(0.0), st.floats(2.0**-100, 1e6, width=32))
    tree, priorities = written(size, data.draw(rounds(size, real)))
    if not priorities.any():
        return
    uniform = np.random.default_rng(seed).random(DRAWS, np.float32)
    uniform[:2] = 0.0, np.nextafter(np.float32(1), np.float32(0))
    assert np.all(priorities[draw(tree, uniform)] > 0)
