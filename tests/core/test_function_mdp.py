"""`FunctionMDP`: functions enumerated into arrays, and every rule they may break named before anything is lost."""

from __future__ import annotations

import doctest
import pickle
import tracemalloc

import numba
import numpy as np
import pytest

from rlbook import function_mdp
from rlbook.errors import Cancelled, MDPError
from rlbook.function_mdp import FunctionMDP
from rlbook.function_passes import WORTH_PARALLEL, _examine_kernels
from rlbook.kernel import all_kernels
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions


@numba.njit
def ring_successors(state, action, next_state, probability):
    """Around a ring whose size is the room: action 0 goes on or ends, action 1 stays or goes on, action 2 goes on."""
    size = len(next_state)
    if action == 0:
        next_state[0], probability[0] = -1, 0.25
        next_state[1], probability[1] = (state + 1) % size, 0.75
    elif action == 1:
        next_state[0], probability[0] = state, 0.5
        next_state[1], probability[1] = (state + 1) % size, 0.5
    else:
        next_state[0], probability[0] = 0, 0.0
        next_state[1], probability[1] = (state + 1) % size, 1.0
    return 2


@numba.njit
def ring_reward(state, action):
    return -np.inf if action == 2 and state == 1 else float(state - action)


@numba.njit
def ring_feasible(state, action):
    return action > 0 or state != 2


def ring(size: int, **options) -> FunctionMDP:
    options = {"most_successors": size, "feasible": ring_feasible, "name": "ring"} | options
    return FunctionMDP(size, 3, ring_successors, ring_reward, 0.9, **options)


def listed_ring(size: int) -> FiniteMDP:
    rows = []
    for s in range(size):
        on = (s + 1) % size
        row = {1: [(0.5, s, s - 1.0, False), (0.5, on, s - 1.0, False)]}
        if s != 2:
            row[0] = [(0.75, on, float(s), False), (0.25, s, float(s), True)]
        if s != 1:
            row[2] = [(1.0, on, s - 2.0, False)]
        rows.append(row)
    return from_transitions(rows, 0.9)


@pytest.mark.parametrize("size", [2, 3, 50])
def test_enumeration_gives_what_listing_gives(size):
    """Prevents a lost pair, a kept zero, an infeasible action, or a terminating transition before a continuing one."""
    assert ring(size).to_finite_mdp() == listed_ring(size)


def test_enumeration_is_the_same_for_any_number_of_threads():
    """Prevents results that depend on which thread writes where."""
    size = 1200
    assert size * 3 * size >= WORTH_PARALLEL
    found, before = [], numba.get_num_threads()
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            mdp = ring(size)
            found.append((mdp.to_finite_mdp(), mdp.examine()))
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]
    assert found[0][0] == listed_ring(size)


def test_examination_counts_what_is_stored():
    mdp, stored = ring(50), ring(50).to_finite_mdp()
    found = mdp.examine()
    assert (found.pairs, found.transitions) == (stored.n_pairs, stored.n_transitions)
    assert (found.least_mass, found.greatest_mass) == (stored.continuation.min(), stored.continuation.max())
    assert found.largest_reward == np.abs(stored.expected_reward).max()
    assert found.longest_row == 2


def test_the_door_of_finite_mdp_takes_the_same_arguments():
    start = np.eye(4)[2]
    made = FiniteMDP.from_functions(
        4, 3, ring_successors, ring_reward, 0.9, most_successors=4, feasible=ring_feasible, start=start, name="door"
    )
    assert made == listed_ring(4).replace(start=start)
    assert made.name == "door"


def test_one_state_and_one_action():
    def successors(state, action, next_state, probability):
        next_state[0], probability[0] = 0, 1.0
        return 1

    mdp = FunctionMDP(1, 1, successors, lambda state, action: 1, 0.5, most_successors=1)
    assert mdp.to_finite_mdp() == FiniteMDP.from_dense([[[1.0]]], [[1.0]], 0.5)


def test_a_plain_function_is_read_anew_for_each_model():
    """Prevents a second model from being computed with the numbers that the first one's functions read."""
    found = []
    level = 1.0

    def reward(state, action):
        return level

    for _ in range(2):
        made = FunctionMDP(3, 1, ring_successors, reward, 0.9, most_successors=3)
        found.append(made.examine().largest_reward)
        level = 2.0
    assert found == [1.0, 2.0]


def test_models_that_share_compiled_functions_share_kernels():
    """Prevents a second or two of compilation for every change of the discount or the size."""
    ring(5).examine()
    misses = _examine_kernels.cache_info().misses
    ring(6).examine()
    assert _examine_kernels.cache_info().misses == misses
    serial, _ = _examine_kernels(ring(6).tried)
    assert serial.dispatcher.signatures == [serial.signature]


