"""Exercises of chapter 09."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbook.exercise import Exercise, Hint, called, expect_number

Numbers = NDArray[np.float64]


def _numbers(answered: Any, shape: tuple[int, ...]) -> Numbers:
    """What a reader's function returned, as finite numbers of this shape; raises Hint where it is none."""
    found = np.asarray(answered, dtype=float)
    if found.shape != shape:
        raise Hint(f"Return an array of shape {shape}, not {found.shape}.")
    if not np.all(np.isfinite(found)):
        raise Hint("Some of your numbers are not finite.")
    return found


def _judge(got: Numbers | float, right: Numbers | float, rivals: Mapping[str, Numbers | float], otherwise: str) -> None:
    """Raises Hint where an answer is not right: the one that belongs to the first rival that it equals."""
    if np.allclose(got, right, rtol=1e-6, atol=1e-8):
        return
    for hint, rival in rivals.items():
        if np.allclose(got, rival, rtol=1e-6, atol=1e-8):
            raise Hint(hint)
    raise Hint(otherwise)


def _double(answer: Any) -> str:
    random = np.random.default_rng(9)
    for n, k, discount in ((6, 3, 0.9), (5, 4, 0.5), (4, 2, 1.0)):
        online, target = random.normal(size=(n, k)), random.normal(size=(n, k))
        reward, terminated = random.normal(size=n), np.arange(n) % 3 == 1
        got = _numbers(
            called(answer, reward.copy(), terminated.copy(), online.copy(), target.copy(), discount), reward.shape
        )
        alive, rows = discount * ~terminated, np.arange(n)
        chosen = target[rows, online.argmax(axis=1)]
        rivals = {
            "That is DQN's target: one network both chooses the action and judges it, and luck is counted twice.": (
                reward + alive * target.max(axis=1)
            ),
            "You never ask the target network. Who judges what the network that learns has chosen?": (
                reward + alive * online.max(axis=1)
            ),
            "The roles are the other way round: the target network only judges.": (
                reward + alive * online[rows, target.argmax(axis=1)]
            ),
            "Nothing follows where the world ended.": reward + discount * chosen,
            "What follows comes a step later, and is worth less by the discount.": reward + ~terminated * chosen,
        }
        _judge(
            got,
            reward + alive * chosen,
            rivals,
            "Two questions for each row: which next action is chosen, and by whom? What is it worth, and to whom?",
        )
    return "One maximum less over one and the same noise: that is the whole change."


def _limit(answer: Any) -> str:
    random = np.random.default_rng(10)
    for n, discount in ((6, 0.9), (8, 0.75), (5, 1.0)):
        reward, here, following = random.normal(size=(3, n))
        terminated, truncated = np.arange(n) % 4 == 1, np.arange(n) % 4 == 2
        over = terminated | truncated
        # Where an episode goes on, the next row begins with what was seen last.
        following[:-1] = np.where(over[:-1], following[:-1], here[1:])
        given = [each.copy() for each in (reward, terminated, truncated, here, following)]
        got = _numbers(called(answer, *given, discount), reward.shape)
        shifted = np.append(here[1:], following[-1])
        rivals = {
            "An episode whose time ran out is not a world that ended: what would have followed still has a value.": (
                reward + discount * ~over * following
            ),
            "After an end of the world nothing follows.": reward + discount * following,
            "After an end of the world nothing follows, and after a time limit something does: not the other way.": (
                reward + discount * ~truncated * following
            ),
            "The next row is the start of another episode where one was cut. What was seen at the cut is kept apart.": (
                reward + discount * ~terminated * shifted
            ),
            "At a cut, bootstrap from where the step led, not from where it began.": (
                reward + discount * ~terminated * np.where(truncated, here, following)
            ),
            "What follows comes a step later: where is the discount?": reward + ~terminated * following,
        }
        _judge(
            got,
            reward + discount * ~terminated * following,
            rivals,
            "For each row: does the world go on after this step? If so, which observation tells how it would go on?",
        )
    return "The rows that a time limit cuts are few, and wrong they would teach that good states end."


def _lambda(answer: Any) -> str:
    random = np.random.default_rng(11)
    for n, discount, trust in ((5, 0.9, 0.65), (7, 0.8, 0.9), (4, 0.95, 0.0), (6, 0.9, 1.0)):
        reward, following = random.normal(size=(2, n))
        terminated, truncated = np.arange(n) == 1, np.arange(n) == 3
        given = [each.copy() for each in (reward, terminated, truncated, following)]
        got = _numbers(called(answer, *given, discount, trust), reward.shape)
        none = np.zeros(n, dtype=bool)
        alive = discount * ~terminated
        rivals = {
            "Those are targets of one step. What does lambda let through from the step after?": reward
            + alive * following,
            "Nothing follows where the world ended, neither a value nor a return.": _forward(
                reward, none, truncated, following, discount, trust
            ),
            "A return must not run on into the next episode: behind a time limit stands another one.": _forward(
                reward, terminated, none, following, discount, trust
            ),
            "A time limit is no end of the world: bootstrap there.": _forward(
                reward, terminated | truncated, none, following, discount, trust
            ),
            "The last row knows what followed it as well: begin with that value, not with nothing.": _backward(
                reward, alive, np.where(truncated, 0.0, trust), following, 0.0
            ),
            "lambda and 1 - lambda are the other way round.": _forward(
                reward, terminated, truncated, following, discount, 1 - trust
            ),
        }
        _judge(
            got,
            _forward(reward, terminated, truncated, following, discount, trust),
            rivals,
            "Go backwards. At each step mix two things that follow it, the value and the later return; where may the "
            "later return not be used?",
        )
    return "One pass backwards, and all rows of a rollout have their targets."


