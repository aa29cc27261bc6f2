"""The compiled environment is the MDP: same transitions, same law, same values; time limits are not ends."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp
from scipy.stats import chisquare

from rlbook.deep import FiniteMDPEnvironment, MDPState
from rlbook.environments import make
from rlbook.tabular import evaluate_policy, uniform_policy


def many_steps(environment, state, action, n=20_000):
    keys = jax.random.split(jax.random.key(0), n)
    at = MDPState(jnp.int32(state), jnp.int32(0))
    return eqx.filter_jit(jax.vmap(lambda key: environment.step(at, jnp.int32(action), key)))(keys)


@pytest.mark.parametrize(
    ("name", "state", "action"), [("frozenlake-4x4", 14, 2), ("garnet", 3, 1), ("taxi", 100, 0), ("gambler", 7, 7)]
)
def test_steps_follow_the_law_of_the_pair(name, state, action):
    """Prevents an environment that samples another MDP than the one solved."""
    mdp = make(name)
    following, _, reward, terminated, _ = many_steps(FiniteMDPEnvironment(mdp), state, action)
    rows = mdp.transitions(state, action)
    seen = list(zip(np.asarray(following.state), np.asarray(reward), np.asarray(terminated), strict=True))
    counts = [sum(t == s and np.isclose(r, paid) and over == d for t, paid, over in seen) for _, s, r, d in rows]
    assert sum(counts) == len(seen)
    if len(rows) > 1:
        assert chisquare(counts, [p * len(seen) for p, *_ in rows]).pvalue > 1e-4


def test_average_return_equals_the_exact_value():
    mdp = make("random-walk", discount=1.0)
    environment = FiniteMDPEnvironment(mdp, time_limit=500)

    def episode(key):
        first, rest = jax.random.split(key)
        at, _ = environment.reset(first)

        def body(carry, key):
            at, total, over = carry
            at, _, reward, terminated, _ = environment.step(at, jnp.int32(0), key)
            return (at, total + jnp.where(over, 0.0, reward), over | terminated), None

        (_, total, over), _ = jax.lax.scan(body, (at, 0.0, jnp.bool_(False)), jax.random.split(rest, 300))
        return total, over

    totals, over = eqx.filter_jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), 4000))
    assert bool(over.all())
    exact = evaluate_policy(mdp, uniform_policy(mdp)).value_at_start
    spread = float(totals.std()) / np.sqrt(len(totals))
    assert abs(float(totals.mean()) - exact) < 4.5 * spread


def test_first_states_follow_the_start_distribution():
    mdp = make("taxi")
    environment = FiniteMDPEnvironment(mdp)
    first, observation = eqx.filter_jit(jax.vmap(lambda key: environment.reset(key)))(
        jax.random.split(jax.random.key(2), 30_000)
    )
    counts = np.bincount(np.asarray(first.state), minlength=mdp.n_states)
    assert counts[mdp.start == 0].sum() == 0
    assert chisquare(counts[mdp.start > 0], mdp.start[mdp.start > 0] * 30_000).pvalue > 1e-4
    assert np.array_equal(np.asarray(observation).argmax(axis=1), np.asarray(first.state))


def test_a_time_limit_truncates_and_never_terminates():
    """Prevents bootstrapping as if the episode had ended by itself."""
    environment = FiniteMDPEnvironment(make("riverswim"), time_limit=3)
    at, _ = environment.reset(jax.random.key(0))
    flags = []
    for _ in range(3):
        at, _, _, terminated, truncated = environment.step(at, jnp.int32(1), jax.random.key(1))
        flags.append((bool(terminated), bool(truncated)))
    assert flags == [(False, False), (False, False), (False, True)]


def test_an_unavailable_action_shows():
    """Prevents a silent reward for an action that the state does not have."""
    _, _, reward, _, _ = many_steps(FiniteMDPEnvironment(make("gambler")), 3, 50, n=4)
    assert np.isnan(np.asarray(reward)).all()


def test_time_limit_is_checked():
    with pytest.raises(ValueError, match="time_limit is 0"):
        FiniteMDPEnvironment(make("chain"), time_limit=0)
