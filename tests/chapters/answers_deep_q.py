"""Right and wrong answers to the exercises of chapter 09, and a word that the hint holds."""

from __future__ import annotations

import numpy as np

from rlbook.chapters.ch09_deep_q.exercises import EXERCISES

DOUBLE, LIMIT, BACKWARDS, HUBER, BOUNDED, DRAWN = EXERCISES


def double(reward, terminated, online, target, discount):
    out = []
    for r, over, chooses, judges in zip(reward, terminated, online, target, strict=True):
        out.append(r if over else r + discount * judges[int(np.argmax(chooses))])
    return out


def limit(reward, terminated, truncated, here, following, discount):
    return [r + (0.0 if over else discount * v) for r, over, v in zip(reward, terminated, following, strict=True)]


def backwards(reward, terminated, truncated, following, discount, lam, *, cut=True, first=None):
    later, out = following[-1] if first is None else first, []
    for r, over, limit, v in list(zip(reward, terminated, truncated, following, strict=True))[::-1]:
        keep = 0.0 if limit and cut else lam
        later = r + (0.0 if over else discount) * ((1 - keep) * v + keep * later)
        out.append(later)
    return out[::-1]


def huber(theta, targets, kappa, *, level=lambda k, n: (2 * k + 1) / (2 * n), bowl=None, weight=None):
    bowl = bowl or (lambda u: u * u / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2))
    weight = weight or (lambda tau, u: 1 - tau if u < 0 else tau)
    total = 0.0
    for k, place in enumerate(theta):
        tau = level(k, len(theta))
        total += sum(weight(tau, y - place) * bowl(y - place) for y in targets) / len(targets)
    return total


def bounded(theta, z, delta, alpha, kappa, *, bound=lambda m: max(m, 1.0), error=lambda d: max(abs(d), 1), power=1):
    length = float((np.abs(z) ** power).sum() ** (1 / power))
    return theta + alpha / bound(alpha * kappa * error(delta) * length) * delta * z


def drawn(tree, u):
    node, n = 1, len(tree) // 2
    while node < n:
        node *= 2
        left = tree[node]
        if u >= left:
            u, node = u - left, node + 1
    return node - n


def one_by_one(tree, u):
    n, total = len(tree) // 2, 0.0
    for k in range(n):
        total += tree[n + k]
        if u < total:
            return k
    return n - 1


def never_right(tree, u):
    n = len(tree) // 2
    node = 1
    while node < n:
        node = 2 * node + int(u >= tree[2 * node])
    return node - n


def wrong_side(tree, u):
    n = len(tree) // 2
    node = 1
    while node < n:
        left = tree[2 * node]
        node, u = (2 * node + 1, u - left) if u < left else (2 * node, u)
    return node - n


def priorities(tree):
    n = len(tree) // 2
    return np.array([tree[n + k] for k in range(n)])


