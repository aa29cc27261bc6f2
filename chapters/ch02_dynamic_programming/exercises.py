"""Exercises of chapter 02."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rlbook.environments import make
from rlbook.exercise import Exercise, Hint, expect_number
from rlbook.mdp import FiniteMDP
from rlbook.tabular import bellman_backup, evaluate_policy, solve, uniform_policy


def _backup(answer: Any) -> str:
    if not callable(answer):
        raise Hint("Give the function itself: exercise(my_backup), without calling it.")
    for mdp in (make("garnet", states=12, actions=3, branching=4, seed=5, discount=0.8), make("gridworld")):
        v = np.linspace(-1.0, 2.0, mdp.n_states)
        answered = answer(mdp, v.copy())
        if answered is ... or answered is None:
            raise Hint("Replace the dots in your function by the backup, and run the cell again.")
        got = np.asarray(answered, dtype=float)
        right = bellman_backup(mdp, v)[0]
        if got.shape != right.shape:
            raise Hint(f"Return one value per state: shape ({mdp.n_states},), not {got.shape}.")
        if np.allclose(got, right, atol=1e-10):
            continue
        for mistake, sentence in _MISTAKES:
            if np.allclose(got, mistake(mdp, v), atol=1e-10):
                raise Hint(sentence)
        wrong = int(np.argmax(np.abs(got - right)))
        raise Hint(f"On {mdp.name} your value of state {wrong} is off; write out the sum for its first action by hand.")
    return "This is the operator that every solver of this chapter applies."


def _q_table(mdp: FiniteMDP, v: np.ndarray, *, discount: float, ends: bool) -> list[list[float]]:
    return [
        [
            sum(p * (r + discount * v[t] * (not (over and ends))) for p, t, r, over in mdp.transitions(s, int(a)))
            for a in mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]
        ]
        for s in range(mdp.n_states)
    ]


_Mistake = Callable[[FiniteMDP, np.ndarray], np.ndarray]
_MISTAKES: tuple[tuple[_Mistake, str], ...] = (
    (
        lambda mdp, v: np.array([max(q) for q in _q_table(mdp, v, discount=1.0, ends=True)]),
        "One factor is missing: how much is a unit of return worth one step later?",
    ),
    (
        lambda mdp, v: np.array([max(q) for q in _q_table(mdp, v, discount=mdp.discount, ends=False)]),
        "What is earned after a transition that terminates? Look at the fourth entry of a transition.",
    ),
    (
        lambda mdp, v: np.array([float(np.mean(q)) for q in _q_table(mdp, v, discount=mdp.discount, ends=True)]),
        "You average over actions, which evaluates the random policy. What does the optimal agent do with them?",
    ),
)


_GAMMA, _FIRST_ERROR, _GOAL = 0.95, 10.0, 0.01


def _sweeps_needed(answer: Any) -> str:
    number = expect_number(answer)
    exact = math.log(_GOAL / _FIRST_ERROR) / math.log(_GAMMA)
    if abs(number - exact) < 0.01 and number != math.ceil(exact):
        raise Hint("You solved the equation; sweeps are whole, and the bound must be reached.")
    if number != math.ceil(exact):
        direction = "fewer" if number > exact else "more"
        raise Hint(f"The bound asks for {direction}: after k sweeps the error is at most discount^k times the first.")
    return "Note that the number does not depend on how many states there are."


def _worst_cell(answer: Any) -> str:
    mdp = make("gridworld")
    label = expect_number(answer)
    gain = solve(mdp, 1e-10).values - evaluate_policy(mdp, uniform_policy(mdp)).values
    best = int(np.argmax(gain))
    if label != int(label) or not 0 <= label < mdp.n_states:
        raise Hint(f"Answer with a state, a whole number from 0 to {mdp.n_states - 1}.")
    if int(label) != best:
        raise Hint(
            "Compare two vectors: the optimal values, and the values of the policy that picks actions uniformly "
            "(`evaluate_policy` and `uniform_policy`)."
        )
    return f"There, acting well is worth {gain[best]:.2f} more than acting at random."


_EMPTY = "Replace the dots in your function, return the result, and run the cell again."


def _function(answer: Any, call: str) -> Callable[..., Any]:
    if not callable(answer):
        raise Hint(f"Give the function itself: {call}, without calling it.")
    return answer  # type: ignore[no-any-return]


def _filled(answered: Any, size: int, what: str) -> np.ndarray:
    """What a reader's function returned, as floats (size,); raises Hint where it has another shape."""
    if answered is ... or answered is None:
        raise Hint(_EMPTY)
    got = np.asarray(answered, dtype=float)
    if got.shape != (size,):
        raise Hint(f"Return one {what}: shape ({size},), not {got.shape}.")
    return got


def _labels(mdp: FiniteMDP, state: int) -> list[int]:
    return [int(a) for a in mdp.action[mdp.state_ptr[state] : mdp.state_ptr[state + 1]]]


