"""The central bank: its data and fit, its grid, its two optima, its episodes, and which of the paper's ranks hold."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from rlbook.chapters.ch03_td_and_q_learning import monetary_data
from rlbook.chapters.ch03_td_and_q_learning.monetary_data import Macrodata, fit, fitted, macrodata
from rlbook.chapters.ch03_td_and_q_learning.monetary_episodes import episode_returns, follow, history_under
from rlbook.chapters.ch03_td_and_q_learning.monetary_model import (
    Grid,
    Loss,
    bank,
    both_below,
    cell_chances,
    follow_changes,
    regulator,
    taylor_rate,
)
from rlbook.chapters.ch03_td_and_q_learning.monetary_policy import MonetaryPolicy
from rlbook.chapters.ch03_td_and_q_learning.monetary_world import (
    GRID,
    QUARTERS,
    expected_return,
    loss,
    shared_greedy,
    world,
)
from rlbook.errors import MissingExtraError, ParameterError
from rlbook.lab import Context
from rlbook.tabular import as_stochastic, induced_chain, solve, uniform_policy

DISCOUNT = 1 - 1 / QUARTERS


@pytest.fixture(scope="module")
def published():
    datasets = pytest.importorskip("statsmodels.datasets", reason="statsmodels is not installed")
    return datasets.macrodata.load_pandas().data


def test_the_data_is_what_statsmodels_loads(published):
    """Prevents a shifted column, and the zero that stands for the unknown inflation of the first quarter."""
    data, later = macrodata(), published.iloc[1:]
    assert np.array_equal(data.inflation, later["infl"])
    assert np.array_equal(data.unemployment, later["unemp"])
    assert np.array_equal(data.rate, later["tbilrate"])
    assert data.year[0] == 1959.25
    assert data.year[-1] == 2009.5
    assert np.all(np.diff(data.year) == 0.25)


def test_the_fit_is_that_of_statsmodels(published):
    """Prevents wrong lags, wrong degrees of freedom, and standard errors of the wrong equation."""
    from statsmodels.regression.linear_model import OLS

    data, model = macrodata(), fitted()
    regressors = np.column_stack([np.ones(len(data.year) - 1), data.states[:-1], data.rate[:-1]])
    for j in range(2):
        theirs = OLS(data.states[1:, j], regressors).fit()
        assert model.coefficients[:, j] == pytest.approx(theirs.params, rel=1e-9)
        assert model.standard_errors[:, j] == pytest.approx(theirs.bse, rel=1e-9)
        assert model.residuals[:, j] == pytest.approx(theirs.resid, abs=1e-9)
        assert model.covariance[j, j] == pytest.approx(theirs.mse_resid, rel=1e-9)
    assert model.expected(data.states[:-1], data.rate[:-1]) + model.residuals == pytest.approx(data.states[1:])


def test_the_fit_finds_the_model_that_made_the_data():
    """Prevents A stored transposed, which a symmetric check would not see."""
    rng = np.random.default_rng(0)
    constant, persistence = np.array([1.0, 0.5]), np.array([[0.5, -0.2], [0.1, 0.9]])
    effect, rate = np.array([0.3, -0.1]), rng.normal(4, 2, 20_000)
    x = np.zeros((len(rate), 2))
    for t in range(len(rate) - 1):
        x[t + 1] = constant + persistence @ x[t] + effect * rate[t] + rng.normal(size=2) * [1.0, 0.2]
    model = fit(Macrodata(np.arange(len(rate)), x[:, 0], x[:, 1], rate))
    assert np.all(np.abs(model.persistence - persistence) < 5 * model.standard_errors[1:3].T)
    assert np.all(np.abs(model.effect - effect) < 5 * model.standard_errors[3])
    assert np.all(np.abs(model.autocorrelation(3)) < 0.03)


def test_without_statsmodels_the_way_out_is_named(monkeypatch):
    def missing(name: str):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(monetary_data.metadata, "files", missing)
    with pytest.raises(MissingExtraError, match=r"pip install statsmodels.*\[data\]"):
        macrodata.__wrapped__()


def test_two_normals_are_below_by_quadrature():
    """Prevents a sign lost in Owen's formula, at zero or between quadrants."""
    from scipy.integrate import quad
    from scipy.special import ndtr

    values = [-3.0, -0.4, 0.0, 0.7, 2.0]
    for correlation in (-0.8, -0.1, 0.0, 0.6):
        left = np.sqrt(1 - correlation**2)
        for h in values:
            for k in values:
                exact, _ = quad(
                    lambda y, k=k, r=correlation, left=left: np.exp(-y * y / 2) * ndtr((k - r * y) / left), -12, h
                )
                found = both_below(np.array(h), np.array(k), correlation)
                assert found == pytest.approx(exact / np.sqrt(2 * np.pi), abs=1e-8)
        assert both_below(np.array(np.inf), np.array(values), correlation) == pytest.approx(ndtr(values), abs=1e-15)


