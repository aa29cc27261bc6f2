"""What all environments promise to whoever compiles them, and to Gymnasium."""

from __future__ import annotations

import sys

import gymnasium
import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium.utils.env_checker import check_env

from rlbook.deep.environments import Discrete, episode_key, make, names, step_key, to_gymnasium
from rlbook.errors import ParameterError, RlbookError, UnknownNameError

GAMES = ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1", "Catch", "DeepSea", "MinAtar/Breakout-v1"]
ALL = [*GAMES, "taxi", "garnet", "riverswim(features=3, time_limit=15)"]
DETERMINISTIC = [*GAMES[:6], "MinAtar/Breakout-v1(sticky=0.0)", "taxi"]


def some_action(environment, n=0):
    space = environment.action_space
    if isinstance(space, Discrete):
        return jnp.int32(n % space.n)
    return jnp.asarray(np.cos(n) * np.array(space.high), dtype=jnp.float32)


@pytest.mark.parametrize("name", ALL)
def test_states_keep_their_types(name):
    """Prevents a loop that cannot carry the state, or compiles twice since a number became another kind."""
    environment = make(name)
    key = jax.random.key(0)
    first, observation = jax.eval_shape(environment.reset, key)
    step = jax.eval_shape(environment.step, first, some_action(environment), key)

    def kinds(tree):
        return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]

    assert kinds(step.state) == kinds(first)
    assert kinds(step.observation) == kinds(observation) == [(environment.observation_shape, np.float32, False)]
    assert kinds((step.reward, step.terminated)) == [((), np.float32, False), ((), np.bool_, False)]
    assert jax.tree.structure(step.state) == jax.tree.structure(first)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_what_is_not_random_draws_nothing(name):
    """Prevents a step that pays for a random number it does not use."""
    environment = make(name)
    state, _ = environment.reset(jax.random.key(0))
    traced = jax.make_jaxpr(lambda state, key: environment.step(state, some_action(environment), key))(
        state, jax.random.key(0)
    )
    used = {id(variable) for equation in traced.jaxpr.eqns for variable in equation.invars}
    assert id(traced.jaxpr.invars[-1]) not in used


# What it recommends, Gymnasium's own CartPole and Pendulum do not keep to either.
@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too:UserWarning")
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space:UserWarning")
@pytest.mark.parametrize("name", ALL)
def test_gymnasium_accepts_it(name):
    environment = to_gymnasium(make(name))
    check_env(environment, skip_render_check=True)


@pytest.mark.parametrize("name", ALL)
def test_the_hosts_episodes_are_the_compiled_ones(name):
    """Prevents two drivers of one agent that train it on different worlds, and seeds that depend on their company."""
    environment, steps, seeds = make(name), 25, np.array([11, 12], dtype=np.uint32)
    actions = jnp.stack([some_action(environment, n) for n in range(steps)])

    def compiled(seed):
        key = episode_key(seed)
        first, observation = environment.reset(step_key(key, 0))

        def body(state, given):
            n, action = given
            step = environment.step(state, action, step_key(key, n))
            return step.state, (step.observation, step.reward, step.terminated)

        return observation, jax.lax.scan(body, first, (1 + jnp.arange(steps), actions))[1]

    together = jax.device_get(jax.jit(jax.vmap(compiled))(seeds))
    wrapped, actions = to_gymnasium(environment), np.asarray(actions)
    # Two programs may round a product and a sum once or twice; elsewhere they happen to agree to the bit.
    tolerance = 1e-4 if name == "Acrobot-v1" else 0.0
    for i, seed in enumerate(seeds):
        first, (observations, rewards, ends) = jax.tree.map(lambda part, i=i: part[i], together)
        observation, _ = wrapped.reset(seed=int(seed))
        assert np.array_equal(observation, first)
        for n in range(steps):
            observation, reward, terminated, truncated, _ = wrapped.step(actions[n])
            assert np.abs(observation - observations[n]).max() <= tolerance
            assert reward == rewards[n]
            assert terminated == ends[n]
            assert truncated == (n + 1 == environment.time_limit and not terminated)
            if terminated or truncated:
                break