def _swept(mdp: FiniteMDP, v: np.ndarray, *, backwards: bool) -> np.ndarray:
    v = v.copy()
    for s in range(mdp.n_states)[:: -1 if backwards else 1]:
        v[s] = max(
            sum(p * (r + mdp.discount * v[t] * (not over)) for p, t, r, over in mdp.transitions(s, a))
            for a in _labels(mdp, s)
        )
    return v


def _gauss_seidel(answer: Any) -> str:
    sweep = _function(answer, "exercise(my_sweep)")
    for mdp in (make("garnet", states=12, actions=3, branching=4, seed=6, discount=0.8), make("gridworld")):
        v = np.linspace(-1.0, 2.0, mdp.n_states)
        got = _filled(sweep(mdp, v.copy()), mdp.n_states, "value per state")
        if np.allclose(got, _swept(mdp, v, backwards=False), atol=1e-10):
            continue
        if np.allclose(got, bellman_backup(mdp, v)[0], atol=1e-10):
            raise Hint("Every state still reads the old values; what is known of the states before it by then?")
        if np.allclose(got, _swept(mdp, v, backwards=True), atol=1e-10):
            raise Hint("That works in place, from the last state to the first; begin with state 0.")
        wrong = int(np.flatnonzero(~np.isclose(got, _swept(mdp, v, backwards=False), atol=1e-10))[0])
        raise Hint(f"On {mdp.name} state {wrong} is the first one that is off; the states before it are right.")
    return "One vector is enough, and news can cross the whole world in one sweep."


def _improvement(answer: Any) -> str:
    improve = _function(answer, "exercise(my_improvement)")
    # Two actions that are as good, of which the policy's must stay, and two worlds with their last actions as policies.
    tied = FiniteMDP.from_dense([[[1.0], [1.0], [1.0]]], [[1.0, 1.0, 0.0]], 0.5)
    cases = [(tied, np.array([1]), np.array([2.0]))]
    for world in (make("garnet", states=12, actions=3, branching=4, seed=7, discount=0.8), make("gambler", goal=9)):
        last = np.array([_labels(world, s)[-1] for s in range(world.n_states)])
        cases.append((world, last, evaluate_policy(world, last).values))
    for mdp, policy, v in cases:
        got = _filled(improve(mdp, v.copy(), policy.copy()), mdp.n_states, "action label per state")
        worth = _q_table(mdp, v, discount=mdp.discount, ends=True)
        for s in range(mdp.n_states):
            labels = _labels(mdp, s)
            if int(got[s]) != got[s] or int(got[s]) not in labels:
                raise Hint(
                    f"Action {got[s]:g} is not available in state {s} of {mdp.name}. Actions are labels, and states "
                    "may lack some: look them up in `mdp.action`."
                )
            chosen, kept = worth[s][labels.index(int(got[s]))], worth[s][labels.index(int(policy[s]))]
            if chosen < max(worth[s]) - 1e-9:
                raise Hint(f"In state {s} of {mdp.name} another action is better for these values than your choice.")
            if got[s] != policy[s] and chosen <= kept + 1e-9:
                raise Hint(
                    f"In state {s} of {mdp.name} you leave an action that is as good. Could two policies then replace "
                    "each other for ever?"
                )
    return "Repeated with exact evaluations in between, this is Howard's policy iteration."


def _bounds(answer: Any) -> str:
    bounds = _function(answer, "exercise(my_bounds)")
    for seed in range(12):
        mdp = make("garnet", states=10, actions=2, branching=3, seed=seed, discount=0.9)
        v = np.random.default_rng(seed).normal(0.0, 3.0, mdp.n_states)
        after = bellman_backup(mdp, v)[0]
        answered = bounds(v.copy(), after.copy(), mdp.discount)
        if answered is ... or answered is None:
            raise Hint(_EMPTY)
        if not isinstance(answered, tuple) or len(answered) != 2:
            raise Hint("Return two vectors, `lower, upper`.")
        low, high = (_filled(each, mdp.n_states, "bound per state") for each in answered)
        truth = solve(mdp, 1e-10).values
        if np.any(low > truth + 1e-8) or np.any(high < truth - 1e-8):
            side = "lower" if np.any(low > truth + 1e-8) else "upper"
            raise Hint(
                f"Your {side} bound is on the wrong side of v* for garnet seed {seed}. If all future changes were as "
                "extreme as this one, how would they add up?"
            )
        change = after - v
        widest = (change.max() - change.min()) / (1 - mdp.discount)
        if float(np.max(high - low)) > widest * (1 + 1e-9) + 1e-9:
            raise Hint(
                "Your bounds hold, but they are wider than they need be. Use the least and the greatest change, and "
                "not its largest size alone."
            )
    return "One backup bounds v*, whatever vector it starts from."