@pytest.mark.parametrize("state", [0, 100, 320, 636])
def test_chances_of_cells_are_those_of_the_normal_law(state):
    """Prevents a lost correlation, cells off by a half, and cells in the wrong order."""
    model = fitted()
    chance = cell_chances(model, GRID)[state].reshape(GRID.shape[:2])
    centre = GRID.centres[state]
    draws = np.random.default_rng(3).multivariate_normal(
        model.expected(centre[:2], centre[2]), model.covariance, size=200_000
    )
    cells = GRID.nearest(np.column_stack([draws, np.full(len(draws), centre[2])])) // len(GRID.rate)
    share = np.bincount(cells, minlength=chance.size).reshape(chance.shape) / len(draws)
    assert np.all(np.abs(share - chance) < 5 * np.sqrt(chance / len(draws)) + 1e-4)
    assert chance.sum() == pytest.approx(1.0, abs=1e-12 * chance.size)


def test_the_bank_moves_its_rate_and_pays_for_the_present_quarter():
    """Prevents a rate that moves a quarter late, and cuts below zero."""
    mdp, here = world(DISCOUNT).mdp, loss()
    for s in (0, 5, 12, 300, 636):
        inflation, unemployment, rate = GRID.centres[s]
        for a in mdp.action[mdp.state_ptr[s] : mdp.state_ptr[s + 1]]:
            change = GRID.changes[a]
            for _, following, reward, over in mdp.transitions(s, int(a)):
                assert GRID.centres[following, 2] == rate + change
                assert reward == pytest.approx(-here(inflation, unemployment, change))
                assert not over
    assert GRID.changes[0] < 0
    lowest = GRID.centres[mdp.pair_state, 2] == 0.0
    assert 0 not in mdp.action[lowest]
    assert mdp.start.sum() == pytest.approx(1.0)


def test_it_starts_where_history_was():
    """Prevents a start that counts quarters on the wrong cells."""
    mdp, data = world(DISCOUNT).mdp, macrodata()
    mean = mdp.start @ GRID.centres
    inside = [
        np.clip(x, min(axis), max(axis))
        for x, axis in zip(
            (data.inflation, data.unemployment, data.rate), (GRID.inflation, GRID.unemployment, GRID.rate), strict=True
        )
    ]
    assert mean == pytest.approx([x.mean() for x in inside], abs=0.15)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inflation": (0.0, 1.0, 3.0)}, "inflation is"),
        ({"rate": (2.0, 1.0)}, "rate is"),
        ({"changes": (-1.0, 1.0)}, "changes is"),
        ({"changes": (-0.5, 0.0)}, "changes is"),
    ],
)
def test_a_grid_that_is_no_grid_is_refused(changed, message):
    with pytest.raises(ParameterError, match=message):
        Grid(**{"inflation": (0.0, 1.0), "unemployment": (4.0, 5.0), "rate": (0.0, 1.0), "changes": (0.0,)} | changed)


def test_the_regulator_solves_the_bellman_equation():
    """Prevents a discount in the wrong place, and a noise cost that is left out."""
    model, cost = fitted(), Loss(natural_rate=5.5, unemployment_weight=0.7)
    best = regulator(model, cost, DISCOUNT)
    points = np.random.default_rng(1).uniform([-2, 3, 0], [12, 10, 12], (50, 3))

    def worth(change):
        rate = points[:, 2] + change
        mean = model.expected(points[:, :2], rate)
        to_come = best.values(np.column_stack([mean, rate])) - np.trace(best.riccati[:2, :2] @ model.covariance)
        return -cost(points[:, 0], points[:, 1], change) + DISCOUNT * to_come

    change = best.changes(points)
    assert worth(change) == pytest.approx(best.values(points), rel=1e-9)
    for step in (-0.1, 0.1):
        assert np.all(worth(change + step) < worth(change))


