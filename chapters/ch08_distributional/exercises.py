"""Exercises of chapter 08."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlbook.errors import ParameterError
from rlbook.exercise import Exercise, Hint, called, expect_number
from rlbook.tabular.distributional import (
    Categorical,
    DiscreteLaws,
    ExpectedShortfall,
    Quantiles,
    ValueAtRisk,
    cramer,
)

Row = Sequence[tuple[float, float, int | None]]

_NEAR = 1e-9


def _numbers(answered: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What a reader's function returned, as finite numbers of this shape; raises Hint where it is none."""
    found = np.asarray(answered, dtype=float)
    if found.shape != shape:
        raise Hint(f"Return an array of shape {shape}, not {found.shape}.")
    if not np.all(np.isfinite(found)):
        raise Hint("Some of your numbers are not finite.")
    return found


def _same(got: float, right: float) -> bool:
    return math.isclose(got, right, rel_tol=1e-8, abs_tol=1e-8)


def _law(row: Row, laws: Sequence[tuple[Any, Any]], pay: float, scale: float) -> DiscreteLaws:
    """The mixture over a row of the laws of pay * reward + scale * G(next); chances are divided by their sum."""
    total = sum(chance for chance, _, _ in row)
    atoms, masses = [], []
    for chance, paid, following in row:
        at, mass = ([0.0], [1.0]) if following is None else laws[following]
        atoms.append(pay * paid + scale * np.asarray(at))
        masses.append(chance / total * np.asarray(mass))
    return DiscreteLaws.from_arrays(np.concatenate(atoms), np.concatenate(masses))


def _backup(answer: Any) -> str:
    laws = [([0.0, 4.0], [0.5, 0.5]), ([1.0], [1.0]), ([-2.0, 0.0, 6.0], [0.25, 0.25, 0.5])]
    rows: list[tuple[Row, float]] = [
        ([(0.5, 1.0, 0), (0.5, -1.0, 1)], 0.5),
        ([(0.25, 3.0, None), (0.5, 0.0, 2), (0.25, 2.0, 0)], 0.75),
        ([(1.0, 2.0, 2)], 0.9),
    ]
    for row, discount in rows:
        returned = called(answer, list(row), [(list(a), list(p)) for a, p in laws], discount)
        try:
            atoms, masses = returned
            got = DiscreteLaws.from_arrays(atoms, masses)
        except (ParameterError, TypeError, ValueError) as error:
            raise Hint(f"Return atoms and their masses, two lists of one length, as a law has them: {error}.") from None
        if cramer(got, _law(row, laws, 1.0, discount))[0] < _NEAR:
            continue
        mean = sum(chance * paid for chance, paid, _ in row)
        rivals = {
            "The mean is right, the law is not: each outcome pays its own reward, not the expected one.": _law(
                [(chance, mean, following) for chance, _, following in row], laws, 1.0, discount
            ),
            "What comes later is discounted: it moves every atom of the next law.": _law(row, laws, 1.0, 1.0),
            "The reward is paid now; only what follows is discounted.": _law(row, laws, discount, discount),
            "An episode that ends has a return too: the reward alone, with the chance of that outcome.": _law(
                [each for each in row if each[2] is not None], laws, 1.0, discount
            ),
        }
        for hint, rival in rivals.items():
            if cramer(got, rival)[0] < _NEAR:
                raise Hint(hint)
        raise Hint(
            "Each outcome brings the law of the state that follows. Where do its atoms go, and how likely is each of "
            "them, now that the outcome is one among several?"
        )
    return "Mix, scale, shift: that is the whole operator."


