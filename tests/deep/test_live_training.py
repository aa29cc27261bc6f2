"""Training that is looked at: stopped, taken up again, begun anew, and what is seen of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from rlbook.deep import dqn
from rlbook.deep.array_files import read
from rlbook.deep.live_training import LiveTraining
from rlbook.errors import Cancelled, ParameterError
from rlbook.lab import Context

from .small import CART, CONFIG, WALKER, Corridor


def new(steps: int = 60_000) -> LiveTraining:
    return LiveTraining(dqn.ALGORITHM, CART, seeds=2, steps=steps, config=CONFIG, evaluations=6, evaluation_episodes=2)


def test_a_stop_changes_nothing_and_what_was_reached_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents training that begins again after a stop, or goes on to other numbers, and an agent that is lost."""
    monkeypatch.setattr("rlbook.deep.training._SECONDS_BETWEEN_REPORTS", 0.0)  # else it may end before the first
    live = new()
    assert list(live.episodes()) == ["seed 0, before training"]
    assert "not evaluated yet" in live.curves()[1]
    context = Context()
    context.cancel()
    with pytest.raises(Cancelled):
        live.train(context)
    heard: list[int] = []

    def reached(partial: xr.Dataset) -> None:
        heard.append(int(partial.steps_taken.min()))
        if heard[-1] > 0:
            stopping.cancel()

    stopping = Context(on_partial=reached)
    with pytest.raises(Cancelled):
        live.train(stopping)
    monkeypatch.undo()
    assert not live.finished
    assert int(live.result.steps_taken.min()) >= heard[-1] > 0
    for seed, taken in zip((0, 1), live.result.steps_taken.values, strict=True):
        header, _ = read(live._folder / f"checkpoint-{seed}.npz", "rlbook checkpoint 1")
        assert json.loads(header["record"])["units"] * CONFIG.train_every == taken
    shown = sorted(live.episodes())
    assert [
        f"after {taken:,} steps" in name for name, taken in zip(shown, live.result.steps_taken.values, strict=True)
    ] == [True] * 2
    live.train(Context())
    assert live.finished
    whole = dqn.train(CART, seeds=2, steps=60_000, config=CONFIG, evaluations=6, evaluation_episodes=2)
    for name in ("evaluation_return", "loss", "episode_return"):
        assert np.array_equal(live.result[name], whole[name])
    episodes = live.episodes()
    assert len(episodes) == 2
    assert all("after 60,000 steps, evaluated at" in name for name in episodes)
    assert "60,000 of 60,000 steps of each seed; last evaluations" in live.curves()[1]


def test_beginning_anew_takes_other_seeds_and_forgets() -> None:
    """Prevents the checkpoints of the seeds before from being met, and curves that stay."""
    live = new(steps=300)
    live.train(Context())
    live.begin_anew()
    assert not live.finished
    assert live.result.seed.values.tolist() == [2, 3]
    assert np.isnan(live.result.evaluation_return).all()
    live.train(Context())
    assert live.finished


def test_readers_own_agents_and_worlds_are_shown_as_far_as_they_can_be() -> None:
    """Prevents a lookup of the reader's agent among the book's, and a crash where nothing can be drawn."""
    live = LiveTraining(WALKER, CART, seeds=1, steps=100, evaluations=1)
    live.train(Context())
    assert len(live.episodes()) == 1
    undrawn = LiveTraining(WALKER, Corridor(), seeds=1, steps=100, evaluations=1)
    assert undrawn.episodes() == {}
    with pytest.raises(ParameterError, match="seeds is 0"):
        LiveTraining(WALKER, CART, seeds=0)


def test_a_seed_that_diverges_is_named() -> None:
    """Prevents a warning that nobody sees, and buttons that offer to go on for ever."""
    live = LiveTraining(
        WALKER, CART, seeds=1, steps=2_000, evaluations=4, evaluation_episodes=1, grain=float(np.finfo(np.float32).max)
    )
    live.train(Context())
    assert live.finished
    assert "The loss became no number of seed 0" in live.curves()[1]
