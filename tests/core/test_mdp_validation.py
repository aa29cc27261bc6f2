"""What is refused, and that each refusal says where and what to do; each case is a mistake that people make."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import scipy.sparse

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP, GridLayout
from rlbook.mdp_rows import from_rows, from_transitions

P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]])
R = np.array([[0.0, 1.0], [2.0, 3.0]])


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    copy = array.astype(float)
    copy[place] = value
    return copy


def small(**changes: object) -> FiniteMDP:
    return FiniteMDP.from_dense(P, R, 0.9).replace(**changes)


DENSE_MISTAKES = {
    "a row that does not sum to 1": (
        lambda: FiniteMDP.from_dense(changed(P, (1, 1, 0), 0.22), R, 0.9),
        "row for state 1, action 1 sums to 0.97, not 1; pass normalise=True to rescale",
    ),
    "a last row of zeros": (
        lambda: FiniteMDP.from_dense(P * [[[1], [1]], [[1], [0]]], R, 0.9),
        "row for state 1, action 1 sums to 0, not 1",
    ),
    "a negative probability": (
        lambda: FiniteMDP.from_dense(changed(changed(P, (1, 0, 0), -0.5), (1, 0, 1), 1.5), R, 0.9),
        r"probability of state 1, action 0 is .*-0\.5.*; probabilities must not be negative",
    ),
    "a NaN probability": (
        lambda: FiniteMDP.from_dense(changed(P, (0, 1, 1), np.nan), R, 0.9),
        "probability of state 0, action 1 is .*nan.*; probabilities must be finite",
    ),
    "an infinite probability": (
        lambda: FiniteMDP.from_dense(changed(P, (0, 1, 1), np.inf), R, 0.9),
        "probability of state 0, action 1 is .*inf.*; probabilities must be finite",
    ),
    "a NaN reward": (
        lambda: FiniteMDP.from_dense(P, changed(R, (1, 0), np.nan), 0.9),
        r"reward\[1, 0\] is nan; rewards must be finite, or -inf to mark",
    ),
    "a reward of +inf": (
        lambda: FiniteMDP.from_dense(P, changed(R, (0, 1), np.inf), 0.9),
        r"reward\[0, 1\] is inf; rewards must be finite, or -inf to mark",
    ),
    "a state whose actions are all infeasible": (
        lambda: FiniteMDP.from_dense(P, [[0, 1], [-np.inf, -np.inf]], 0.9),
        "state 1 has no feasible action; give every state at least one",
    ),
    "actions first, as mdptoolbox has them": (
        lambda: FiniteMDP.from_dense(np.full((3, 2, 2), 0.5), np.zeros((2, 3)), 0.9),
        r"transition has shape \(3, 2, 2\).*\(states, actions, states\).*P\.transpose\(1, 0, 2\)",
    ),
    "a flat transition matrix": (
        lambda: FiniteMDP.from_dense(np.eye(2), R, 0.9),
        r"transition has shape \(2, 2\); give P with shape \(states, actions, states\)",
    ),
    "no state": (lambda: FiniteMDP.from_dense(np.zeros((0, 1, 0)), np.zeros((0, 1)), 0.9), "at least one state"),
    "a reward of another shape": (
        lambda: FiniteMDP.from_dense(P, [0.0, 1.0], 0.9),
        r"reward has shape \(2,\); it must be \(2, 2\) or \(2, 2, 2\)",
    ),
    "words for numbers": (lambda: FiniteMDP.from_dense(P, [["a", "b"]] * 2, 0.9), "reward is not an array of numbers"),
    "complex numbers": (lambda: FiniteMDP.from_dense(P + 0j, R, 0.9), "transition is not an array of numbers"),
    "ragged lists": (lambda: FiniteMDP.from_dense([[[1.0], [1.0, 2.0]]], R, 0.9), "transition is not an array of numb"),
    "termination of another shape": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, terminated=[True] * 3),
        r"terminated has shape \(3,\); it must be \(2,\) or \(2, 2, 2\)",
    ),
    "a discount above 1": (lambda: FiniteMDP.from_dense(P, R, 1.01), r"discount is 1\.01; it must lie in \[0, 1\]"),
    "a negative discount": (lambda: FiniteMDP.from_dense(P, R, -0.1), r"discount is -0\.1; it must lie in"),
    "a NaN discount": (lambda: FiniteMDP.from_dense(P, R, np.nan), "discount is nan; it must lie in"),
    "a discount in words": (lambda: FiniteMDP.from_dense(P, R, "high"), "discount is 'high'; give a number"),
    "a start that is too short": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, start=[1.0]),
        r"start has shape \(1,\); give one probability per state, shape \(2,\)",
    ),
    "a start that does not sum to 1": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, start=[0.5, 0.4]),
        r"start sums to 0\.9, not 1; divide it by its sum",
    ),
    "a negative start": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, start=[1.5, -0.5]),
        r"start\[1\] is .*-0\.5.*; probabilities must be finite and not negative",
    ),
    "a NaN start": (lambda: FiniteMDP.from_dense(P, R, 0.9, start=[np.nan, 1.0]), r"start\[0\] is .*nan"),
    "rows that cannot be rescaled": (
        lambda: FiniteMDP.from_dense(P * 0, R, 0.9, normalise=True),
        "row for state 0, action 0 sums to 0; it cannot be rescaled",
    ),
    "too few state names": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, state_names=["a"]),
        "state_names has 1 names, but there are 2; give one name for each",
    ),
    "too many action names": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, action_names="abc"),
        "action_names has 3 names, but there are 2",
    ),
    "a policy of another shape": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, policies={"mine": [[1.0, 0.0]]}),
        r"policy 'mine' has shape \(1, 2\); it must be \(2, 2\), states by actions",
    ),
    "a policy that does not sum to 1": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, policies={"mine": [[1.0, 0.0], [0.5, 0.6]]}),
        r"policy 'mine' sums to 1\.1 in state 1, not 1; divide",
    ),
    "a negative policy": (
        lambda: FiniteMDP.from_dense(P, R, 0.9, policies={"mine": [[1.0, 0.0], [-0.5, 1.5]]}),
        r"policy 'mine' holds .*-0\.5.* at pair 2",
    ),
}

SPARSE_MISTAKES = {
    "a dense matrix": (
        lambda: FiniteMDP.from_csr(np.eye(2), [0, 0], 0.9),
        "transition is a ndarray; give a scipy sparse",
    ),
    "fewer rows than states": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.ones((1, 2)) / 2), [0], 0.9),
        r"transition has shape \(1, 2\); give one row per pair",
    ),
    "rows that do not divide by states": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.ones((3, 2)) / 2), [0] * 3, 0.9),
        "transition has 3 rows for 2 states; say with state and action which pair each is",
    ),
    "states out of order": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.eye(2)), [0, 0], 0.9, state=[1, 0], action=[0, 0]),
        r"state\[1\] is 0 after 1; order rows by state",
    ),
    "a state out of range": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.eye(2)), [0, 0], 0.9, state=[0, 2], action=[0, 0]),
        r"state\[1\] is 2; it must lie in 0 to 1",
    ),
    "an action given twice": (
        lambda: FiniteMDP.from_csr(
            scipy.sparse.csr_array(np.array([[1.0, 0], [1, 0], [1, 0]])),
            [0] * 3,
            0.9,
            state=[0, 0, 1],
            action=[1, 1, 0],
        ),
        "action labels of state 0 do not increase; sort them and give each once",
    ),
    "states without actions": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.eye(2)), [0, 0], 0.9, state=[0], action=[0]),
        "state must hold 2 integers",
    ),
    "a state left out": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.eye(2)), [0, 0], 0.9, state=[0, 0], action=[0, 1]),
        "state 1 has no feasible action",
    ),
    "only one of state and action": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.eye(2)), [0, 0], 0.9, state=[0, 1]),
        "state and action must be given together",
    ),
    "rewards for nobody": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.eye(2)), [0] * 3, 0.9),
        r"reward has shape \(3,\); give \(2,\) per pair or \(2,\) per stored entry",
    ),
    "an empty last row": (
        lambda: FiniteMDP.from_csr(scipy.sparse.csr_array(np.array([[1.0, 0], [0, 0]])), [0, 0], 0.9),
        "row for state 1, action 0 sums to 0, not 1",
    ),
    "a next state that does not exist": (
        lambda: from_transitions([{0: [(1.0, 3, 0.0, False)]}], 0.9),
        "next state of state 0, action 0 is 3; states are 0 to 0",
    ),
    "a negative next state": (
        lambda: from_transitions([{0: [(1.0, -1, 0.0, False)]}], 0.9),
        "next state of state 0, action 0 is -1",
    ),
    "a negative action": (
        lambda: from_transitions([{-1: [(1.0, 0, 0.0, False)]}], 0.9),
        "action label -1 is negative; labels count from 0",
    ),
    "a state with no action": (
        lambda: from_transitions([{0: [(1.0, 1, 0.0, False)]}, {}], 0.9),
        "state 1 has no feasible action",
    ),
    "an action that leads nowhere": (
        lambda: from_transitions([{0: [(1.0, 0, 0.0, False)], 1: []}], 0.9),
        "row for state 0, action 1 sums to 0, not 1",
    ),
    "rewards of a third length": (
        lambda: from_rows(
            state_ptr=np.array([0, 1]),
            action=np.array([0]),
            row_ptr=np.array([0, 2]),
            next_state=np.array([0, 0]),
            probability=np.array([0.5, 0.5]),
            reward=np.zeros(5),
            discount=0.9,
        ),
        "reward has 5 entries; give 1, per pair, or 2, per transition",
    ),
}

FIELD_MISTAKES = {
    "another dtype": ({"action": np.array([0, 1, 0, 1])}, "action must be a contiguous one-dimensional int32 array"),
    "a list": ({"start": [0.5, 0.5]}, "start must be a contiguous one-dimensional float64 array"),
    "an empty pointer": ({"row_ptr": np.array([], dtype=np.int64)}, "row_ptr is empty"),
    "a pointer that falls": ({"row_ptr": np.array([0, 3, 2, 4, 6])}, "row_ptr must start at 0, never decrease and end"),
    "a pointer that overflows its differences": (
        {"row_ptr": np.array([0, 2**62, -(2**63), -(2**62), 6])},
        "row_ptr must start at 0, never decrease and end at 6",
    ),
    "a continuing end outside its row": ({"continuing_end": np.array([9, 3, 4, 6])}, "continuing_end must lie within"),
    "too few expected rewards": ({"expected_reward": np.zeros(3)}, "expected_reward has 3 entries, but 4 are needed"),
    "a NaN expected reward": (
        {"expected_reward": np.array([0, np.nan, 0, 0])},
        "reward of state 0, action 1 is .*nan.*; rewards must be finite",
    ),
    "too few transition rewards": ({"reward": np.zeros(3)}, "reward has 3 entries, but there are 6 transitions"),
    "an infinite transition reward": (
        {"reward": np.array([0, 0, 1, 2, 3, np.inf])},
        "a reward of state 1, action 1 is .*inf",
    ),
    "rewards that contradict the expected ones": (
        {"reward": np.array([0, 0, 1, 2, 3, 4.0])},
        r"expected_reward of state 1, action 1 is 3, but its transitions pay 3\.75 on average",
    ),
    "a layout for other states": ({"layout": GridLayout(1, 1, (0,))}, "layout places 1 states, but there are 2"),
    "a layout with a cell outside": ({"layout": GridLayout(1, 2, (0, 2))}, "layout.cell holds 2; cells are -1 to 1"),
    "a layout with a wall outside": ({"layout": GridLayout(1, 2, (0, 1), walls=(-1,))}, "layout.walls holds -1"),
    "a layout of nothing": ({"layout": GridLayout(0, 2, (0, 1))}, "layout has 0 rows"),
    "a policy of another length": ({"policies": {"mine": np.ones(3)}}, r"policy 'mine' has shape \(3,\)"),
    "a field that does not exist": ({"gamma": 0.9}, "FiniteMDP has no field 'gamma'"),
}


@pytest.mark.parametrize("mistake", [*DENSE_MISTAKES, *SPARSE_MISTAKES])
def test_builders_refuse(mistake):
    """Prevents each mistake from becoming an MDP, or a traceback about something else."""
    build, message = {**DENSE_MISTAKES, **SPARSE_MISTAKES}[mistake]
    with pytest.raises(MDPError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mistake", FIELD_MISTAKES)
def test_fields_are_validated_again_when_replaced(mistake):
    """Prevents `replace` and files from being a way around validation."""
    changes, message = FIELD_MISTAKES[mistake]
    with pytest.raises(MDPError, match=message):
        small(**changes)


def test_the_first_offending_entry_is_named():
    """Prevents an error that points at the last of many mistakes, or at none."""
    p = P.copy()
    p[0, 1] *= 0.5
    p[1, 0] *= 0.5
    with pytest.raises(MDPError, match="state 0, action 1"):
        FiniteMDP.from_dense(p, R, 0.9)


def test_rounding_is_not_a_mistake():
    """Prevents thirds, tenths and sums in another order from being refused."""
    FiniteMDP.from_dense(np.full((7, 3, 7), 1 / 7), np.zeros((7, 3)), 0.9, start=np.full(7, 1 / 7))


@pytest.mark.parametrize("discount", [0, 1, 0.0, 1.0, True, np.float32(0.5), np.float64(0.9), np.int64(1)])
def test_every_real_discount_in_range_is_stored_as_a_float(discount):
    """Prevents equal discounts of different types from giving different fingerprints."""
    mdp = FiniteMDP.from_dense(P, R, discount)
    assert type(mdp.discount) is float
    assert mdp.fingerprint == FiniteMDP.from_dense(P, R, float(discount)).fingerprint
    assert mdp.replace(discount=discount) == mdp


def test_errors_are_value_errors_of_one_sentence():
    """Prevents the command line, which shows the text alone, from showing half of it."""
    assert issubclass(MDPError, ValueError)
    with pytest.raises(MDPError) as caught:
        small(discount=2)
    assert not re.search(r"[\n\r]", str(caught.value))


def test_every_field_of_an_mdp_is_checked_or_free():
    """Prevents a new field from entering the value unvalidated: add it here once it is checked."""
    checked = {
        "state_ptr", "action", "row_ptr", "continuing_end", "next_state", "probability", "expected_reward", "discount",
        "start", "reward", "state_names", "action_names", "layout", "policies",
    }  # fmt: skip
    assert {item.name for item in dataclasses.fields(FiniteMDP)} == checked | {"name"}