def test_kernels_of_functions_are_neither_cached_nor_listed():
    """Prevents a cache from answering with functions that have changed, and `rlbook warm` from waiting for them."""
    ring(5).examine()
    serial, parallel = _examine_kernels(ring(5).tried)
    assert serial.dispatcher.stats.cache_path is None
    assert serial not in list(all_kernels())
    assert parallel not in list(all_kernels())


# One compiled function breaks another rule for each room: room 10 + fault.
@numba.njit
def faulty_successors(state, action, next_state, probability):
    fault = len(next_state) - 10
    next_state[0], probability[0] = state, 1.0
    if state < 3 or action < 1:
        return 1
    if fault == 1:
        return 12
    if fault == 2:
        return 0
    if fault == 3:
        return 2
    if fault == 4:
        next_state[0] = 7
    if fault == 5:
        probability[0] = np.nan
    if fault == 6:
        next_state[1], probability[0], probability[1] = 0, 1.5, -0.5
        return 2
    if fault == 7:
        probability[0] = 0.97
    if fault == 8:
        probability[0] = np.inf
    if fault == 9:
        raise KeyError("no such state")
    if fault == 10:
        np.empty(3)[1 // (state - state)] = 0.0
    if fault == 11:
        return -5
    return 1


@numba.njit
def nothing(state, action):
    return 0.0


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (1, r"successors of state 3, action 1 returns 12; there is room for 11, so raise most_successors"),
        (2, r"successors of state 3, action 1 returns 0; return how many"),
        (3, r"successors of state 3, action 1 returns 2, but did not write both arrays at 1"),
        (4, r"next state of state 3, action 1 is 7; states are 0 to 6, and a negative one ends"),
        (5, r"probability of state 3, action 1 is nan; probabilities must be finite"),
        (6, r"probability of state 3, action 1 is -0.5; probabilities must not be negative"),
        (7, r"row for state 3, action 1 sums to 0.97, not 1"),
        (8, r"probability of state 3, action 1 is inf; probabilities must be finite"),
        (9, r"successors raises KeyError .* for state 3, action 1"),
        (10, r"successors raises ZeroDivisionError .* for state 3, action 1"),
        (11, r"successors of state 3, action 1 returns -5"),
    ],
)
def test_a_broken_rule_is_named_with_the_first_pair_that_breaks_it(fault, sentence, parallel, monkeypatch):
    """Prevents crashes and silent nonsense: in a parallel kernel an exception would be lost."""
    if parallel:
        monkeypatch.setattr("rlbook.function_passes.WORTH_PARALLEL", 0)
    mdp = FunctionMDP(7, 3, faulty_successors, nothing, 0.9, most_successors=10 + fault)
    for run in (mdp.examine, mdp.to_finite_mdp):
        with pytest.raises(MDPError, match=sentence):
            run()


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (3, "reward of state 3, action 0 is nan; rewards must be finite, or -inf"),
        (4, "reward of state 4, action 0 is inf"),
        (5, "state 5 has no feasible action; give every state at least one"),
        (6, "reward raises IndexError .* for state 6, action 0"),
    ],
)
def test_a_broken_reward_is_named(state, sentence):
    paid = np.zeros(6)
    paid[3:] = np.nan, np.inf, -np.inf

    def reward(s, a):
        return paid[s] if s >= state else 0.0

    mdp = FunctionMDP(8, 2, ring_successors, reward, 0.9, most_successors=8)
    with pytest.raises(MDPError, match=sentence):
        mdp.examine()


def test_a_write_beyond_the_room_of_a_plain_function_is_an_error_that_names_the_pair():
    """Prevents corrupted memory."""

    def successors(state, action, next_state, probability):
        for k in range(2 + state):
            next_state[k], probability[k] = k, 1 / (2 + state)
        return 2 + state

    with pytest.raises(MDPError, match=r"IndexError .* state 2, action 0; raise most_successors, which is 3"):
        FunctionMDP(10, 1, successors, nothing, 0.9, most_successors=3).examine()


@pytest.mark.parametrize("place", [3, 10, -4, -11])
@pytest.mark.parametrize("array", [0, 1])
def test_a_write_a_little_beyond_the_room_of_a_compiled_function_is_noticed(place, array):
    """Prevents corrupted memory where indices are not checked."""

    @numba.njit
    def successors(state, action, next_state, probability):
        next_state[0], probability[0] = 0, 1.0
        if state == 4:
            if array == 0:
                next_state[place] = 1
            else:
                probability[place] = 0.5
        return 1

    with pytest.raises(MDPError, match="successors of state 4, action 0 writes beyond its arrays"):
        FunctionMDP(10, 1, successors, nothing, 0.9, most_successors=3).examine()