def _project(answer: Any) -> str:
    cases = (
        ([0.25, 2.0, 3.5], [0.5, 0.25, 0.25], np.array([0.0, 1.0, 2.0, 3.0, 4.0])),
        ([-1.0, 0.5, 6.0], [0.25, 0.5, 0.25], np.array([0.0, 1.0, 3.0, 4.0])),
        ([1.2, 1.4], [0.5, 0.5], np.array([-1.0, 1.0, 2.0, 5.0])),
    )
    for atoms, masses, support in cases:
        at, mass = np.array(atoms), np.array(masses)
        got = _numbers(called(answer, at.copy(), mass.copy(), support.copy()), support.shape)
        right = Categorical(support).project(DiscreteLaws.from_arrays(at, mass))[0]
        if np.allclose(got, right):
            continue
        nearest = np.zeros(len(support))
        np.add.at(nearest, np.abs(at[:, None] - support).argmin(axis=1), mass)
        if np.allclose(got, nearest):
            raise Hint(
                "All of an atom's mass goes to one place, and the mean is lost. Share it between two neighbours."
            )
        if not _same(float(got.sum()), 1.0):
            raise Hint(f"Your masses sum to {got.sum():.3g}. Where does mass go that lies beyond the ends?")
        if not _same(float(got @ support), float(right @ support)):
            raise Hint("Within the support the mean must not move. Whom does an atom near its left neighbour favour?")
        raise Hint(
            "An atom between two neighbours gives each a share; the nearer it is to one, the more that one gets. Mind "
            "supports that are not even."
        )
    return "The shares are those that keep the mean: all of C51's projection is in them."


def _quantiles(answer: Any) -> str:
    cases = (
        ([0.0, 1.0, 2.0, 10.0], [0.1, 0.2, 0.3, 0.4], 2),
        ([5.0, -1.0, 3.0], [0.5, 0.3, 0.2], 4),
        ([0.0, 100.0], [0.97, 0.03], 5),
    )
    for atoms, masses, m in cases:
        laws = DiscreteLaws.from_arrays(atoms, masses)
        got = np.sort(_numbers(called(answer, np.array(atoms), np.array(masses), m), (m,)))
        if np.allclose(got, Quantiles(m).project(laws)[0]):
            continue
        order = np.argsort(atoms)
        sorted_atoms, sorted_masses = np.array(atoms)[order], np.array(masses)[order]
        if np.allclose(got, laws.quantiles(np.arange(1, m + 1) / m)[0]):
            raise Hint("Those are the quantiles at the right ends of the shares. What stands in the middle of a share?")
        if np.allclose(got, laws.quantiles(np.maximum(np.arange(m) / m, 1e-9))[0]):
            raise Hint("Those are the quantiles at the left ends of the shares. What stands in the middle of a share?")
        if np.allclose(got, _means_of_shares(sorted_atoms, sorted_masses, m)):
            raise Hint("Means of shares keep the mean of the law, and are nearest in squares. In W1 distances count.")
        if np.allclose(got, np.quantile(np.array(atoms), (2 * np.arange(m) + 1) / (2 * m))):
            raise Hint("Your quantiles take all atoms for equally likely. Where do the masses enter?")
        raise Hint(
            "Cut the levels from 0 to 1 into m equal shares. Which single place is nearest, on average, to all that "
            "the quantile function is on one share?"
        )
    return "A median for each share. Of the rare prize in the last case none of five medians knows: that is W1's way."


def _means_of_shares(atoms: np.ndarray, masses: np.ndarray, m: int) -> np.ndarray:
    """The mean of the quantile function over each m-th of the levels."""
    ends = np.concatenate([[0.0], np.cumsum(masses)])
    cuts = np.arange(m + 1) / m
    overlap = np.clip(
        np.minimum(ends[None, 1:], cuts[1:, None]) - np.maximum(ends[None, :-1], cuts[:-1, None]), 0.0, None
    )
    return np.asarray(m * overlap @ atoms)


