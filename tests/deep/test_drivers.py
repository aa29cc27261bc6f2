"""The two drivers: the same numbers from both, and what the Gymnasium driver makes of other people's worlds."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

from rlbook.deep import algorithms, dqn
from rlbook.deep.compiled import CompiledTraining
from rlbook.deep.environments import Environment, to_gymnasium
from rlbook.deep.environments.finite_mdp import FiniteMDPEnvironment
from rlbook.deep.gymnasium_driver import GymnasiumTraining, spaces_of
from rlbook.environments import make as make_mdp
from rlbook.errors import ParameterError

from .small import CART, SMALL, WALKER, Corridor, Counting

CASES: list[tuple[str, Environment, dict[str, Any]]] = [
    ("dqn", CART, SMALL),
    (
        "pqn",
        FiniteMDPEnvironment(make_mdp("frozenlake-4x4"), time_limit=7),
        {"environments": 3, "rollout": 4, "minibatches": 2, "epochs": 1, "first_width": 8, "second_width": 8},
    ),
    ("stream_q", Corridor(), {"first_width": 8, "second_width": 8}),
    ("dqn", CART, {**SMALL, "double": True, "prioritised": True, "n_step": 3}),
    ("c51", Corridor(), {**SMALL, "atoms": 11, "lowest": 0.0, "highest": 20.0}),
    ("qr_dqn", Corridor(), {**SMALL, "quantiles": 5}),
]
NAMES = ["DQN", "PQN", "stream Q", "prioritised n-step double DQN", "C51", "QR-DQN"]
each_agent = pytest.mark.parametrize(("agent", "environment", "settings"), CASES, ids=NAMES)


def same(one: Any, other: Any) -> bool:
    """Whether two pytrees are equal bit for bit."""
    return all(
        np.array_equal(jax.random.key_data(a), jax.random.key_data(b))
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)
        else np.asarray(a).dtype == np.asarray(b).dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@each_agent
def test_both_drivers_give_the_same_numbers(agent: str, environment: Environment, settings: dict[str, Any]) -> None:
    """Prevents a driver that resets, draws, cuts or learns otherwise than the other one."""
    algorithm = algorithms.algorithm(agent)
    config = algorithm.Config(**settings)
    kind = algorithm.experience(config)
    per_unit = kind.length * kind.environments
    units = -(-260 // per_unit)
    most = max(1, 1_000 // per_unit)
    compiled = CompiledTraining(algorithm, config, environment, 5, 1_000, most)
    stepped = GymnasiumTraining(algorithm, config, partial(to_gymnasium, environment), 5, 1_000)
    ends: list[Any] = []
    for count, learning in ((kind.idle_units, False), (units - kind.idle_units, True)):
        if count == 0:
            continue
        metrics, endings = compiled.advance(count, learning=learning)
        others, their_endings = stepped.advance(count, learning=learning)
        assert same(endings, their_endings)
        assert same(metrics, others)
        ends += list(np.asarray(endings.length)[np.asarray(endings.ended)])
    # Some episodes were cut, and some ended before: else this would have compared less than it says.
    assert max(ends) == environment.time_limit
    assert min(ends) < environment.time_limit
    assert same(compiled.carry, stepped.carry)
    assert same(compiled.evaluate(3, 4), stepped.evaluate(3, 4))
    assert same(compiled.carry, stepped.carry)


def test_roundings_are_all_that_may_differ_between_drivers() -> None:
    """Prevents a difference that is none of the compiler's: for these options its loop rounds otherwise."""
    config = dqn.Config(**SMALL, double=True, dueling=True, prioritised=True, n_step=3)
    idle = dqn.experience(config).idle_units
    compiled = CompiledTraining(dqn.ALGORITHM, config, CART, 5, 1_000, 250)
    stepped = GymnasiumTraining(dqn.ALGORITHM, config, partial(to_gymnasium, CART), 5, 1_000)
    assert same(compiled.advance(idle, learning=False), stepped.advance(idle, learning=False))
    (found, endings), (wanted, their_endings) = (each.advance(40, learning=True) for each in (compiled, stepped))
    assert same(endings, their_endings)
    np.testing.assert_allclose(found["loss"], wanted["loss"], rtol=1e-5)


