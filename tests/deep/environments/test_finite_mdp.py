"""The compiled environment is the MDP: same transitions, same law, same values, seen as one-hot or as features."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp
from scipy.stats import chisquare, kstest

from rlbook.deep.environments import Discrete, FiniteMDPEnvironment
from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.tabular import evaluate_policy, uniform_policy


def many_steps(environment, state, action, n=20_000):
    keys = jax.random.split(jax.random.key(0), n)
    return jax.jit(jax.vmap(lambda key: environment.step(jnp.int32(state), jnp.int32(action), key)))(keys)


@pytest.mark.parametrize(
    ("name", "state", "action"),
    [("frozenlake-4x4", 14, 2), ("taxi", 100, 0), ("gambler", 7, 7), ("inventory", 30, 20)],
)
def test_steps_follow_the_law_of_the_pair(name, state, action):
    """Prevents an environment that samples another MDP than the one solved."""
    mdp = make(name)
    step = many_steps(FiniteMDPEnvironment(mdp), state, action)
    rows = mdp.transitions(state, action)
    seen = list(zip(np.asarray(step.state), np.asarray(step.reward), np.asarray(step.terminated), strict=True))
    counts = [sum(t == s and np.isclose(r, paid) and over == d for t, paid, over in seen) for _, s, r, d in rows]
    assert sum(counts) == len(seen)
    # Of rows that are too rare for a test of frequencies only their place among the others is checked.
    usual = np.array([p for p, *_ in rows]) * len(seen) >= 5
    if usual.sum() > 1:
        expected = np.array([p for p, *_ in rows])[usual]
        found = np.array(counts)[usual]
        assert chisquare(found, expected / expected.sum() * found.sum()).pvalue > 1e-4


def test_every_pair_leads_where_the_mdp_says():
    """Prevents a table of pairs that is shifted for some state, where action sets are ragged."""
    mdp = make("gambler")
    environment = FiniteMDPEnvironment(mdp)
    keys = jax.random.split(jax.random.key(0), mdp.n_pairs)
    step = jax.jit(jax.vmap(environment.step))(jnp.asarray(mdp.pair_state), jnp.asarray(mdp.action), keys)
    for pair in range(mdp.n_pairs):
        row = slice(mdp.row_ptr[pair], mdp.row_ptr[pair + 1])
        assert int(step.state[pair]) in mdp.next_state[row]
    assert not np.isnan(np.asarray(step.reward)).any()


def test_average_return_equals_the_exact_value():
    mdp = make("random-walk", discount=1.0)
    environment = FiniteMDPEnvironment(mdp, time_limit=500)

    def episode(key):
        first, rest = jax.random.split(key)
        state, _ = environment.reset(first)

        def body(carry, key):
            state, total, over = carry
            state, _, reward, terminated = environment.step(state, jnp.int32(0), key)
            return (state, total + jnp.where(over, 0.0, reward), over | terminated), None

        (_, total, over), _ = jax.lax.scan(body, (state, 0.0, jnp.bool_(False)), jax.random.split(rest, 300))
        return total, over

    totals, over = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), 4000))
    assert bool(over.all())
    exact = evaluate_policy(mdp, uniform_policy(mdp)).value_at_start
    spread = float(totals.std()) / np.sqrt(len(totals))
    assert abs(float(totals.mean()) - exact) < 4.5 * spread


def test_first_states_follow_the_start_distribution():
    mdp = make("taxi")
    environment = FiniteMDPEnvironment(mdp)
    first, observation = jax.jit(jax.vmap(environment.reset))(jax.random.split(jax.random.key(2), 30_000))
    counts = np.bincount(np.asarray(first), minlength=mdp.n_states)
    assert counts[mdp.start == 0].sum() == 0
    assert chisquare(counts[mdp.start > 0], mdp.start[mdp.start > 0] * 30_000).pvalue > 1e-4
    assert np.array_equal(np.asarray(observation).argmax(axis=1), np.asarray(first))
    assert np.all(np.asarray(observation).sum(axis=1) == 1)


@pytest.mark.parametrize("action", [50, -1, 51])
def test_an_unavailable_action_shows(action):
    """Prevents a silent reward for an action that the state does not have, or that no state has."""
    step = many_steps(FiniteMDPEnvironment(make("gambler")), 3, action, n=4)
    assert np.isnan(np.asarray(step.reward)).all()


@pytest.mark.parametrize("features", [None, 7])
def test_all_observations_are_those_of_the_states(features):
    """Prevents an oracle that asks a network about other inputs than the agent's."""
    mdp = make("riverswim")
    environment = FiniteMDPEnvironment(mdp, features=features)
    seen = jax.vmap(environment.observe)(jnp.arange(mdp.n_states))
    assert np.array_equal(np.asarray(environment.observe_all()), np.asarray(seen))
    assert environment.observation_shape == seen.shape[1:]
    low, high = environment.observation_bounds()
    assert np.all(low <= np.asarray(seen))
    assert np.all(np.asarray(seen) <= high)


def test_features_are_standard_normal_and_of_their_seed():
    mdp = make("garnet", states=200)
    drawn = [np.asarray(FiniteMDPEnvironment(mdp, features=50, feature_seed=n).features) for n in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert kstest(drawn[0].ravel(), "norm").pvalue > 1e-3
    assert FiniteMDPEnvironment(mdp, features=5, feature_seed=1).name == f"{mdp.name}, 5 random features (seed 1)"


def test_the_model_comes_along():
    mdp = make("taxi")
    environment = FiniteMDPEnvironment(mdp)
    assert environment.mdp is mdp
    assert environment.action_space == Discrete(mdp.n_actions)
    assert environment.name == "taxi"


def test_equal_models_share_one_program():
    """Prevents a compilation for each of many environments that were made alike."""
    compiled = []

    @eqx.filter_jit
    def first(environment, key):
        compiled.append(environment.name)
        return environment.reset(key)

    for _ in range(3):
        first(FiniteMDPEnvironment(make("chain")), jax.random.key(0))
    assert len(compiled) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_limit": 0}, "time_limit is 0"),
        ({"time_limit": 2.5}, "time_limit is 2.5"),
        ({"features": 0}, "features is 0"),
        ({"features": 3, "feature_seed": -1}, "feature_seed is -1"),
    ],
)
def test_options_are_checked(options, said):
    with pytest.raises(ParameterError, match=said):
        FiniteMDPEnvironment(make("chain"), **options)
