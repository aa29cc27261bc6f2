"""Training from the outside: what seeds, evaluation, settings, cancelling and bad input do to its numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from rlbook.deep import algorithms, dqn
from rlbook.deep.environments import FiniteMDPEnvironment, Step
from rlbook.deep.training import TrainingInterrupted, TrainingWarning
from rlbook.environments import make as make_mdp
from rlbook.errors import Cancelled, ParameterError, RlbookError, UnknownNameError
from rlbook.lab import Context

from .small import CART, CONFIG, WALKER, Corridor, Counting
from .test_drivers import CASES, same

TRAIN: dict[str, Any] = {"steps": 600, "config": CONFIG, "evaluations": 3, "evaluation_episodes": 2}
WALK: dict[str, Any] = {"steps": 400, "evaluations": 4, "evaluation_episodes": 2}


def of_seed(result: xr.Dataset, seed: int) -> xr.Dataset:
    """What a result says of one seed."""
    own = np.flatnonzero(result.episode_seed == seed)
    return result.sel(seed=[seed]).isel(episode=own).drop_attrs()


@pytest.fixture(scope="module")
def whole() -> Any:
    """Three seeds of a small DQN."""
    return dqn.ALGORITHM.run(CART, seeds=3, workers=3, **TRAIN)


def test_a_seed_gives_the_same_numbers_alone_in_company_and_again(whole: Any) -> None:
    """Prevents draws that threads share, and a seed that follows from its place in the list."""
    for seeds in ([2], [1, 0]):
        again = dqn.ALGORITHM.run(CART, seeds=seeds, **TRAIN)
        for at, seed in enumerate(seeds):
            assert of_seed(again.result, seed).identical(of_seed(whole.result, seed))
            assert same(again.policies[at].state, whole.policies[seed].state)
    assert not same(whole.policies[0].state, whole.policies[1].state)


@pytest.mark.parametrize(("agent", "environment", "settings"), CASES[1:], ids=[case[0] for case in CASES[1:]])
def test_seeds_stand_alone_for_every_kind_of_experience(agent: str, environment: Any, settings: dict[str, Any]) -> None:
    """Prevents draws that seeds share where there are many environments side by side, or one step at a time."""
    train = partial(
        algorithms.algorithm(agent).run, environment, steps=260, evaluations=2, evaluation_episodes=4, **settings
    )
    company = train(seeds=[3, 1, 2], workers=3)
    for seeds in ([2], [2, 3]):
        again = train(seeds=seeds)
        for at, seed in enumerate(seeds):
            assert of_seed(again.result, seed).identical(of_seed(company.result, seed))
            assert same(again.policies[at].state, company.policies[[3, 1, 2].index(seed)].state)
    assert not same(company.policies[0].state, company.policies[1].state)


def test_evaluation_does_not_disturb_training(whole: Any) -> None:
    """Prevents an evaluation that takes draws, steps or time from training."""
    often = dqn.ALGORITHM.run(CART, seeds=1, **{**TRAIN, "evaluations": 10, "evaluation_episodes": 3})
    assert same(often.policies[0].state, whole.policies[0].state)
    own = whole.result.episode_seed == 0
    assert np.array_equal(often.result.episode_return, whole.result.episode_return[own])
    assert np.array_equal(often.result.episode_step, whole.result.episode_step[own])


def test_both_drivers_give_the_same_result(whole: Any) -> None:
    """Prevents drivers that differ in what surrounds them: chunks, sums, evaluations."""
    stepped = dqn.ALGORITHM.run(CART, seeds=[1], driver="gym", **TRAIN)
    assert of_seed(stepped.result, 1).identical(of_seed(whole.result, 1))
    assert {name for name, told in whole.result.attrs.items() if stepped.result.attrs[name] != told} == {
        "driver",
        "seconds",
    }
    assert same(stepped.policies[0].state, whole.policies[1].state)


@contextmanager
def compilations() -> Iterator[list[str]]:
    """What is compiled within the block."""
    names: list[str] = []

    def heard(event: str, seconds: float, **more: Any) -> None:
        if event.endswith("backend_compile_duration"):
            names.append(str(more.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def test_moving_a_float_compiles_nothing_and_moving_an_int_does() -> None:
    """Prevents a slider that waits for a compiler."""
    walk = partial(WALKER.run, Corridor(), seeds=2, **WALK)
    walk()
    with compilations() as none:
        walk(grain=0.3)
        WALKER.run(Corridor(), seeds=[7], **{**WALK, "steps": 380, "evaluations": 2}, grain=0.9)
        WALKER.run(Corridor(pay=3.0), seeds=[7], **WALK)
    assert none == []
    with compilations() as some:
        walk(every=5)
    assert any("advance_units" in name for name in some)


def test_a_named_environment_is_compiled_once() -> None:
    """Prevents a program that is tied to one object, and so compiled at every call."""
    walk = partial(WALKER.run, "chain(states=5)", seeds=1, **{**WALK, "evaluation_episodes": 1})
    walk()
    with compilations() as none:
        walk()
    assert none == []


def test_a_loss_that_is_no_number_ends_the_seed_and_keeps_the_result() -> None:
    """Prevents hours of training on NaN, and a result that is thrown away for it."""
    with pytest.warns(TrainingWarning, match=r"seed [01] is not a number at step \d+.*lower") as caught:
        result = WALKER.train(Corridor(pay=1e30), seeds=2, **{**WALK, "steps": 4_000})
    assert all(warning.filename == __file__ for warning in caught)
    assert (result.diverged_at > 0).all()
    assert (result.steps_taken < 4_000).all()
    assert np.isnan(result.evaluation_return[:, -1]).all()
    assert result.sizes["episode"] > 0


def test_a_huge_learning_rate_ends_the_same_way() -> None:
    """Prevents a divergence by degrees that ends in a traceback, or in a curve of infinities."""
    with pytest.warns(TrainingWarning, match="not a number"):
        result = WALKER.train(Corridor(), seeds=1, grain=1e6, **WALK)
    assert result.diverged_at[0] > 20
    assert np.isfinite(result.get("loss", xr.DataArray(0.0)).fillna(0.0)).all()


def test_one_seed_that_diverges_leaves_the_others_alone(tmp_path: Path) -> None:
    """Prevents a stop for all, and a checkpoint from which the seed that diverged would go on."""
    with pytest.warns(TrainingWarning):
        WALKER.train(Corridor(pay=1e30), seeds=1, folder=tmp_path, **WALK)
    with pytest.warns(TrainingWarning, match="seed 0"):
        again = WALKER.train(Corridor(pay=1e30), seeds=1, folder=tmp_path, **WALK)
    assert again.steps_taken[0] < 400


def test_cancelling_ends_all_threads_soon() -> None:
    """Prevents a notebook that trains on behind the reader's back."""
    told: list[float] = []

    def progress(fraction: float, message: str) -> None:
        told.append(fraction)
        assert message == "walker on corridor"
        context.cancel()

    context = Context(on_progress=progress)
    with pytest.raises(Cancelled):
        WALKER.train(Corridor(), seeds=5, context=context, **{**WALK, "steps": 5_000_000})
    assert 0 < told[0] < 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rlbook-training")]