def _backups(answer: Any) -> str:
    for discount, p, share in ((0.81, 2.0, 0.1), (0.9, 1.0, 0.1), (0.5, 4.0, 0.25), (0.99, 2.0, 0.01), (0.9, 2.0, 1.0)):
        got = expect_number(called(answer, discount, p, share))
        right = _least(discount ** (1 / p), share)
        if got == right:
            continue
        if got < 0 or got != int(got):
            raise Hint("Backups are counted in whole numbers, from 0 up.")
        if p != 1 and got == _least(discount, share):
            raise Hint(
                "That is how a Wasserstein distance shrinks. What does scaling do to the integral of |F - F'|^p?"
            )
        if got == _least(discount**p, share):
            raise Hint("The power is the other way round: larger p shrink more slowly.")
        if got in (right - 1, right + 1):
            raise Hint("You are off by one. Does the bound hold there, and not one backup earlier?")
        raise Hint("One backup leaves a power of the discount. Which one, and how often must it be multiplied?")
    return (
        "Distances between distribution functions shrink like roots: more slowly the larger p, and never for infinity."
    )


def _least(modulus: float, share: float) -> int:
    return max(0, math.ceil(math.log(share) / math.log(modulus) - 1e-9))


def _shortfall(answer: Any) -> str:
    cases = (
        ([-10.0, 0.0, 5.0], [0.1, 0.4, 0.5], 0.25),
        ([-4.0, -2.0, 1.0, 8.0], [0.25, 0.25, 0.25, 0.25], 0.6),
        ([3.0, -1.0, 2.0], [0.2, 0.3, 0.5], 1.0),
        ([-100.0, 1.0], [0.02, 0.98], 0.01),
    )
    for atoms, masses, level in cases:
        laws = DiscreteLaws.from_arrays(atoms, masses)
        at, mass = laws.law(0)
        got = expect_number(called(answer, np.array(atoms), np.array(masses), level))
        if _same(got, float(ExpectedShortfall(level).of(laws)[0])):
            continue
        at_risk = float(ValueAtRisk(level).of(laws)[0])
        below = at <= at_risk
        if _same(got, at_risk):
            raise Hint("That is the value at risk: where the worst share ends. How bad is that share on average?")
        if _same(got, float(at[below] @ mass[below] / mass[below].sum())):
            raise Hint("Your share is larger than the level: of the last atom only a part belongs to it.")
        if _same(got, float(at[below] @ mass[below] / level)):
            raise Hint("The masses that you average over sum to more than the level. Cut the last one.")
        if np.any(at < at_risk) and _same(got, float(at[at < at_risk] @ mass[at < at_risk] / level)):
            raise Hint(
                "The masses that you average over sum to less than the level. A part of the next atom is missing."
            )
        if _same(got, -float(ExpectedShortfall(level).of(laws.shifted(0.0, -1.0))[0])):
            raise Hint("Those are the best returns. The worst are the lowest.")
        raise Hint("Which returns make up the worst share, and how much of each? Together they weigh the level.")
    return "With level 1 it is the mean, with a small one the worst case: a dial between the two."


def _update(answer: Any) -> str:
    cases = (
        ([0.0, 1.0, 4.0], [0.5, 2.0, -1.0, -3.0, -5.0], 0.1),
        ([-1.0, 0.0, 3.0], [-2.0, 1.0, 1.5, 9.0], 0.5),
        ([0.0, 0.0, 0.0, 0.0], [100.0, -1.0], 1.0),
    )
    for places, targets, alpha in cases:
        theta, z = np.array(places), np.array(targets)
        got = _numbers(called(answer, theta.copy(), z.copy(), alpha), theta.shape)
        tau = (2 * np.arange(len(theta)) + 1) / (2 * len(theta))
        below = (z[None, :] < theta[:, None]).mean(axis=1)
        step = got - theta
        if np.allclose(step, alpha * (tau - below)):
            continue
        if np.allclose(step, -alpha * (tau - below)):
            raise Hint("Your locations run away from their targets. Which way must one go that lies below all of them?")
        if np.allclose(step, alpha * len(z) * (tau - below)):
            raise Hint("You add up over targets. Average, so that no step is longer than alpha.")
        for levels in ((np.arange(len(theta)) + 1) / len(theta), np.arange(len(theta)) / len(theta)):
            if np.allclose(step, alpha * (levels - below)):
                raise Hint("Those levels stand at the ends of their shares. Take the middles.")
        gap = z[None, :] - theta[:, None]
        if np.allclose(step, alpha * (np.abs(tau[:, None] - (gap < 0)) * gap).mean(axis=1)):
            raise Hint("Your steps grow with the distance: that way lie expectiles. A quantile asks only who is below.")
        raise Hint("For each location: which share of the targets lies below it, and which share should?")
    return "A reward of a million moves a location as far as a reward of two does."


