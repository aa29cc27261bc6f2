"""Average rewards: every policy's exact stationary law, closed forms, periods, slow mixing, several chains."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import bellman_backup
from rlbook.tabular.average_reward import average_reward

from .exact import small_mdp
from .exact_undiscounted import chosen_pairs, class_gain, encloses, exact_gains, policy_gains, small_graph

REWARDS = [
    [0.0, 1.0],
    [0.0, -1.0, 2.0],
    [0.0, 0.0, -1e-6, -1e6, 1e3],
    [0.1, -0.1, 0.3, -0.7, 0.0],
    [-1e-6, -1e6, 1e6, 0.0],
]


def check(mdp: FiniteMDP, tolerances: tuple[float, ...] = (1e-6, 0.0)) -> str:
    """Bounds enclose the exact gains, and the policy earns what it promises; returns the structure."""
    truth = exact_gains(mdp)
    for tol in tolerances:
        solution = average_reward(mdp, tol)
        assert encloses(solution.gain_lower, truth, solution.gain_upper)
        assert solution.converged
        assert solution.gap <= tol or solution.reason == "rounding floor"
        earned = policy_gains(mdp, chosen_pairs(mdp, solution.policy))
        assert all(Fraction(float(a)) <= g for a, g in zip(solution.gain_lower, earned, strict=True))
    return solution.structure


@pytest.mark.parametrize("ending", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("rewards", REWARDS, ids=str)
def test_bounds_enclose_the_exact_gains_of_multichain_mdps(rewards, ending):
    """Prevents one gain for states that end in different places, and policies that do not go where they should."""
    kinds = [check(small_graph(seed, rewards, ending=ending)) for seed in range(50)]
    assert kinds.count("multichain") >= 5
    assert kinds.count("unichain or weakly communicating") >= 5


@pytest.mark.parametrize("terminating", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_rows_whose_sums_miss_one_count_as_laws(terminating, hard):
    """Prevents gains that leak away with the last digit of a row's sum."""
    for seed in range(60):
        check(small_mdp(seed, 0.9, terminating=terminating, hard=hard))


def test_rows_that_miss_one_by_more_are_divided_by_their_sums():
    """Prevents bounds as wide as the tolerance within which rows are accepted."""
    mdp = from_transitions([{0: [(0.5, 0, 1.0, False), (0.5 + 9e-9, 1, 1.0, False)]}, {0: [(1.0, 0, 0.0, False)]}], 0.5)
    solution = average_reward(mdp, 0.0)
    assert encloses(solution.gain_lower, exact_gains(mdp), solution.gain_upper)
    assert solution.gap < 1e-14


def test_structure_is_named():
    """Weakly communicating exactly if there is one end component, the end of episodes counted as one."""
    loop = {0: [(1.0, 0, 1.0, False)]}
    down = {0: [(1.0, 0, 5.0, False)]}
    unichain = average_reward(from_transitions([loop, down], 1.0))
    assert unichain.structure == "unichain or weakly communicating"
    np.testing.assert_allclose(unichain.gain, 1.0)
    two = average_reward(from_transitions([loop, {0: [(1.0, 1, 3.0, False)], 1: [(1.0, 0, 0.0, False)]}], 1.0), 1e-9)
    assert two.structure == "multichain"
    np.testing.assert_allclose(two.gain, [1.0, 3.0], atol=1e-9)
    assert two.bias is None
    ending = average_reward(from_transitions([{0: [(1.0, 0, 1.0, True)]}], 1.0), 0.0)
    assert ending.structure == "unichain or weakly communicating"
    assert (ending.gain_lower[0], ending.gain_upper[0], ending.reason) == (0.0, 0.0, "tolerance")
    choice = average_reward(from_transitions([{0: [(1.0, 0, -1.0, False)], 1: [(1.0, 0, -9.0, True)]}], 1.0), 1e-9)
    assert choice.structure == "multichain"
    assert choice.policy.tolist() == [1]
    assert choice.gain == pytest.approx([0.0], abs=1e-9)


