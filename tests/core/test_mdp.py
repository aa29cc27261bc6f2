"""`FiniteMDP` as a value: immutable, comparable, picklable, quick to import."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP


@pytest.fixture
def mdp() -> FiniteMDP:
    p = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]])
    r = np.array([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 2.0], [3.0, -1.0]]])
    return FiniteMDP.from_dense(
        p, r, 0.9, terminated=[False, True], policies={"half": np.full((2, 2), 0.5)}, state_names=["a", "b"]
    )


def arrays(mdp: FiniteMDP) -> dict[str, np.ndarray]:
    found = {item.name: getattr(mdp, item.name) for item in fields(mdp)}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)} | mdp.policies


@pytest.mark.parametrize("how", [lambda m: m, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_arrays_are_read_only_contiguous_and_of_fixed_types(mdp, how):
    """Prevents kernels from being compiled twice, and an MDP from changing after its bounds were certified."""
    types = {name: (array.dtype, array.flags.writeable) for name, array in arrays(mdp).items()}
    same = how(mdp)
    assert same == mdp
    assert same.state_names == mdp.state_names
    for name, array in arrays(same).items():
        assert (array.dtype, array.flags.writeable) == types[name], name
        assert not array.flags.writeable
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = 0


def test_fields_cannot_be_assigned(mdp):
    """Prevents an unvalidated change of a validated value."""
    with pytest.raises(FrozenInstanceError):
        mdp.discount = 0.5


@pytest.mark.parametrize("how", [lambda m: m, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_policies_cannot_be_exchanged(mdp, how):
    """Prevents an unchecked policy in a validated MDP, and one that appears in every copy with another discount."""
    policies = {"half": np.full(4, 0.5)}
    made = how(mdp.replace(policies=policies))
    other = made.replace(discount=0.5)
    policies["late"] = np.ones(4)
    for one in (made, other, other.replace(name="again")):
        with pytest.raises(TypeError):
            one.policies["half"] = np.array([1.0, 0.0, 1.0, 0.0])
        with pytest.raises((TypeError, AttributeError)):
            one.policies.clear()
        assert list(one.policies) == ["half"]
        assert_array_equal(one.policies["half"], 0.5)


def test_replace_neither_freezes_nor_aliases_the_callers_array(mdp):
    """Prevents `replace` from making a reader's own array read-only behind their back."""
    start = np.array([1.0, 0.0])
    other = mdp.replace(start=start)
    start[:] = [0.0, 1.0]
    assert_array_equal(other.start, [1.0, 0.0])
    view = np.array([1.0, 0.0])
    frozen = view[:]
    frozen.setflags(write=False)
    other = mdp.replace(start=frozen)
    view[:] = [0.0, 1.0]
    assert_array_equal(other.start, [1.0, 0.0])


def test_replace_shares_what_it_does_not_change(mdp):
    """Prevents a discount slider from copying the whole model at every step."""
    assert np.shares_memory(mdp.replace(discount=0.5).probability, mdp.probability)


def test_equality_follows_arrays_and_discount_not_names(mdp):
    """Prevents equal models from being computed twice for a name, and unequal ones from sharing a result."""
    assert mdp.replace(name="other", state_names=None) == mdp
    assert hash(mdp.replace(name="other")) == hash(mdp)
    assert mdp.replace(discount=0.5) != mdp
    assert mdp.replace(start=np.array([1.0, 0.0])) != mdp
    assert mdp.replace(reward=None) != mdp


def test_reading_a_pair(mdp):
    """Prevents flags, rewards or order from being lost between storage and reader."""
    assert mdp.transitions(0, 0) == [(0.5, 0, 0.0, False), (0.5, 1, 1.0, True)]
    assert mdp.transitions(1, 1) == [(0.25, 0, 3.0, False), (0.75, 1, -1.0, True)]
    assert_array_equal(mdp.continuation, [0.5, 1.0, 0.0, 0.25])
    assert_array_equal(mdp.continuing_matrix().toarray(), [[0.5, 0], [1, 0], [0, 0], [0.25, 0]])
    assert_array_equal(mdp.pair_state, [0, 0, 1, 1])
    assert (mdp.state_name(1), mdp.action_name(1)) == ("b", "1")
    with pytest.raises(MDPError, match="state 2 does not exist; states are 0 to 1"):
        mdp.pair(2, 0)


def test_sizes_and_bytes(mdp):
    """Prevents the memory goal from being measured against a wrong number."""
    assert (mdp.n_states, mdp.n_actions, mdp.n_pairs, mdp.n_transitions) == (2, 2, 4, 6)
    assert mdp.nbytes == 3 * 8 + 4 * 4 + 5 * 8 + 4 * 8 + 6 * 4 + 6 * 8 + 4 * 8 + 2 * 8 + 6 * 8
    assert repr(mdp) == "FiniteMDP('mdp', states=2, actions=2, pairs=4, transitions=6, discount=0.9)"


def test_the_value_needs_numpy_alone():
    """Prevents the core value from drawing in a compiler, a plotting library or an environment."""
    code = (
        "import sys; from rlbook.mdp import FiniteMDP; FiniteMDP.from_dense([[[1.0]]], [[0.0]], 0.9);"
        "print([m for m in ('numba', 'scipy', 'plotly', 'pydantic', 'xarray', 'gymnasium', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