def _forward(
    reward: Numbers,
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    following: Numbers,
    g: float,
    lam: float,
) -> Numbers:
    """lambda-returns as mixtures of n-step returns, which is how they are defined: no recursion."""
    found = np.zeros(len(reward))
    for t in range(len(reward)):
        paid, factor, left = 0.0, 1.0, 1.0
        for k in range(t, len(reward)):
            paid += factor * reward[k]
            factor *= 0.0 if terminated[k] else g
            last = terminated[k] or truncated[k] or k == len(reward) - 1
            share = left if last else left * (1 - lam)
            found[t] += share * (paid + factor * following[k])
            left -= share
            if last:
                break
    return found


def _backward(reward: Numbers, alive: Numbers, trust: Numbers, following: Numbers, later: float) -> Numbers:
    found = np.zeros(len(reward))
    for t in range(len(reward) - 1, -1, -1):
        later = reward[t] + alive[t] * ((1 - trust[t]) * following[t] + trust[t] * later)
        found[t] = later
    return found


def _huber(answer: Any) -> str:
    cases = (
        ([0.0, 1.0, 3.0], [0.5, 2.0, -4.0, 9.0], 1.0),
        ([-1.0, 2.0], [0.0, 2.5, 7.0], 2.0),
        ([4.0], [4.5, 0.0], 0.5),
    )
    for places, targets, kappa in cases:
        theta, y = np.array(places), np.array(targets)
        got = expect_number(called(answer, theta.copy(), y.copy(), kappa))
        u, n = y[None, :] - theta[:, None], len(theta)
        tau = (2 * np.arange(n)[:, None] + 1) / (2 * n)
        size = np.abs(u)
        bowl = np.where(size <= kappa, u**2 / 2, kappa * (size - kappa / 2))
        weight = np.abs(tau - (u < 0))
        right = float((weight * bowl).mean(axis=1).sum())
        ends = (np.arange(n)[:, None] + 1) / n
        rivals = {
            "Every error counts alike: that draws all places to one and the same. Where do the levels enter?": float(
                bowl.mean(axis=1).sum()
            ),
            "Low places must mind overshooting little and high ones much? Look at the sign of u again.": float(
                (np.abs(tau - (u > 0)) * bowl).mean(axis=1).sum()
            ),
            "Those levels are the right ends of the shares. Take their middles.": float(
                (np.abs(ends - (u < 0)) * bowl).mean(axis=1).sum()
            ),
            "That is the loss without its round bottom. What does L look like near 0?": float(
                (weight * size).mean(axis=1).sum()
            ),
            "Squares all the way out: a single large error would have the word. L is a line beyond kappa.": float(
                (weight * u**2 / 2).mean(axis=1).sum()
            ),
            "The two pieces of L do not meet at kappa: which constant joins them?": float(
                (weight * np.where(size <= kappa, u**2 / 2, kappa * size)).mean(axis=1).sum()
            ),
            "Average over targets, but add up over the places: each has a loss of its own.": float(
                (weight * bowl).mean()
            ),
            "Add up over the places, but average over the targets.": float((weight * bowl).sum()),
        }
        _judge(got, right, rivals, "For each place and each target: the error, its bowl, and on which side it lies.")
    return "With one place this is the Huber loss, halved; with many it is a law."