def test_chance_decides_between_two_traps():
    """Prevents the best gain where only a share of it can be reached: 0.25 * 8 + 0.75 * 4 = 5."""
    rows = [{0: [(0.25, 1, 0.0, False), (0.75, 2, 0.0, False)], 1: [(1.0, 0, 4.5, False)]}]
    rows += [{0: [(1.0, 1, 8.0, False)]}, {0: [(1.0, 2, 4.0, False)]}]
    solution = average_reward(from_transitions(rows, 1.0), 1e-9)
    np.testing.assert_allclose(solution.gain, [5.0, 8.0, 4.0], atol=1e-9)


@pytest.mark.parametrize("length", [2, 7, 1000])
def test_periodic_chains_settle(length):
    """Prevents bounds that never meet, as those of plain value iteration on a cycle."""
    rows = [{0: [(1.0, (s + 1) % length, float(s == 0), False)]} for s in range(length)]
    solution = average_reward(from_transitions(rows, 1.0), 1e-9)
    assert solution.reason == "tolerance"
    assert solution.gain_at_start == pytest.approx(1 / length, abs=1e-9)
    np.testing.assert_allclose(solution.bias[:3], [0.0, -1 + 1 / length, -1 + 2 / length][: min(length, 3)], atol=1e-6)


def test_machine_replacement_has_its_renewal_reward_gain():
    """A machine earns less with age; replacing it at age T gives (earnings of T periods - price) / T on average."""
    earns, price = np.array([10.0, 9.0, 8.5, 7.0, 4.0, 1.0, 0.0, -3.0]), 12.0
    rows = []
    for age in range(len(earns)):
        rows.append({1: [(1.0, 1, earns[0] - price, False)]})
        if age + 1 < len(earns):
            rows[-1][0] = [(1.0, age + 1, earns[age], False)]
    cycles = (np.cumsum(earns) - price) / np.arange(1, len(earns) + 1)
    solution = average_reward(from_transitions(rows, 1.0), 1e-10)
    np.testing.assert_allclose(solution.gain, cycles.max(), atol=1e-10)
    assert solution.policy[1 : len(earns)].tolist().index(1) + 1 == int(np.argmax(cycles)) + 1


def test_a_queue_has_its_known_mean_length():
    """M/M/1/N, uniformised: the mean number of customers under the law proportional to rho^n (Kleinrock 1975)."""
    room, arrive, serve = 30, 0.3, 0.4
    rows = []
    for n in range(room + 1):
        up, down = arrive * (n < room), serve * (n > 0)
        moves = [(up, n + 1, -n, False), (down, n - 1, -n, False), (1 - up - down, n, -n, False)]
        rows.append({0: [(p, min(max(t, 0), room), float(r), e) for p, t, r, e in moves if p > 0]})
    law = (arrive / serve) ** np.arange(room + 1)
    mean = float(law @ np.arange(room + 1) / law.sum())
    assert average_reward(from_transitions(rows, 1.0), 1e-10).gain_at_start == pytest.approx(-mean, abs=1e-10)


def test_riverswim_swims():
    """The optimal policy swims right everywhere; its gain follows from the chain's stationary law."""
    mdp = make("riverswim")
    solution = average_reward(mdp, 1e-9)
    assert set(solution.policy) == {1}
    exact = class_gain(mdp, chosen_pairs(mdp, np.ones(6, dtype=int)), list(range(6)))
    assert Fraction(float(solution.gain_lower[0])) <= exact <= Fraction(float(solution.gain_upper[0]))


def test_long_and_slow_chains_are_solved():
    """Prevents waiting for a chain to mix that takes billions of steps to."""
    states = 20_000
    wave = np.sin(np.arange(states) * 1e-3)
    rows = [
        {0: [(0.5, max(s - 1, 0), wave[s], False), (0.5, min(s + 1, states - 1), wave[s], False)]}
        for s in range(states)
    ]
    solution = average_reward(from_transitions(rows, 1.0), 1e-6)
    assert solution.reason == "tolerance"
    assert solution.gain_at_start == pytest.approx(wave.mean(), abs=1e-6)
    swim = average_reward(make("riverswim", states=200), 1e-6)
    assert swim.reason == "tolerance"
    assert swim.gain_at_start == pytest.approx(2000 / 3, abs=1e-5)