def test_partial_results_have_the_layout_of_the_whole() -> None:
    """Prevents a live figure that breaks before the end, or that reads a record while it grows."""
    parts: list[xr.Dataset] = []

    def partial_result(result: xr.Dataset) -> None:
        parts.append(result)
        if len(parts) == 3:
            context.cancel()

    context = Context(on_partial=partial_result)
    with pytest.raises(Cancelled):
        WALKER.train(Corridor(), seeds=2, context=context, **{**WALK, "steps": 20_000_000, "evaluations": 20_000})
    finished = WALKER.train(Corridor(), seeds=2, **WALK)
    taken = np.array([part.steps_taken for part in parts])
    assert (np.diff(taken, axis=0) >= 0).all()
    assert np.diff(taken, axis=0).any()
    for part in parts:
        assert part.sizes["seed"] == 2
        assert {name: part[name].dims for name in part} == {name: finished[name].dims for name in part}
        assert set(part) <= set(finished)
        ended = part.episode_step.groupby(part.episode_seed).max()
        assert (ended.values <= part.steps_taken.values).all()


def test_ctrl_c_keeps_what_was_reached() -> None:
    """Prevents an evening of training lost to an impatient finger."""

    def progress(fraction: float, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match=r"interrupted after at least [\d,]+ steps.*name a folder") as caught:
        WALKER.train(Corridor(), seeds=2, context=Context(on_progress=progress), **{**WALK, "steps": 20_000_000})
    kept = caught.value
    assert (kept.result.steps_taken > 0).all()
    assert kept.result.sizes["episode"] > 0
    assert set(kept.policies) == {0, 1}


