"""The queueing network against its events, told one by one, against M/M/1/K, and against theorems on its control."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP


def optimal_policy(mdp: FiniteMDP, sweeps: int) -> np.ndarray:
    """Action labels after plain sweeps from zero; of equally good ones the first."""
    matrix, value = mdp.continuing_matrix(), np.zeros(mdp.n_states)
    for _ in range(sweeps):
        worth = mdp.expected_reward + mdp.discount * (matrix @ value)
        value = np.maximum.reduceat(worth, mdp.state_ptr[:-1])
    best = worth >= value[mdp.pair_state] - 1e-9
    return np.array([mdp.action[a:b][best[a:b]][0] for a, b in itertools.pairwise(mdp.state_ptr)])


@pytest.mark.parametrize("stations", [1, 2, 3])
def test_every_pair_follows_the_rules(stations):
    """Prevents jobs that vanish, pass through full stations or are served twice."""
    room, arrival, slow, fast = 2, 0.7, 0.9, 1.4
    mdp = make("queue-network", stations=stations, room=room, arrival_rate=arrival, slow_rate=slow, fast_rate=fast)
    total = arrival + stations * fast
    states = list(itertools.product(range(room + 1), repeat=stations))
    assert mdp.n_states == len(states)
    assert mdp.state_names == tuple(map(str, states))
    for number, jobs in enumerate(states):
        labels = mdp.action[mdp.state_ptr[number] : mdp.state_ptr[number + 1]].tolist()
        assert labels == ([0, 2] if jobs[0] == room else [0, 1, 2, 3])
        for label in labels:
            admit, quick = label % 2, label // 2
            rates: dict[tuple[int, ...], float] = {}
            if admit:
                rates[(jobs[0] + 1, *jobs[1:])] = arrival
            for at in range(stations):
                last = at == stations - 1
                if jobs[at] and (last or jobs[at + 1] < room):
                    after = [*jobs]
                    after[at] -= 1
                    if not last:
                        after[at + 1] += 1
                    rates[tuple(after)] = fast if quick else slow
            if (idle := total - sum(rates.values())) > 1e-9:
                rates[jobs] = idle
            found = {states[following]: p * total for p, following, _, _ in mdp.transitions(number, label)}
            assert found == pytest.approx(rates)
            cost = sum(jobs) + 3.0 * quick + (0 if admit else 10.0 * arrival)
            assert mdp.expected_reward[mdp.pair(number, label)] == pytest.approx(-cost / total)


def test_one_station_that_admits_all_is_an_mm1k_queue():
    """Prevents wrong rates: the long-run law of M/M/1/K is proportional to (arrival / service) ** jobs."""
    mdp = make("queue-network", stations=1, room=7, arrival_rate=0.8, slow_rate=1.0, fast_rate=1.0)
    matrix = mdp.continuing_matrix()
    chain = np.array([matrix[mdp.pair(state, 1 if state < 7 else 0)].toarray()[0] for state in range(8)])
    law = np.linalg.matrix_power(chain, 4000)[0]
    expected = 0.8 ** np.arange(8)
    np.testing.assert_allclose(law, expected / expected.sum(), rtol=1e-9)


def test_one_station_is_controlled_by_limits():
    """Prevents costs of the wrong sign: admission stops at a number of jobs (Naor 1969), and speed only rises with it.

    Crabill (1972): the optimal service rate does not fall with the number of jobs.
    """
    policy = optimal_policy(make("queue-network", stations=1, room=30), 4000)
    admits, fast = policy % 2, policy // 2
    assert 0 < admits.sum() < 30
    assert (np.diff(admits) <= 0).all()
    assert 0 < fast.sum() < 31
    assert (np.diff(fast) >= 0).all()


def test_two_stations_are_controlled_by_curves():
    """Prevents a default whose picture shows nothing, or a wrong sign: Ghoneim & Stidham (1985) on two queues."""
    policy = optimal_policy(make("queue-network"), 3000).reshape(11, 11)
    assert (np.diff(policy % 2, axis=0) <= 0).all()
    assert (np.diff(policy % 2, axis=1) <= 0).all()
    assert 0 < (policy % 2).sum() < policy.size
    assert 0 < (policy // 2).sum() < policy.size


def test_sizes():
    """Prevents a network that is drawn beyond what can be drawn, or made beyond what fits."""
    large = make("queue-network", stations=3, room=45)
    assert (large.n_states, large.layout, large.state_names) == (46**3, None, None)
    assert make("queue-network", stations=1).layout is not None
    with pytest.raises(ParameterError, match="queue-network: parameter 'room' is 300, which makes 27270901 states"):
        make("queue-network", stations=3, room=300)
    with pytest.raises(ParameterError, match=r"queue-network: parameter 'fast_rate' is 1.0, less than slow_rate=1.1"):
        make("queue-network", fast_rate=1.0)