def test_bias_solves_the_optimality_equation():
    """Prevents relative values of another policy, or shifted ones."""
    mdp = make("garnet", states=60, actions=3, branching=4)
    solution = average_reward(mdp, 1e-9)
    backed, _ = bellman_backup(mdp.replace(discount=1.0), solution.bias)
    np.testing.assert_allclose(backed - solution.bias, solution.gain, atol=1e-8)
    assert np.any(solution.bias == 0.0)
    assert "unique up to this constant" in solution.bias_note
    assert f"{mdp.state_name(int(np.flatnonzero(solution.bias == 0)[0]))!r}" in solution.bias_note


def test_bias_that_is_not_determined_is_said():
    """Two loops of equal gain, each reachable from the other: h between them is anything in a range."""
    rows = [{0: [(1.0, s, 1.0, False)], 1: [(1.0, 1 - s, 0.0, False)]} for s in range(2)]
    solution = average_reward(from_transitions(rows, 1.0))
    assert "2 recurrent classes" in solution.bias_note


def test_the_discount_plays_no_part():
    low, high = (average_reward(make("riverswim", discount=d), 1e-6) for d in (0.0, 1.0))
    assert np.array_equal(low.gain, high.gain)


def test_limits_and_cancelling_leave_bounds_that_hold():
    for mdp in (make("riverswim", states=30), small_graph(7, REWARDS[0], ending=0.1)):
        truth = average_reward(mdp, 1e-10)
        flag = np.ones(1, dtype=np.uint8)
        for options, reason in (({"max_iterations": 2}, "iteration limit"), ({"cancel": flag}, "cancelled")):
            solution = average_reward(mdp, 0.0, **options)
            assert solution.reason in (reason, "tolerance")
            assert np.all(solution.gain_lower <= truth.gain_upper)
            assert np.all(solution.gain_upper >= truth.gain_lower)


def test_initial_values_help():
    mdp = make("riverswim", states=30)
    cold = average_reward(mdp, 1e-7)
    warm = average_reward(mdp, 1e-7, initial_values=cold.bias)
    assert warm.iterations < cold.iterations
    assert warm.reason == "tolerance"


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e100, 1e299])
def test_rewards_of_any_size_are_solved(scale):
    """Prevents NaN, warnings and endless searches where rewards are near the ends of the doubles."""
    for seed in range(15):
        mdp = small_graph(seed, [0.0, -1.0, 1.0, -2.0])
        check(mdp.replace(expected_reward=mdp.expected_reward * scale), (0.0,))
    with pytest.raises(MDPError, match="divide"):
        average_reward(mdp.replace(expected_reward=np.full(mdp.n_pairs, 1e305)))


@pytest.mark.parametrize("tau", [0.0, 1.0, -1.0, float("nan")])
def test_tau_is_checked(tau):
    with pytest.raises(MDPError, match=r"tau is .* strictly between 0 and 1"):
        average_reward(make("riverswim"), tau=tau)


def test_summary_says_all():
    told = average_reward(make("riverswim"), 1e-6).to_json()
    assert told["lower"] <= told["gain_at_start"] <= told["upper"]
    assert told["structure"] == "unichain or weakly communicating"
    assert told["reason"].startswith("tolerance")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 20])
def test_backups_never_exceed_their_limit(limit):
    """Prevents phases that each take a backup beyond what is left, and bounds that do not hold when there is none."""
    hit = 0
    for seed in range(60):
        mdp = small_graph(seed, [0.1, -0.1, 0.3, -0.7, 0.0], ending=0.1)
        solution = average_reward(mdp, 0.0, max_iterations=limit)
        assert solution.iterations <= limit
        assert encloses(solution.gain_lower, exact_gains(mdp), solution.gain_upper)
        earned = policy_gains(mdp, chosen_pairs(mdp, solution.policy))
        assert all(Fraction(float(a)) <= g for a, g in zip(solution.gain_lower, earned, strict=True))
        hit += solution.reason == "iteration limit"
    assert hit > 0