def test_what_a_thread_raises_ends_the_others_at_once(tmp_path: Path) -> None:
    """Prevents an error that is told only when all other seeds have been trained to their end."""

    class Breaks(Counting):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            Breaks.made += 1
            if Breaks.made == 3:
                raise ZeroDivisionError("no third world")

    began = time.perf_counter()
    with pytest.raises(ZeroDivisionError, match="no third world"):
        WALKER.train(Breaks, seeds=2, workers=2, driver="gym", **{**WALK, "steps": 1_000_000})
    assert time.perf_counter() - began < 20


def test_few_steps_are_rounded_up_to_whole_blocks() -> None:
    """Prevents training of no steps at all, and evaluations that fall on the same step twice."""
    with pytest.warns(TrainingWarning, match="walker on corridor has learned nothing"):
        result = WALKER.train(Corridor(), seeds=1, steps=5)
    assert result.step.values.tolist() == [4, 8]
    assert result.steps_taken.values.tolist() == [8]


BAD: list[tuple[dict[str, Any], type[RlbookError], list[str]]] = [
    ({"environment": "CartPol-v1"}, UnknownNameError, ["'CartPol-v1' is unknown", "did you mean CartPole-v1"]),
    ({"environment": "CartPol-v1", "driver": "gym"}, UnknownNameError, ["did you mean CartPole-v1"]),
    ({"environment": "LunarLander-v3"}, ParameterError, ["Gymnasium's and not in JAX", "driver='gym'"]),
    ({"environment": "ale_games:Pong-v5", "driver": "gym"}, ParameterError, ["cannot be made", "ale_games"]),
    ({"environment": "DeepSea(sise=3)"}, ParameterError, ["'sise'", "size"]),
    ({"environment": "Pendulum-v1"}, ParameterError, ["dqn on Pendulum-v1: actions are vectors", "CartPole-v1"]),
    ({"environment": "Pendulum-v1", "driver": "gym"}, ParameterError, ["dqn on Pendulum-v1: actions are vectors"]),
    ({"environment": "gambler"}, ParameterError, ["not all actions of", "rlbook.tabular"]),
    ({"environment": "gambler", "driver": "gym"}, ParameterError, ["not all actions of"]),
    ({"environment": 3}, ParameterError, ["environment is 3", "give a name"]),
    ({"environment": make_mdp("chain")}, ParameterError, ["is a FiniteMDP", "FiniteMDPEnvironment(mdp"]),
    ({"environment": Counting()}, ParameterError, ["function without arguments"]),
    ({"environment": Counting}, ParameterError, ["only driver='gym' can step"]),
    ({"environment": dict, "driver": "gym"}, ParameterError, ["environment makes {}"]),
    ({"driver": "torch"}, ParameterError, ["driver is 'torch'", "'compiled' or 'gym'"]),
    ({"seeds": 0}, ParameterError, ["seeds is 0", "from 1"]),
    ({"seeds": []}, ParameterError, ["seeds is []", "at least 1"]),
    ({"seeds": [1, 1]}, ParameterError, ["seeds is [1, 1]", "different"]),
    ({"seeds": [-1]}, ParameterError, ["seeds is [-1]"]),
    ({"seeds": [2**32]}, ParameterError, ["4294967295"]),
    ({"seeds": 10**9}, ParameterError, ["seeds is 1000000000"]),
    ({"seeds": 2.5}, ParameterError, ["seeds is 2.5"]),
    ({"seeds": True}, ParameterError, ["seeds is True"]),
    ({"steps": 0}, ParameterError, ["steps is 0", "from 1"]),
    ({"steps": 1e6}, ParameterError, ["steps is 1000000.0", "whole number"]),
    ({"evaluations": 0}, ParameterError, ["evaluations is 0"]),
    ({"evaluation_episodes": -1}, ParameterError, ["evaluation_episodes is -1"]),
    ({"workers": 0}, ParameterError, ["workers is 0"]),
    ({"folder": ""}, ParameterError, ["folder is ''"]),
    ({"folder": __file__}, ParameterError, ["nothing can be written to", "name another"]),
    ({"folder": __file__ + "/deeper"}, ParameterError, ["nothing can be written to", "name another"]),
    ({"learning_rate": -1}, ParameterError, ["'learning_rate' is -1", "greater than 0"]),
    ({"learning_rate": float("nan")}, ParameterError, ["'learning_rate' is nan"]),
    ({"batch_size": 0}, ParameterError, ["'batch_size' is 0"]),
    ({"loss": "cubic"}, ParameterError, ["'loss' is 'cubic'", "'squared' or 'huber'"]),
    ({"learning_rte": 1}, ParameterError, ["dqn has no setting 'learning_rte'", "did you mean learning_rate"]),
    ({"seed": 1}, ParameterError, ["dqn has no setting 'seed'", "did you mean seeds"]),
    ({"config": WALKER.Config()}, ParameterError, ["config is a WalkerConfig", "rlbook.deep.dqn.Config"]),
    ({"buffer_size": 10, "learning_starts": 20}, ParameterError, ["less than 20 rows of warm-up"]),
]