def test_truncation_is_apart_from_termination():
    """Prevents bootstrapping as if the episode had ended by itself."""
    env = to_gymnasium(make("riverswim", time_limit=3))
    env.reset(seed=0)
    flags = [env.step(1)[2:4] for _ in range(3)]
    assert flags == [(False, False), (False, False), (False, True)]
    with pytest.raises(RlbookError, match=r"call reset\(\)"):
        env.step(1)


def test_seeds_repeat_an_episode_and_are_drawn_without_one():
    env = to_gymnasium(make("CartPole-v1"))
    starts = [env.reset(seed=3)[0], env.reset()[0], env.reset()[0], env.reset(seed=3)[0], env.reset()[0]]
    assert np.array_equal(starts[0], starts[3])
    assert np.array_equal(starts[1], starts[4])
    assert not np.array_equal(starts[1], starts[2])


@pytest.mark.parametrize(
    ("name", "action", "said"),
    [
        ("CartPole-v1", 2, "action is 2; CartPole-v1 takes a whole number from 0 to 1"),
        ("CartPole-v1", -1, "action is -1"),
        ("CartPole-v1", 0.0, r"action is 0\.0"),
        ("CartPole-v1", [1], r"action is \[1\]"),
        ("Pendulum-v1", [2.5], "so clip it"),
        ("Pendulum-v1", 1.0, r"shape \(1,\)"),
        ("Pendulum-v1", [float("nan")], "action is"),
    ],
)
def test_actions_outside_of_the_space_are_refused(name, action, said):
    env = to_gymnasium(make(name))
    env.reset(seed=0)
    with pytest.raises(ParameterError, match=said):
        env.step(action)


def test_an_action_that_the_state_lacks_is_refused():
    env = to_gymnasium(make("gambler"))
    env.reset(seed=0)
    assert int(env.state) != 50  # the only state in which a half of the goal can be staked
    with pytest.raises(ParameterError, match="action 50 is not available"):
        env.step(50)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_are_checked(seed):
    with pytest.raises(ParameterError, match="seed is"):
        to_gymnasium(make("Catch")).reset(seed=seed)
    with pytest.raises(ParameterError, match="seed is"):
        episode_key(seed)


def test_two_wrappers_share_one_program():
    """Prevents a compilation for each of several copies of an environment."""
    step = sys.modules[to_gymnasium.__module__]._step
    first, second = to_gymnasium(make("Catch(rows=7)")), to_gymnasium(make("Catch(rows=7)"))
    first.reset(seed=0)
    first.step(0)
    before = step._cache_size()
    second.reset(seed=1)
    second.step(1)
    assert step._cache_size() == before


def test_every_finite_mdp_can_be_made():
    assert {"CartPole-v1", "taxi", "frozenlake-8x8", "garnet"} < set(names())
    environment = make("garnet(states=20)", seed=3, features=4, time_limit=9)
    assert environment.mdp.n_states == 20
    assert (environment.observation_shape, environment.time_limit) == ((4,), 9)


def test_every_name_of_gymnasiums_is_gymnasiums():
    for name in GAMES[:4]:
        assert name in gymnasium.registry


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("CartPole-v0", {}, UnknownNameError, "did you mean CartPole-v1"),
        ("cartpole", {}, UnknownNameError, "CartPole-v1"),
        ("Breakout-v1", {}, UnknownNameError, "MinAtar/Breakout-v1"),
        ("taxy", {}, UnknownNameError, "did you mean taxi"),
        ("CartPole-v1", {"length": 2}, ParameterError, "CartPole-v1: option 'length' is unknown"),
        ("CartPole-v1", {"time_limit": 0}, ParameterError, "time_limit is 0"),
        ("DeepSea(size=5)", {"size": 6}, ParameterError, "'size' is given twice"),
        ("garnet", {"feature": 3}, ParameterError, "feature"),
    ],
)
def test_wrong_names_and_options_get_a_sentence(name, options, error, said):
    with pytest.raises(error, match=said):
        make(name, **options)


def test_names_can_be_written_with_options():
    assert make("DeepSea(size=5, scrambled=False)").observation_shape == (5, 5)
    assert make("CartPole-v1(time_limit=200)").time_limit == 200
    assert eqx.tree_equal(make("CartPole-v1"), make("CartPole-v1"))
