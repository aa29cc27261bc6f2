"""`ExogenousMDP` as a value: what it accepts, what it refuses, and the stored MDP that it stands for."""

from __future__ import annotations

import doctest
import pickle

import numpy as np
import pytest

from rlbook import exogenous_mdp
from rlbook.errors import MDPError
from rlbook.exogenous_mdp import ExogenousMDP
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions

CHAIN = np.array([[0.25, 0.75], [1.0, 0.0]])
NEXT = np.array([[[1, -1, 2], [0, 1, 9]], [[2, 2, 0], [1, 1, 1]], [[0, 0, 0], [-7, 2, 1]]])  # (3, 2, 3)
REWARD = np.arange(18.0).reshape(3, 2, 3)
REWARD[0, 1, 2] = -np.inf


def by_hand(following, chain, reward, discount) -> FiniteMDP:
    endogenous, exogenous, actions = reward.shape
    rows = []
    for e in range(endogenous):
        for x in range(exogenous):
            row = {}
            for a in range(actions):
                r, to = reward[e, x, a], following[e, x, a]
                if r == -np.inf:
                    continue
                if to < 0:
                    row[a] = [(1.0, e * exogenous + x, r, True)]
                else:
                    row[a] = [(p, to * exogenous + y, r, False) for y, p in enumerate(chain[x]) if p > 0]
            rows.append(row)
    return from_transitions(rows, discount)


def test_the_stored_form_is_the_definition():
    """Prevents a swap of the two parts of the state, and an infeasible or terminating pair that slips through."""
    mdp = ExogenousMDP(NEXT, CHAIN, REWARD, 0.9, name="three by two")
    assert mdp.to_finite_mdp() == by_hand(NEXT, CHAIN, REWARD, 0.9)
    assert (mdp.n_states, mdp.n_endogenous, mdp.n_exogenous, mdp.n_actions) == (6, 3, 2, 3)
    assert repr(mdp) == "ExogenousMDP('three by two', endogenous=3, exogenous=2, actions=3, discount=0.9)"


@pytest.mark.parametrize("shape", [(3,), (3, 3)])
def test_a_shorter_table_means_the_same_as_the_long_one(shape):
    """Prevents a table over endogenous states and actions from being read as one over exogenous states."""
    short = np.random.default_rng(0).integers(-1, 3, size=shape)
    long = np.broadcast_to(short[:, None, :] if short.ndim == 2 else short, REWARD.shape)
    assert ExogenousMDP(short, CHAIN, REWARD, 0.9).to_finite_mdp() == by_hand(long, CHAIN, REWARD, 0.9)


def test_one_state_of_each_kind_and_one_action():
    mdp = ExogenousMDP([0], [[1.0]], [[[2.0]]], 0.5)
    assert mdp.to_finite_mdp() == FiniteMDP.from_dense([[[1.0]]], [[2.0]], 0.5)


def test_the_callers_arrays_stay_theirs():
    """Prevents a model that changes after it was checked, and a reader's array that can no longer be written."""
    following, chain, reward = NEXT.astype(np.int32), CHAIN.copy(), REWARD.copy()
    mdp = ExogenousMDP(following, chain, reward, 0.9)
    stored = mdp.to_finite_mdp()
    following[:], chain[:], reward[:] = 0, 0.5, 0.0
    assert mdp.to_finite_mdp() == stored
    for array in (mdp.next_endogenous, mdp.exogenous_transition, mdp.reward, mdp.start):
        assert not array.flags.writeable


def test_a_read_only_reward_is_not_copied():
    """Prevents a second copy of what may be most of the memory."""
    reward = REWARD.copy()
    reward.setflags(write=False)
    assert ExogenousMDP(NEXT, CHAIN, reward, 0.9).reward is reward


def test_a_copy_by_pickle_is_the_same_model():
    law = np.eye(6)[2]
    mdp = pickle.loads(pickle.dumps(ExogenousMDP(NEXT, CHAIN, REWARD, 0.9, start=law, name="sent")))
    assert mdp.to_finite_mdp() == by_hand(NEXT, CHAIN, REWARD, 0.9).replace(start=law)
    assert mdp.name == "sent"
    assert not mdp.reward.flags.writeable
    large = ExogenousMDP([0], [[1.0]], np.zeros((100_000, 1, 1)), 0.9)
    assert len(pickle.dumps(large)) < 900_000  # the reward, and no start law of the same size


def spoilt(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reward": REWARD[0]}, r"reward has shape \(2, 3\); give one number for each .* \(E, X, A\)"),
        ({"reward": np.empty((0, 2, 3))}, r"reward has shape \(0, 2, 3\)"),
        ({"reward": "none"}, "reward is not an array of numbers"),
        ({"reward": spoilt(REWARD, (1, 0, 2), np.nan)}, r"reward\[1, 0, 2\] is nan; rewards must be finite, or -inf"),
        ({"reward": spoilt(REWARD, (2, 1, 0), np.inf)}, r"reward\[2, 1, 0\] is inf"),
        ({"reward": spoilt(REWARD, (1, 1), -np.inf)}, "endogenous state 1, exogenous state 1 has no feasible action"),
        ({"exogenous_transition": np.eye(3)}, r"exogenous_transition has shape \(3, 3\); reward has 2 exogenous"),
        ({"exogenous_transition": [[1.5, -0.5], [0, 1]]}, r"exogenous_transition\[0, 1\] is -0.5; probabilities"),
        ({"exogenous_transition": [[1, 0], [np.nan, 1]]}, r"exogenous_transition\[1, 0\] is nan"),
        ({"exogenous_transition": [[1, 0], [0.5, 0.4]]}, "row 1 of exogenous_transition sums to 0.9, not 1; divide it"),
        (
            {"next_endogenous": np.zeros((2, 3), int)},
            r"next_endogenous has shape \(2, 3\); give \(3, 2, 3\), or \(3, 3\)",
        ),
        ({"next_endogenous": np.zeros(3)}, "next_endogenous holds float64 values; give integers"),
        (
            {"next_endogenous": spoilt(NEXT, (2, 0, 1), 3)},
            r"next_endogenous\[2, 0, 1\] is 3; endogenous states are 0 to 2",
        ),
        ({"next_endogenous": [0, 2**32, 0]}, r"next_endogenous\[0, 0, 1\] is 4294967296"),
        ({"next_endogenous": [[0, 0, 0], [0, 0, 5], [0, 0, 0]]}, r"next_endogenous\[1, 0, 2\] is 5"),
        ({"discount": -0.1}, r"discount is -0.1; it must lie in \[0, 1\]"),
        ({"start": np.ones(6)}, "start sums to 6, not 1"),
    ],
)
def test_bad_arguments_get_a_sentence(changes, sentence):
    arguments = {"next_endogenous": NEXT, "exogenous_transition": CHAIN, "reward": REWARD, "discount": 0.9}
    with pytest.raises(MDPError, match=sentence):
        ExogenousMDP(**(arguments | changes))


def test_the_example_in_the_text_runs():
    assert doctest.testmod(exogenous_mdp, raise_on_error=True).attempted > 5