def refined(parts: int):
    """The bank on a wide grid whose cells shrink with `parts`."""
    inflation = np.linspace(-8, 12, 4 * parts + 1)
    unemployment = np.linspace(2, 10, 4 * parts + 1)
    rate = np.linspace(-4, 8, 6 * parts + 1)
    step = rate[1] - rate[0]
    changes = step * np.arange(-parts, parts + 1)
    grid = Grid(*(tuple(map(float, axis)) for axis in (inflation, unemployment, rate, changes)))
    return bank(fitted(), macrodata(), loss(), grid, 0.9, negligible=1e-10), grid


def test_the_grids_optimum_approaches_the_regulator():
    """Prevents a grid and a Riccati equation that solve two different problems."""
    exact = regulator(fitted(), loss(), 0.9)
    errors, policy_errors = [], []
    for parts in (1, 2, 3):
        mdp, grid = refined(parts)
        centres = grid.centres
        middle = np.all(np.abs(centres - [2.0, 6.0, 2.0]) <= [5.0, 2.0, 2.0], axis=1)
        best = solve(mdp, 1e-3)
        truth = exact.values(centres[middle])
        errors.append(np.abs(best.values[middle] - truth).mean() / np.abs(truth).mean())
        moved = np.array(grid.changes)[best.policy[middle]]
        policy_errors.append(np.abs(moved - exact.changes(centres[middle])).mean())
    assert errors[0] > errors[1] > errors[2]
    assert policy_errors[0] > policy_errors[1] > policy_errors[2]
    # Cells add their own variance, so that errors fall with the square of their size; what that leaves is nothing much.
    assert errors[2] < 0.06
    assert abs(9 * errors[2] - 4 * errors[1]) / 5 < 0.02
    assert policy_errors[2] < 0.25


def test_taylors_rule_has_taylors_coefficients():
    """Taylor (1993): a real rate of 2 on target; 1.5 points per point of inflation, half a point per point of gap."""
    cost = Loss(natural_rate=5.0)
    assert taylor_rate(cost, np.array(2.0), np.array(5.0)) == 4.0
    assert taylor_rate(cost, np.array(3.0), np.array(5.0)) == 5.5
    assert taylor_rate(cost, np.array(2.0), np.array(6.0)) == 3.0  # one point of unemployment: a gap of -2


def test_rules_move_as_far_as_they_may():
    mdp = world(DISCOUNT).mdp
    far = follow_changes(mdp, GRID, np.full(mdp.n_states, -9.0))
    rate = GRID.centres[:, 2]
    assert np.array_equal(np.array(GRID.changes)[far], np.where(rate == 0, 0.0, -1.0))
    assert np.all(np.array(GRID.changes)[follow_changes(mdp, GRID, np.zeros(mdp.n_states))] == 0)


def test_expected_returns_are_sums_over_quarters():
    """Prevents a horizon that is off by one, and a discount that is left on."""
    mdp = world(DISCOUNT).mdp
    policy = uniform_policy(mdp)
    chain = induced_chain(mdp, policy)
    law, total = mdp.start.copy(), 0.0
    for _ in range(QUARTERS):
        total += law @ chain.expected_reward
        law = chain.continuing_matrix().T @ law
    assert expected_return(mdp, policy) == pytest.approx(total, rel=1e-10)


def test_ties_are_shared():
    """Prevents a learner that knows nothing from cutting rates, which happens to be good here."""
    mdp = world(DISCOUNT).mdp
    assert shared_greedy(mdp, np.zeros(mdp.n_pairs)) == pytest.approx(uniform_policy(mdp))
    best = solve(mdp)
    q = np.where(as_stochastic(mdp, best.policy.astype(np.int64)) > 0, 1.0, 0.0)
    assert np.array_equal(shared_greedy(mdp, q), as_stochastic(mdp, best.policy.astype(np.int64)))