def _flow_answer(mdp: FiniteMDP, x: np.ndarray, *, discount: float, ends: bool) -> np.ndarray:
    rest = np.add.reduceat(x, mdp.state_ptr[:-1]) - mdp.start
    for i in range(mdp.n_pairs):
        for p, t, _, over in mdp.transitions(int(mdp.pair_state[i]), int(mdp.action[i])):
            rest[t] -= discount * p * x[i] * (not (over and ends))
    return rest


def _flow(answer: Any) -> str:
    imbalance = _function(answer, "exercise(my_imbalance)")
    for mdp in (make("garnet", states=12, actions=3, branching=4, seed=8, discount=0.8), make("gambler", goal=9)):
        x = np.random.default_rng(8).random(mdp.n_pairs)
        got = _filled(imbalance(mdp, x.copy()), mdp.n_states, "imbalance per state")
        right = _flow_answer(mdp, x, discount=mdp.discount, ends=True)
        if np.allclose(got, right, atol=1e-10):
            continue
        if np.allclose(got, -right, atol=1e-10):
            raise Hint("The size is right, the sign is turned: what leaves counts as positive here.")
        if np.allclose(got, right + mdp.start, atol=1e-10):
            raise Hint("One source of visits is missing: where do episodes begin?")
        if np.allclose(got, _flow_answer(mdp, x, discount=1.0, ends=True), atol=1e-10):
            raise Hint("A visit one step later counts for less; by how much?")
        if np.allclose(got, _flow_answer(mdp, x, discount=mdp.discount, ends=False), atol=1e-10):
            raise Hint("Nobody arrives anywhere by a transition that ends the episode.")
        raise Hint(
            f"On {mdp.name} the sums are off. Walk over all pairs, and add what each sends to its next states; `x` has "
            "one entry per pair, in the order of `mdp.action`."
        )
    return "An x >= 0 without imbalance is what some policy visits; the dual program looks for the best paid one."


_DIGITS = 0.001


def _swims(discount: float) -> bool:
    mdp = make("riverswim", discount=discount)
    return int(solve(mdp, 1e-9).policy[0]) == 1


def _patience(answer: Any) -> str:
    discount = expect_number(answer)
    if not 0 <= discount <= 1 - _DIGITS:
        raise Hint(f"A discount lies between 0 and 1, and this one below {1 - _DIGITS:g}.")
    if _swims(max(discount - _DIGITS, 0.0)):
        raise Hint("Swimming is optimal there already, and so it is at somewhat less patience. Try a smaller discount.")
    if not _swims(discount + _DIGITS):
        raise Hint("At this discount the sure reward of drifting is still preferred. Try a larger one.")
    return "Below it the small reward at once wins, above it the large one far up the river."


EXERCISES = (
    Exercise(
        "write the backup",
        "Write `backup(mdp, v)` in plain Python: the Bellman optimality backup of the vector `v`. "
        "`mdp.transitions(s, a)` gives (probability, next state, reward, terminated); the actions of state s are "
        "`mdp.action[mdp.state_ptr[s]:mdp.state_ptr[s + 1]]`.",
        _backup,
    ),
    Exercise(
        "how many sweeps",
        f"The discount is {_GAMMA}, the first error is {_FIRST_ERROR:g}. After how many sweeps is the error certainly "
        f"at most {_GOAL}?",
        _sweeps_needed,
    ),
    Exercise(
        "where does planning pay",
        "In which state of `make('gridworld')` does the optimal policy gain most over the uniform random one?",
        _worst_cell,
    ),
    Exercise(
        "sweep in place",
        "Write `sweep(mdp, v)` in plain Python: one Gauss-Seidel sweep, which backs up the states 0, 1, 2, ... in this "
        "order and uses each new value at once. Return the vector.",
        _gauss_seidel,
    ),
    Exercise(
        "improve a policy",
        "Write `improve(mdp, v, policy)`: for each state the label of an action that is greedy for `v`, but the label "
        "in `policy` where that one is as good (to 1e-9).",
        _improvement,
    ),
    Exercise(
        "bound the truth",
        "Write `bounds(v, tv, discount)`: from a vector and its backup, vectors `lower, upper` with "
        "lower <= v* <= upper, for MDPs that never terminate; as narrow as the section on stopping has them.",
        _bounds,
    ),
    Exercise(
        "balance the flow",
        "Write `imbalance(mdp, x)`: for each state, what is left of the dual program's flow constraint: the visits "
        "that `x` (one entry per pair) spends there, less those that begin there (`mdp.start`), less the discounted "
        "ones that arrive from all pairs.",
        _flow,
    ),
    Exercise(
        "how patient must one be",
        f"In `make('riverswim')`, action 0 drifts and action 1 swims. From which discount on is it optimal to swim "
        f"from the leftmost state? Answer to within {_DIGITS:g}.",
        _patience,
    ),
)