def test_functions_that_answer_differently_are_refused():
    """Prevents writing rows where others were counted."""

    @numba.njit
    def successors(state, action, next_state, probability):
        count = np.random.randint(1, 4)
        for k in range(count):
            next_state[k], probability[k] = k, 1 / count
        return count

    with pytest.raises(MDPError, match=r"answered differently for state .* they must depend on state and action alone"):
        FunctionMDP(1000, 1, successors, nothing, 0.9, most_successors=3).to_finite_mdp()


def two_arguments(state, action):
    return 0


def returns_nothing(state, action):
    print("no result")


def returns_text(state, action):
    return "zero"


def reads_what_is_not_there(state, action):
    return missing  # noqa: F821


def adds_text(state, action):
    return state + "zero"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"n_states": 0}, "n_states is 0; it must be at least 1"),
        ({"n_actions": 2.5}, "n_actions is 2.5; give a whole number"),
        ({"most_successors": -1}, "most_successors is -1"),
        ({"n_states": 2**60}, "more than any pass could visit; choose a coarser grid"),
        ({"discount": 1.5}, r"discount is 1.5; it must lie in \[0, 1\]"),
        ({"start": [0.5, 0.5]}, "start has shape"),
        ({"successors": two_arguments}, r"successors takes \(state, action\); it is called as successors\(state,"),
        ({"successors": 3}, "successors is a int; give a Python function, or one made by numba.njit"),
        ({"successors": numba.njit(parallel=True)(ring_successors.py_func)}, "successors is compiled with parallel"),
        ({"reward": numba.njit(fastmath=True)(two_arguments)}, "reward is compiled with fastmath"),
        ({"reward": returns_nothing}, "reward returns none; it must return a number"),
        ({"reward": returns_text}, "reward returns unicode_type|reward returns Literal|reward returns str"),
        ({"reward": reads_what_is_not_there}, "reward cannot be compiled .*missing"),
        (
            {"reward": adds_text},
            r"reward cannot be compiled \(No implementation .* add\(|reward cannot be compiled .*\+",
        ),
        ({"feasible": numba.njit("boolean(int32, int32)")(two_arguments)}, "feasible cannot be compiled"),
    ],
)
def test_bad_arguments_get_a_sentence(changes, sentence):
    arguments = {
        "n_states": 5,
        "n_actions": 3,
        "successors": ring_successors,
        "reward": nothing,
        "discount": 0.9,
        "most_successors": 5,
    }
    with pytest.raises(MDPError, match=sentence):
        FunctionMDP(**(arguments | changes))


def test_the_examination_can_be_cancelled_and_is_made_once():
    mdp = ring(50)
    with pytest.raises(Cancelled):
        mdp.examine(np.ones(1, np.uint8))
    assert mdp.examine() is mdp.examine(np.ones(1, np.uint8))


def test_a_copy_by_pickle_is_the_same_model():
    """Prevents a model that cannot be sent to another process, or one that carries a start law of many megabytes."""
    mdp = ring(50)
    text = pickle.dumps(mdp)
    assert len(text) < 20_000
    assert pickle.loads(text).to_finite_mdp() == mdp.to_finite_mdp()
    law = np.eye(50)[3]
    assert pickle.loads(pickle.dumps(ring(50, start=law))).start.tolist() == law.tolist()


def test_a_function_that_cannot_be_pickled_is_named():
    mdp = FunctionMDP(3, 1, ring_successors, lambda state, action: 0.0, 0.9, most_successors=3)
    with pytest.raises(MDPError, match=r"reward cannot be pickled .* define it at the top of a module"):
        pickle.dumps(mdp)


def test_enumeration_needs_little_more_memory_than_its_result():
    """Prevents temporary copies of what is meant to be as large as memory allows."""

    @numba.njit
    def successors(state, action, next_state, probability):
        next_state[0], probability[0] = state, 0.5
        next_state[1], probability[1] = (state * 7 + action) % 100_000, 0.5
        return 2

    mdp = FunctionMDP(100_000, 4, successors, nothing, 0.9, most_successors=2)
    mdp.to_finite_mdp()
    tracemalloc.start()
    try:
        stored = mdp.to_finite_mdp()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * stored.nbytes


def test_the_example_in_the_text_runs():
    assert doctest.testmod(function_mdp, raise_on_error=True).attempted > 5