def _bounded(answer: Any) -> str:
    cases = (
        ([1.0, -2.0, 0.5], [0.5, -1.0, 2.0], 3.0, 1.0, 2.0),
        ([0.0, 1.0], [0.01, 0.02], 0.5, 0.5, 2.0),
        ([0.3, 0.1, -0.7], [4.0, 0.0, -2.0], -0.2, 1.0, 3.0),
        ([1.0, 1.0], [0.3, -0.4], 20.0, 0.1, 2.0),
    )
    for weights, trace, delta, alpha, kappa in cases:
        theta, z = np.array(weights), np.array(trace)
        got = _numbers(called(answer, theta.copy(), z.copy(), delta, alpha, kappa), theta.shape)

        def moved(bound: float, by: float = alpha * delta, theta: Numbers = theta, z: Numbers = z) -> Numbers:
            return np.asarray(theta + by / bound * z)

        one, two = float(np.abs(z).sum()), float(np.sqrt((z**2).sum()))
        reach = alpha * kappa * max(abs(delta), 1.0) * one
        rivals = {
            "Nothing bounds your step: what would an error of a thousand do?": moved(1.0),
            "You divide small steps too, which makes them large. The bound may shorten a step, never lengthen it.": (
                moved(reach)
            ),
            "The length of z is the sum of its absolute values here.": moved(
                max(alpha * kappa * max(abs(delta), 1.0) * two, 1.0)
            ),
            "A small error must not make the bound smaller: |delta| counts from 1 up.": moved(
                max(alpha * kappa * abs(delta) * one, 1.0)
            ),
            "Errors above 1 count in the bound as well.": moved(max(alpha * kappa * one, 1.0)),
            "The trace is followed in the direction of the error. Look at the sign.": moved(
                max(reach, 1.0), -alpha * delta
            ),
        }
        _judge(got, moved(max(reach, 1.0)), rivals, "First M, from alpha, kappa, delta and z. When does it matter?")
    return "For a linear q no step can overshoot its target: chapter 07 has the proof."


class _CountedTree:
    """A heap of sums that counts how often it is asked."""

    def __init__(self, sums: Numbers) -> None:
        self._sums, self.asked = sums, 0

    def __len__(self) -> int:
        return len(self._sums)

    def __getitem__(self, node: Any) -> Any:
        self.asked += len(np.atleast_1d(self._sums[node]))
        return self._sums[node]


def _drawn(answer: Any) -> str:
    random = np.random.default_rng(12)
    for n in (1, 4, 64):
        priority = random.integers(1, 9, size=n) / 4
        priority[n // 2] = 0.0 if n > 1 else 1.0
        sums = np.concatenate([np.zeros(n), priority])
        for node in range(n - 1, 0, -1):
            sums[node] = sums[2 * node] + sums[2 * node + 1]
        edges = np.concatenate([[0.0], np.cumsum(priority)])
        for u in [*(edges[:-1] + 0.25 * priority)[priority > 0], 0.0]:
            tree = _CountedTree(sums)
            got = expect_number(called(answer, tree, float(u)))
            right = int(np.searchsorted(edges, u, side="right")) - 1
            if got == right and tree.asked > 3 * (math.log2(n) + 1):
                raise Hint("Right, but you look at too many nodes. Each node on the way tells which half to leave out.")
            rivals = {
                "Nodes and rows are not counted alike: the first leaf is row 0.": right + n,
                "That is the row of the greatest priority: it would be drawn every time.": int(priority.argmax()),
                "You go down on the wrong side: small numbers lie to the left.": _descend(sums, u, swapped=True),
                "Whoever goes right has left the sum of the left behind: take it off.": _descend(sums, u, keep=True),
            }
            _judge(got, right, rivals, "Start at node 1. Which of its two children holds the number u?")
    return "A draw among a million rows asks twenty nodes."


def _descend(sums: Numbers, u: float, *, swapped: bool = False, keep: bool = False) -> int:
    node, n = 1, len(sums) // 2
    while node < n:
        left = sums[2 * node]
        right_side = (u < left) if swapped else (u >= left)
        if right_side and not keep:
            u -= left
        node = 2 * node + int(right_side)
    return node - n


EXERCISES = (
    Exercise(
        "the double target",
        "Write `targets(reward, terminated, online, target, discount)`: the targets of double DQN for n rows. "
        "`online[i]` and `target[i]` are the two networks' values of all actions at the observation that row i led to. "
        "Return shape (n,).",
        _double,
    ),
    Exercise(
        "when time is up",
        "Write `targets(reward, terminated, truncated, here, following, discount)`: targets of one step for n rows of "
        "one stream, in which the next episode begins in the row after an end. `here[i]` is the greatest action value "
        "at the observation in which row i acts, `following[i]` that at the observation that the step really led to.",
        _limit,
    ),
    Exercise(
        "backwards",
        "Write `returns(reward, terminated, truncated, following, discount, lam)`: the lambda-returns of the n rows of "
        "a rollout, which ends after the last row without an end of its episode. `following[i]` is as above.",
        _lambda,
    ),
    Exercise(
        "a loss for quantiles",
        "Write `loss(theta, targets, kappa)`: the quantile Huber loss of the N places `theta` of one action against "
        "equally likely targets, as a number.",
        _huber,
    ),
    Exercise(
        "no step too far",
        "Write `step(theta, z, delta, alpha, kappa)`: the weights after one bounded step (ObGD) along the trace `z`.",
        _bounded,
    ),
    Exercise(
        "a draw by priority",
        "Write `find(tree, u)`: which row is drawn by the number u. `tree` holds 2 n sums, n a power of two: node 1 is "
        "the sum of all, node i the sum of nodes 2 i and 2 i + 1, and nodes n to 2 n - 1 are the priorities of rows 0 "
        "to n - 1. Row k is drawn where u lies between the sum of the priorities before it and that sum with its own.",
        _drawn,
    ),
)