RIGHT = [
    (DOUBLE, double),
    (LIMIT, limit),
    (BACKWARDS, backwards),
    (HUBER, huber),
    (BOUNDED, bounded),
    (DRAWN, drawn),
]
WRONG = [
    (DOUBLE, 3, "without calling"),
    (DOUBLE, lambda r, over, online, target, g: ..., "Replace the dots"),
    (DOUBLE, lambda r, over, online, target, g: double(r, over, target, target, g), "DQN's target"),
    (DOUBLE, lambda r, over, online, target, g: double(r, over, online, online, g), "never ask the target"),
    (DOUBLE, lambda r, over, online, target, g: double(r, over, target, online, g), "other way round"),
    (DOUBLE, lambda r, over, online, target, g: double(r, np.zeros_like(over), online, target, g), "world ended"),
    (DOUBLE, lambda r, over, online, target, g: double(r, over, online, target, 1.0), "a step later"),
    (DOUBLE, lambda r, over, online, target, g: target, "shape"),
    (DOUBLE, lambda r, over, online, target, g: 0 * r, "Two questions"),
    (LIMIT, lambda *given: ..., "Replace the dots"),
    (LIMIT, lambda r, over, cut, here, there, g: limit(r, over | cut, cut, here, there, g), "time ran out"),
    (LIMIT, lambda r, over, cut, here, there, g: limit(r, 0 * over, cut, here, there, g), "nothing follows"),
    (LIMIT, lambda r, over, cut, here, there, g: limit(r, cut, cut, here, there, g), "not the other way"),
    (
        LIMIT,
        lambda r, over, cut, here, there, g: limit(r, over, cut, here, np.append(here[1:], there[-1]), g),
        "start of another episode",
    ),
    (
        LIMIT,
        lambda r, over, cut, here, there, g: limit(r, over, cut, here, np.where(cut, here, there), g),
        "where the step led",
    ),
    (LIMIT, lambda r, over, cut, here, there, g: limit(r, over, cut, here, there, 1.0), "where is the discount"),
    (LIMIT, lambda r, over, cut, here, there, g: 0 * r, "does the world go on"),
    (BACKWARDS, lambda *given: ..., "Replace the dots"),
    (BACKWARDS, lambda r, over, cut, there, g, lam: backwards(r, over, cut, there, g, 0.0), "of one step"),
    (BACKWARDS, lambda r, over, cut, there, g, lam: backwards(r, 0 * over, cut, there, g, lam), "neither a value"),
    (BACKWARDS, lambda *given: backwards(*given, cut=False), "next episode"),
    (BACKWARDS, lambda r, over, cut, there, g, lam: backwards(r, over | cut, cut, there, g, lam), "no end of the"),
    (BACKWARDS, lambda *given: backwards(*given, first=0.0), "begin with that value"),
    (BACKWARDS, lambda r, over, cut, there, g, lam: backwards(r, over, cut, there, g, 1 - lam), "other way round"),
    (BACKWARDS, lambda r, over, cut, there, g, lam: 0 * r, "Go backwards"),
    (HUBER, lambda theta, y, kappa: ..., "Replace the dots"),
    (HUBER, lambda *given: huber(*given, weight=lambda tau, u: 1.0), "Where do the levels enter"),
    (HUBER, lambda *given: huber(*given, weight=lambda tau, u: 1 - tau if u > 0 else tau), "sign of u"),
    (HUBER, lambda *given: huber(*given, level=lambda k, n: (k + 1) / n), "right ends"),
    (HUBER, lambda *given: huber(*given, bowl=abs), "round bottom"),
    (HUBER, lambda *given: huber(*given, bowl=lambda u: u * u / 2), "Squares all the way"),
    (
        HUBER,
        lambda theta, y, kappa: huber(theta, y, kappa, bowl=lambda u: u * u / 2 if abs(u) <= kappa else kappa * abs(u)),
        "do not meet",
    ),
    (HUBER, lambda theta, y, kappa: huber(theta, y, kappa) / len(theta), "add up over the places"),
    (HUBER, lambda theta, y, kappa: huber(theta, y, kappa) * len(y), "average over the targets"),
    (HUBER, lambda theta, y, kappa: 77.0, "For each place"),
    (BOUNDED, lambda *given: ..., "Replace the dots"),
    (BOUNDED, lambda *given: bounded(*given, bound=lambda m: 1.0), "Nothing bounds"),
    (BOUNDED, lambda *given: bounded(*given, bound=lambda m: m), "never lengthen"),
    (BOUNDED, lambda *given: bounded(*given, power=2), "absolute values"),
    (BOUNDED, lambda *given: bounded(*given, error=abs), "from 1 up"),
    (BOUNDED, lambda *given: bounded(*given, error=lambda d: 1.0), "Errors above 1"),
    (BOUNDED, lambda theta, z, delta, *given: bounded(theta, z, -delta, *given), "sign"),
    (BOUNDED, lambda theta, *given: 0 * theta + 7, "First M"),
    (DRAWN, lambda tree, u: ..., "Replace the dots"),
    (DRAWN, one_by_one, "too many nodes"),
    (DRAWN, lambda tree, u: drawn(tree, u) + len(tree) // 2, "first leaf is row 0"),
    (DRAWN, lambda tree, u: int(np.argmax(priorities(tree))), "greatest priority"),
    (DRAWN, wrong_side, "small numbers lie"),
    (DRAWN, never_right, "take it off"),
    (DRAWN, lambda tree, u: -1, "Start at node 1"),
]