def test_paths_are_those_of_the_model():
    """Prevents a rate that works a quarter early or late, and chances read from the wrong state."""
    rng = np.random.default_rng(2)
    mdp, model, episodes, quarters = world(DISCOUNT).mdp, fitted(), 5, 30
    policy = rng.uniform(size=mdp.n_pairs)
    policy /= np.add.reduceat(policy, mdp.state_ptr[:-1])[mdp.pair_state]
    first = np.column_stack([rng.normal(3, 2, episodes), rng.normal(6, 1, episodes), rng.integers(0, 13, episodes)])
    shocks, uniforms = rng.normal(size=(quarters, episodes, 2)), rng.uniform(size=(quarters, episodes))
    path = follow(model, GRID, mdp, policy, first, shocks, uniforms)
    for t in range(quarters):
        for e in range(episodes):
            s = int(GRID.nearest(path[t, e]))
            pairs = np.arange(mdp.state_ptr[s], mdp.state_ptr[s + 1])
            pair = pairs[np.searchsorted(np.cumsum(policy[pairs]), uniforms[t, e], side="right")]
            rate = path[t, e, 2] + GRID.changes[mdp.action[pair]]
            assert path[t + 1, e, 2] == rate
            expected = model.expected(path[t, e, :2], rate) + shocks[t, e]
            assert path[t + 1, e, :2] == pytest.approx(expected, rel=1e-12)
    assert path[..., 2].min() >= 0


def test_history_told_with_its_own_shocks_starts_as_it_was():
    """Prevents shocks that are a quarter late: while the rate is history's own, so is the next quarter."""
    model, data, here = fitted(), macrodata(), world(DISCOUNT)
    path = history_under(model, data, GRID, here.mdp, here.policies["naive"], 0)
    assert path.shape == (len(data.year), 3)
    assert path[:2, :2] == pytest.approx(data.states[:2])
    gap = model.persistence @ (path[1, :2] - data.states[1]) + model.effect * (path[1, 2] - data.rate[1])
    assert path[2, :2] - data.states[2] == pytest.approx(gap)


@pytest.mark.parametrize("rule", ["naive", "Taylor rule", "optimum"])
def test_episodes_earn_what_the_grid_says(rule):
    """Prevents a simulator and an MDP of two different economies; they differ by rounding to cells alone."""
    here = world(DISCOUNT)
    sample = episode_returns(
        fitted(), macrodata(), loss(), GRID, here.mdp, [here.policies[rule]], 3, episodes=4000, quarters=QUARTERS
    )
    assert sample.mean() == pytest.approx(here.returns[rule], rel=0.06)


def test_the_optimum_is_above_all_rules_and_the_regulator_near_it():
    here = world(DISCOUNT)
    assert max(here.values, key=lambda name: here.values[name]) == "optimum"
    assert here.values["linear-quadratic"] == pytest.approx(here.values["optimum"], rel=0.03)


# Which of the paper's ranks hold on this model. The first three were claimed beforehand; the last two were tried when
# two of those had not held.
RANKS = [
    ({"against": "Taylor rule"}, "holds"),
    ({"against": "naive"}, "inconclusive"),
    ({"against": "SARSA"}, "inconclusive"),
    ({"against": "naive", "step_size": 1.0, "decay": 1.0}, "holds"),
    ({"against": "SARSA", "step_size": 1.0, "decay": 1.0}, "inconclusive"),
]


@pytest.mark.parametrize(("chosen", "status"), RANKS)
def test_which_ranks_of_the_paper_hold(chosen, status):
    """Prevents a rank that did not hold from being forgotten, and one that did from being lost."""
    lab = MonetaryPolicy()
    verdict = lab.verdict(lab.run(lab.parse(chosen), range(lab.verdict_seeds), Context()))
    assert verdict.status == status, verdict.sentence()


def test_to_beat_taylors_rule_here_takes_no_learning():
    """Prevents the one rank that held from being read as an achievement, without the fitted model's reason for it."""
    here = world(DISCOUNT)
    assert here.returns["random"] > here.returns["Taylor rule"]
    effect, error = fitted().effect[0], fitted().standard_errors[3, 0]
    assert effect > 2 * error  # the price puzzle