@pytest.mark.parametrize("driver", ["compiled", "gym"])
@each_agent
def test_what_is_kept_goes_on_to_the_same_bits(
    agent: str, environment: Environment, settings: dict[str, Any], driver: str
) -> None:
    """Prevents priorities, traces, rollouts of many environments or running means that a checkpoint forgets."""
    algorithm = algorithms.algorithm(agent)
    config = algorithm.Config(**settings)
    kind = algorithm.experience(config)
    most = max(1, 1_000 // (kind.length * kind.environments))

    def fresh() -> Any:
        if driver == "compiled":
            return CompiledTraining(algorithm, config, environment, 5, 1_000, most)
        return GymnasiumTraining(algorithm, config, partial(to_gymnasium, environment), 5, 1_000)

    one, other = fresh(), fresh()
    if kind.idle_units:
        one.advance(kind.idle_units, learning=False)
    one.advance(7, learning=True)
    other.restore({name: np.array(array) for name, array in one.snapshot().items()}, "here")
    assert same(one.advance(5, learning=True), other.advance(5, learning=True))
    assert same(one.carry, other.carry)


@pytest.mark.parametrize("driver", ["compiled", "gym"])
def test_rows_are_what_a_plain_loop_sees(driver: str) -> None:
    """Prevents a time limit that passes for an end, and a last observation that is lost at the reset after it."""
    environment = Corridor()
    training: Any = (
        CompiledTraining(WALKER, WALKER.Config(), environment, 2, 1_000, 50)
        if driver == "compiled"
        else GymnasiumTraining(WALKER, WALKER.Config(), partial(to_gymnasium, environment), 2, 1_000)
    )
    training.advance(16, learning=False)
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], training.carry.memory.rows)
    length, cut, ended = 0, 0, 0
    for t in range(64):
        place = round(float(rows.observation[t, 0]) * 6)
        length += 1
        after = min(max(place + 2 * int(rows.action[t]) - 1, 0), 5)
        assert rows.reward[t] == place
        assert round(float(rows.next_observation[t, 0]) * 6) == after
        assert rows.terminated[t] == (after == 5)
        assert rows.truncated[t] == (length == 4 and after != 5)
        if rows.terminated[t] or rows.truncated[t]:
            ended, cut, length = ended + rows.terminated[t], cut + rows.truncated[t], 0
        elif t < 63:
            assert np.array_equal(rows.next_observation[t], rows.observation[t + 1])
    assert ended > 3
    assert cut > 3


def test_seeds_beyond_31_bits_are_the_same_in_both_drivers() -> None:
    """Prevents an overflow, or another stream of draws, where a seed does not fit into an int32."""
    seed = 2**32 - 1
    compiled = CompiledTraining(WALKER, WALKER.Config(), Corridor(), seed, 1_000, 50)
    stepped = GymnasiumTraining(WALKER, WALKER.Config(), partial(to_gymnasium, Corridor()), seed, 1_000)
    compiled.advance(3, learning=False)
    stepped.advance(3, learning=False)
    assert same(compiled.carry, stepped.carry)


def test_a_world_that_says_both_has_ended() -> None:
    """Prevents a bootstrap through the end of the world, and states that are numbers taken for their values."""
    training = GymnasiumTraining(WALKER, WALKER.Config(), Counting, 0, 1_000)
    _, endings = training.advance(6, learning=False)
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:24, 0], training.carry.memory.rows)
    assert np.array_equal(rows.terminated, np.arange(24) % 3 == 2)
    assert not rows.truncated.any()
    assert np.asarray(endings.ended).sum() == 8
    assert np.array_equal(rows.observation.sum(axis=1), np.ones(24))
    assert np.array_equal(rows.next_observation.argmax(axis=1), (rows.observation.argmax(axis=1) + 1) % 10)


def test_gymnasium_s_own_cartpole_is_stepped_under_its_time_limit() -> None:
    """Prevents a driver that knows only environments of our own making."""
    make_one = partial(gymnasium.make, "CartPole-v1", max_episode_steps=9)
    training = GymnasiumTraining(WALKER, WALKER.Config(), make_one, 1, 1_000)
    _, endings = training.advance(16, learning=False)
    lengths = np.asarray(endings.length)[np.asarray(endings.ended)]
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], training.carry.memory.rows)
    assert lengths.max() == 9
    assert rows.truncated.sum() == np.sum(lengths == 9)
    assert not (rows.truncated & rows.terminated).any()
    training.close()


class _Spaces(gymnasium.Env):
    def __init__(self, seen: gymnasium.Space, done: gymnasium.Space) -> None:
        self.observation_space, self.action_space = seen, done


@pytest.mark.parametrize(
    ("seen", "done", "parts"),
    [
        (gymnasium.spaces.MultiBinary(3), gymnasium.spaces.Discrete(2), ["observations in MultiBinary(3)", "wrap it"]),
        (gymnasium.spaces.Discrete(3), gymnasium.spaces.MultiDiscrete([2, 2]), ["actions in MultiDiscrete", "wrap it"]),
        (gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2, start=1), ["counted from 0"]),
        (gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(0, 1, (2, 2)), ["a Box of one dimension"]),
    ],
)
def test_spaces_that_are_not_supported_are_named(seen: Any, done: Any, parts: list[str]) -> None:
    """Prevents an error from the depths of an agent."""
    with pytest.raises(ParameterError) as caught:
        spaces_of(_Spaces(seen, done))
    assert [part for part in ["_Spaces", *parts] if part not in str(caught.value)] == []
