"""Right and wrong answers to the exercises of chapter 08, and a word that the hint holds."""

from __future__ import annotations

import math

import numpy as np

from rlbook.chapters.ch08_distributional.exercises import EXERCISES

BACKUP, PROJECT, PLACES, BACKUPS, SHORTFALL, UPDATE, VARIANCE = EXERCISES


def backup(row, laws, discount, move=lambda paid, x, discount: paid + discount * x, ends=True):
    atoms, masses = [], []
    for chance, paid, following in row:
        if following is None and not ends:
            continue
        for x, p in zip(*(([0.0], [1.0]) if following is None else laws[following]), strict=True):
            atoms.append(move(paid, x, discount))
            masses.append(chance * p)
    return atoms, [mass / sum(masses) for mass in masses]


def with_expected_rewards(row, laws, discount):
    mean = sum(chance * paid for chance, paid, _ in row)
    return backup([(chance, mean, following) for chance, _, following in row], laws, discount)


def project(atoms, masses, support):
    """By hat functions, each 1 at its own place and 0 at the neighbours."""
    inside = np.clip(atoms, support[0], support[-1])
    return np.array([masses @ np.interp(inside, support, hat) for hat in np.eye(len(support))])


def to_the_nearest(atoms, masses, support):
    out = np.zeros(len(support))
    for x, p in zip(atoms, masses, strict=True):
        out[np.abs(support - x).argmin()] += p
    return out


def without_what_lies_outside(atoms, masses, support):
    inside = (atoms >= support[0]) & (atoms <= support[-1])
    return project(atoms[inside], masses[inside], support)


def to_the_wrong_neighbour(atoms, masses, support):
    out = np.zeros(len(support))
    for x, p in zip(np.clip(atoms, support[0], support[-1]), masses, strict=True):
        i = min(int(np.searchsorted(support, x, side="right")) - 1, len(support) - 2)
        share = (x - support[i]) / (support[i + 1] - support[i])
        out[i] += share * p
        out[i + 1] += (1 - share) * p
    return out


def at_levels(atoms, masses, levels):
    order = np.argsort(atoms)
    reached = np.cumsum(masses[order]) + 1e-12
    return atoms[order][np.searchsorted(reached, levels)]


def places(atoms, masses, m):
    return at_levels(atoms, masses, (2 * np.arange(m) + 1) / (2 * m))


def means_of_shares(atoms, masses, m):
    fine = at_levels(atoms, masses, (np.arange(m * 1000) + 0.5) / (m * 1000))
    return fine.reshape(m, -1).mean(axis=1)


def backups(discount, p, share):
    """By counting."""
    k, left = 0, 1.0
    while left > share * (1 + 1e-12):
        k, left = k + 1, left * discount ** (1 / p)
    return k


def like_wasserstein(discount, p, share):
    return backups(discount, 1, share)


def shortfall(atoms, masses, level):
    taken, total = 0.0, 0.0
    for x, p in sorted(zip(atoms, masses, strict=True)):
        part = min(p, level - taken)
        taken, total = taken + part, total + part * x
    return total / level


def at_risk(atoms, masses, level):
    return at_levels(np.asarray(atoms), np.asarray(masses), np.array([level]))[0]


def mean_of(atoms, masses, level, which, divide=True):
    chosen = which(atoms, at_risk(atoms, masses, level))
    total = masses[chosen].sum() if divide else level
    return atoms[chosen] @ masses[chosen] / total


def update(theta, targets, alpha):
    m = len(theta)
    return [
        theta[i] + alpha * ((2 * i + 1) / (2 * m) - np.mean([target < theta[i] for target in targets]))
        for i in range(m)
    ]


def stepping(step):
    return lambda theta, targets, alpha: theta + alpha * step(theta, targets)


def below(theta, z):
    return (z[None, :] < theta[:, None]).mean(axis=1)


def middles(theta):
    return (2 * np.arange(len(theta)) + 1) / (2 * len(theta))


def expectile_step(theta, z):
    gap = z[None, :] - theta[:, None]
    return (np.abs(middles(theta)[:, None] - (gap < 0)) * gap).mean(axis=1)


def variance(P, R, discount, v):
    """From second moments: E G^2 = E R^2 + 2 discount E R v(S') + discount^2 E G(S')^2."""
    return solved(P, discount**2, (P * R**2).sum(axis=1) + 2 * discount * (P * R * v).sum(axis=1)) - v**2


def one_step(P, R, discount, v):
    return (P * (R + discount * v - v[:, None]) ** 2).sum(axis=1)


def solved(P, discount, local):
    return np.linalg.solve(np.eye(len(P)) - discount * P, local)


def of_expected_rewards(P, R, discount, v):
    return solved(P, discount**2, one_step(P, np.tile((P * R).sum(axis=1)[:, None], len(P)), discount, v))