def _variance(answer: Any) -> str:
    random = np.random.default_rng(8)
    for n, discount in ((3, 0.9), (4, 0.5), (2, 0.99)):
        move, paid = random.dirichlet(np.ones(n), size=n), random.normal(size=(n, n))
        v = np.linalg.solve(np.eye(n) - discount * move, (move * paid).sum(axis=1))
        got = _numbers(called(answer, move.copy(), paid.copy(), discount, v.copy()), (n,))
        outcome = paid + discount * v
        local = (move * (outcome - v[:, None]) ** 2).sum(axis=1)
        right = np.linalg.solve(np.eye(n) - discount**2 * move, local)
        if np.allclose(got, right):
            continue
        if np.allclose(got, np.sqrt(right)):
            raise Hint("Those are standard deviations; the variance was asked for.")
        if np.allclose(got, local):
            raise Hint("That is the variance of one step with values behind it. The next state brings its own.")
        if np.allclose(got, np.linalg.solve(np.eye(n) - discount * move, local)):
            raise Hint("A return that is scaled by the discount: by what is its variance scaled?")
        mean = (move * paid).sum(axis=1)
        blunt = (move * (mean[:, None] + discount * v - v[:, None]) ** 2).sum(axis=1)
        if np.allclose(got, np.linalg.solve(np.eye(n) - discount**2 * move, blunt)):
            raise Hint("You have taken the expected reward of a state. What its transitions pay differs, and counts.")
        raise Hint(
            "Split the variance of R + discount * G(S') into that of what is known once R and S' are, and what is left "
            "to chance after them. Which equation does that make for all states together?"
        )
    return "A Bellman equation again, with another reward and another discount."


EXERCISES = (
    Exercise(
        "back it up",
        "Write `backup(row, laws, discount)`: the law of the return of a state whose outcomes are `row`, a list of "
        "(probability, reward, next state or None at the end). `laws[s]` is (atoms, masses) of state s. Return atoms "
        "and masses, in any order.",
        _backup,
    ),
    Exercise(
        "on fixed atoms",
        "Write `project(atoms, masses, support)`: the Cramer projection of one law onto `support`, rising. Return one "
        "mass for each place of the support.",
        _project,
    ),
    Exercise(
        "on few places",
        "Write `places(atoms, masses, m)`: the m equally likely places that are nearest to the law in Wasserstein-1 "
        "distance (where several are, the lowest). Atoms come in any order.",
        _quantiles,
    ),
    Exercise(
        "how many backups",
        "Write `backups(discount, p, share)`: after how many backups is the $\\ell_p$ distance of two tables of laws, "
        "p finite, certainly at most `share` times what it was? Return the least such number.",
        _backups,
    ),
    Exercise(
        "the worst share",
        "Write `shortfall(atoms, masses, level)`: the expected shortfall of a law of returns, the mean of its worst "
        "share `level`. Atoms come in any order.",
        _shortfall,
    ),
    Exercise(
        "a quantile update",
        "Write `update(theta, targets, alpha)`: one update of quantile TD for m locations `theta`, from targets that "
        "are equally likely. Return the m new locations.",
        _update,
    ),
    Exercise(
        "its spread",
        "Write `variance(P, R, discount, v)`: the variances of the returns from n states. `P[s, t]` is the chance to "
        "go from s to t, `R[s, t]` what that pays, `v` the values. Return shape (n,).",
        _variance,
    ),
)