@pytest.mark.parametrize(("options", "kind", "parts"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_input_is_a_sentence_before_anything_runs(
    options: dict[str, Any], kind: type[RlbookError], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a traceback, a sentence without the way out, hours of work before it, and files that stay behind."""

    def forbidden(*_: Any) -> None:
        raise AssertionError("a seed was trained")

    monkeypatch.setattr("rlbook.deep.training.train_seed", forbidden)
    with pytest.raises(kind) as caught:
        dqn.train(**{"environment": CART, "folder": tmp_path / "new", "seeds": 2, "steps": 100, **options})
    assert [part for part in parts if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_of_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents Gymnasium's traceback where one of its extras is not installed."""

    def make_one(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(gymnasium, "make", make_one)
    with pytest.raises(ParameterError, match="'LunarLander-v3' cannot be made: Box2D is not installed"):
        dqn.train("LunarLander-v3", driver="gym", seeds=1, steps=10)


def test_an_agent_without_action_values_is_no_way_round_ragged_actions() -> None:
    """Prevents NaN rewards where a state lacks an action."""
    with pytest.raises(ParameterError, match="not all actions"):
        WALKER.train(FiniteMDPEnvironment(make_mdp("gambler")), seeds=1, steps=10)


class Endless(Corridor):
    """It pays 1 at every step and never ends, but is cut after two."""

    time_limit: int = eqx.field(static=True, default=2)

    def step(self, state, action, key):
        return Step(state, self._seen(state), jnp.float32(1.0), jnp.bool_(False))


@pytest.mark.parametrize("driver", ["compiled", "gym"])
def test_truncation_is_no_end_of_the_world(driver: Any) -> None:
    """Prevents a bootstrap that stops at a time limit.

    The value w = 1 + 0.9 w is 10. If the cut were an end it would be w = 1 + 0.9 w / 2, which is 1.82.
    """
    trained = WALKER.run(Endless(), seeds=1, driver=driver, **WALK)
    assert float(trained.policies[0].state) == pytest.approx(10.0, rel=1e-3)