RIGHT = [
    (BACKUP, backup),
    (PROJECT, project),
    (PLACES, places),
    (PLACES, lambda atoms, masses, m: places(atoms, masses, m)[::-1]),
    (BACKUPS, backups),
    (BACKUPS, lambda discount, p, share: max(0, math.ceil(p * math.log(share) / math.log(discount) - 1e-9))),
    (SHORTFALL, shortfall),
    (UPDATE, update),
    (VARIANCE, variance),
    (VARIANCE, lambda P, R, discount, v: solved(P, discount**2, one_step(P, R, discount, v))),
]
WRONG = [
    (BACKUP, 3, "without calling"),
    (BACKUP, lambda row, laws, discount: ..., "Replace the dots"),
    (BACKUP, with_expected_rewards, "its own reward"),
    (BACKUP, lambda row, laws, discount: backup(row, laws, 1.0), "moves every atom"),
    (
        BACKUP,
        lambda row, laws, discount: backup(row, laws, discount, lambda paid, x, g: g * (paid + x)),
        "paid now",
    ),
    (BACKUP, lambda row, laws, discount: backup(row, laws, discount, ends=False), "the reward alone"),
    (BACKUP, lambda row, laws, discount: ([0.0], [2.0]), "two lists of one length"),
    (BACKUP, lambda row, laws, discount: 7.0, "two lists of one length"),
    (BACKUP, lambda row, laws, discount: ([0.0], [1.0]), "one among several"),
    (PROJECT, lambda atoms, masses, support: ..., "Replace the dots"),
    (PROJECT, to_the_nearest, "two neighbours"),
    (PROJECT, without_what_lies_outside, "beyond the ends"),
    (PROJECT, to_the_wrong_neighbour, "mean must not move"),
    (PROJECT, lambda atoms, masses, support: masses, "shape"),
    (PROJECT, lambda atoms, masses, support: np.full(len(support), np.nan), "not finite"),
    (PLACES, lambda atoms, masses, m: ..., "Replace the dots"),
    (PLACES, lambda atoms, masses, m: at_levels(atoms, masses, np.arange(1, m + 1) / m), "right ends"),
    (PLACES, lambda atoms, masses, m: at_levels(atoms, masses, np.maximum(np.arange(m) / m, 1e-9)), "left ends"),
    (PLACES, means_of_shares, "nearest in squares"),
    (PLACES, lambda atoms, masses, m: np.quantile(atoms, (2 * np.arange(m) + 1) / (2 * m)), "equally likely"),
    (PLACES, lambda atoms, masses, m: np.zeros(m), "Cut the levels"),
    (BACKUPS, lambda discount, p, share: ..., "Replace the dots"),
    (BACKUPS, like_wasserstein, "Wasserstein distance shrinks"),
    (BACKUPS, lambda discount, p, share: backups(discount, 1 / p, share), "other way round"),
    (BACKUPS, lambda *given: backups(*given) + 1, "off by one"),
    (BACKUPS, lambda *given: 0.5, "whole numbers"),
    (BACKUPS, lambda *given: 10_000, "Which one"),
    (SHORTFALL, lambda atoms, masses, level: ..., "Replace the dots"),
    (SHORTFALL, at_risk, "value at risk"),
    (SHORTFALL, lambda x, p, u: mean_of(x, p, u, lambda a, b: a <= b), "larger than the level"),
    (SHORTFALL, lambda x, p, u: mean_of(x, p, u, lambda a, b: a <= b, divide=False), "Cut the last one"),
    (SHORTFALL, lambda x, p, u: mean_of(x, p, u, lambda a, b: a < b, divide=False), "less than the level"),
    (SHORTFALL, lambda x, p, u: -shortfall(-x, p, u), "the best returns"),
    (SHORTFALL, lambda x, p, u: 0.123, "make up the worst share"),
    (UPDATE, lambda theta, targets, alpha: ..., "Replace the dots"),
    (UPDATE, stepping(lambda theta, z: below(theta, z) - middles(theta)), "run away"),
    (UPDATE, stepping(lambda theta, z: len(z) * (middles(theta) - below(theta, z))), "Average"),
    (UPDATE, stepping(lambda theta, z: (np.arange(len(theta)) + 1) / len(theta) - below(theta, z)), "middles"),
    (UPDATE, stepping(lambda theta, z: np.arange(len(theta)) / len(theta) - below(theta, z)), "middles"),
    (UPDATE, stepping(expectile_step), "expectiles"),
    (UPDATE, stepping(lambda theta, z: np.zeros(len(theta))), "which share should"),
    (VARIANCE, lambda P, R, discount, v: ..., "Replace the dots"),
    (VARIANCE, lambda *given: np.sqrt(variance(*given)), "standard deviations"),
    (VARIANCE, one_step, "brings its own"),
    (VARIANCE, lambda P, R, discount, v: solved(P, discount, one_step(P, R, discount, v)), "variance scaled"),
    (VARIANCE, of_expected_rewards, "expected reward of a state"),
    (VARIANCE, lambda P, R, discount, v: np.ones(len(v)), "Split the variance"),
]
