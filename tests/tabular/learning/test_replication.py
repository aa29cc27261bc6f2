"""Replication: one dataset with the bits of each seed alone, progress and cancel during it, and refusals in words."""

from __future__ import annotations

import itertools
import threading
import time
import warnings

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import Cancelled, MDPError, ParameterError
from rlbook.tabular import action_values, solve
from rlbook.tabular.learning import (
    TD,
    DoubleQLearning,
    QLearning,
    Sarsa,
    TDLambda,
    constant,
    optimal_truth,
    policy_truth,
    polynomial,
    reachable_states,
    replicate,
)

CLIFF = make("cliff")
GRID = {"step_size": [0.1, 0.5], "exploration": [0.05, polynomial(1.0, 1.0)]}


@pytest.mark.parametrize("length", [{"steps": 3000}, {"episodes": 7}])
@pytest.mark.parametrize("keep", ["errors", "estimates", "steps"])
def test_the_number_of_workers_changes_no_bit(length, keep):
    """Prevents replicates that write each other's rows or depend on who came first."""
    learners = {"Q": QLearning(), "SARSA": Sarsa()}
    one, two, five = (
        replicate(CLIFF, learners, range(6), **length, checkpoints=5, grid=GRID, keep=keep, workers=workers)
        for workers in (1, 2, 5)
    )
    assert one.identical(two)
    assert one.identical(five)
    assert tuple(one.error.dims) == ("learner", "step_size", "exploration", "seed", "checkpoint")
    assert one.error.shape == (2, 2, 2, 6, 5)


def test_each_place_of_a_grid_is_that_setting_alone():
    """Prevents a grid that is laid out in another order than its coordinates say."""
    together = replicate(CLIFF, {"Q": QLearning(), "SARSA": Sarsa()}, [3, 8], steps=2000, checkpoints=4, grid=GRID)
    for kind, (i, alpha), (j, epsilon) in itertools.product(
        (QLearning, Sarsa), enumerate(GRID["step_size"]), enumerate(GRID["exploration"])
    ):
        alone = replicate(CLIFF, kind(step_size=alpha, exploration=epsilon), [8], steps=2000, checkpoints=4)
        there = together.isel(step_size=i, exploration=j).sel(learner="Q" if kind is QLearning else "SARSA", seed=[8])
        assert alone.identical(there.drop_vars(["step_size", "exploration", "learner"]))
    assert together.step_size.values.tolist() == [0.1, 0.5]
    assert together.exploration.values.tolist() == ["0.05", "1 / n^1"]


def test_learners_that_act_alike_meet_the_same_transitions():
    """Prevents races on different luck: without learning, all walk the same walk."""
    mdp = make("garnet", states=10, actions=3, branching=3, seed=1)
    learners = {str(kind): kind(step_size=0.0) for kind in (QLearning, Sarsa, DoubleQLearning)}
    run = replicate(mdp, learners, range(3), steps=200, checkpoints=200, keep="steps")
    for name in run.learner.values:
        assert np.array_equal(run.actor.sel(learner=name), run.actor[0])
    assert len(np.unique(run.actor[0])) > 10


def test_records_say_what_happened_when():
    """Prevents records that are one step or one episode off, by comparing them with the steps themselves."""
    learner = QLearning(step_size=0.5)
    run = replicate(CLIFF, learner, [1], steps=6000, checkpoints=6000, keep="steps").isel(seed=0)
    truth = optimal_truth(CLIFF)
    paid = np.diff(run.reward.values, prepend=0.0)
    assert set(paid) <= {-1.0, -100.0}
    assert run.step.values.tolist() == list(range(1, 6001))
    off = np.abs(run.estimates.values - truth)
    assert np.array_equal(run.error.values, np.nanmax(off, axis=1))
    assert run.rms_error.values == pytest.approx(np.sqrt(np.nanmean(off**2, axis=1)))
    finished = np.flatnonzero(np.diff(run.episode.values, prepend=0))
    assert len(finished) > 3
    above_goal = CLIFF.state_names.index("(2, 11)")
    assert set(CLIFF.pair_state[run.actor.values[finished]]) == {above_goal}
    by_episode = replicate(CLIFF, learner, [1], episodes=3, checkpoints=3).isel(seed=0)
    assert by_episode.step.values.tolist() == run.step.values[finished[:3]].tolist()
    assert by_episode.reward.values.tolist() == run.reward.values[finished[:3]].tolist()


def test_checkpoints_are_spread_or_given():
    assert replicate(CLIFF, QLearning(), [0], steps=10, checkpoints=4).checkpoint.values.tolist() == [2, 5, 8, 10]
    assert replicate(CLIFF, QLearning(), [0], steps=3, checkpoints=50).checkpoint.values.tolist() == [1, 2, 3]
    given = replicate(CLIFF, QLearning(), [0], steps=10, checkpoints=[1, 7])
    assert given.checkpoint.values.tolist() == given.step.values[0].tolist() == [1, 7]
    assert given.attrs["clock"] == "steps"


def test_what_was_not_reached_is_nan_and_minus_one():
    """Prevents a run that waits for an episode without end, and zeros that look like results."""
    run = replicate(
        CLIFF, QLearning(), range(3), episodes=50, checkpoints=50, keep="steps", max_steps=2000, progress=lambda _: None
    )
    reached = run.step.values >= 0
    assert np.all(reached[:, 0])
    assert not np.any(reached[:, -1])
    for name in ("error", "rms_error", "reward", "td_error"):
        assert np.array_equal(np.isnan(run[name].values), ~reached)
    for name in ("step", "episode", "actor"):
        assert np.array_equal(run[name].values == -1, ~reached)
    assert np.array_equal(np.isnan(run.estimates.values).all(axis=2), ~reached)
    assert run.step.values.max() <= 2000


@pytest.mark.parametrize(
    "length",
    [{"steps": 400_000}, {"steps": 800_000, "checkpoints": [7, 400_000]}, {"episodes": 20, "max_steps": 300}],
    ids=str,
)
@pytest.mark.parametrize("workers", [1, 2])
def test_progress_rises_to_its_end(length, workers):
    """Prevents a bar that falls back, or stays below its end where marks end early or episodes are cut off."""
    seen: list[float] = []
    caller = threading.get_ident()
    threads = set()

    def progress(fraction: float) -> None:
        seen.append(fraction)
        threads.add(threading.get_ident())

    replicate(CLIFF, QLearning(), range(40), **length, workers=workers, progress=progress)
    assert np.all(np.diff(seen) >= 0)
    assert seen[0] >= 0
    assert seen[-1] == 1.0
    assert threads == {caller}


@pytest.mark.serial
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("progress", [None, lambda fraction: None], ids=["silent", "with progress"])
def test_cancel_is_heard_at_once(workers, progress):
    """Prevents a slider that waits for a run that nobody wants any more: 0.2 s is felt as at once."""
    flag = np.zeros(1, dtype=np.uint8)
    replicate(CLIFF, QLearning(), range(workers), steps=10)
    cancelled_at = []

    def cancel() -> None:
        time.sleep(0.1)
        cancelled_at.append(time.perf_counter())
        flag[0] = 1

    watcher = threading.Thread(target=cancel)
    watcher.start()
    with pytest.raises(Cancelled):
        replicate(CLIFF, QLearning(), range(2 * workers), steps=2**38, workers=workers, cancel=flag, progress=progress)
    ended = time.perf_counter()
    watcher.join()
    assert ended - cancelled_at[0] < 0.2


def test_what_progress_raises_ends_the_run():
    """Prevents threads that go on after the caller has gone."""

    def progress(_: float) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        replicate(CLIFF, QLearning(), range(4), steps=2**38, progress=progress)
    assert threading.active_count() == before


def test_only_what_can_be_visited_is_judged():
    """Prevents an error that never falls because of states in which no episode ever is."""
    mdp = CLIFF
    reachable = reachable_states(mdp)
    assert reachable.sum() == mdp.n_states - 1  # the goal: episodes end on entering it
    truth = optimal_truth(mdp)
    assert np.array_equal(np.isnan(truth), ~reachable[mdp.pair_state])
    exact = action_values(mdp, solve(mdp, 1e-12).values)
    assert truth[~np.isnan(truth)] == pytest.approx(exact[~np.isnan(truth)], abs=1e-8)
    run = replicate(mdp, QLearning(initial=np.nan_to_num(truth, nan=123.0)), [0], steps=5)
    assert run.error.values.max() < 1e-8


def test_truth_can_be_given_or_left_out():
    given = replicate(CLIFF, QLearning(step_size=0.0), [0], steps=5, truth=np.full(CLIFF.n_pairs, 2.0))
    assert given.error.values.max() == given.rms_error.values.max() == 2.0
    assert "error" not in replicate(CLIFF, QLearning(), [0], steps=5, truth=None)


def test_the_error_of_a_learner_that_diverged_is_not_zero():
    """Prevents an error of 0 where estimates have overflown: a maximum that passes over NaN."""
    truth = policy_truth(CLIFF)
    learner = TDLambda(step_size=1.0, trace_decay=1.0)
    run = replicate(CLIFF, learner, [1], steps=20_000, checkpoints=2, truth=truth, keep="estimates")
    assert np.isnan(run.estimates.values).any()
    assert np.all(np.isnan(run.error.values))
    assert np.all(np.isnan(run.rms_error.values))


def run(**changes):
    arguments = {"mdp": CLIFF, "learner": QLearning(), "seeds": [0], "steps": 10} | changes
    return replicate(arguments.pop("mdp"), arguments.pop("learner"), arguments.pop("seeds"), **arguments)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"episodes": 3}, "exactly one of the two"),
        ({"steps": None}, "exactly one of the two"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"steps": True}, "steps is True"),
        ({"steps": 2**40}, "steps is 1099511627776"),
        ({"steps": None, "episodes": 0}, "episodes is 0"),
        ({"checkpoints": 0}, "checkpoints is 0"),
        ({"checkpoints": []}, r"checkpoints is \[\]"),
        ({"checkpoints": [0.5]}, "list of integers"),
        ({"checkpoints": True}, "checkpoints is True"),
        ({"checkpoints": [[1, 2]]}, "list of integers"),
        ({"checkpoints": [0, 1]}, "increase from 1 to 10"),
        ({"checkpoints": [2, 2]}, "increase from 1 to 10"),
        ({"checkpoints": [11]}, "increase from 1 to 10"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"max_steps": 10.5}, "max_steps is 10.5"),
        ({"max_steps": None}, "max_steps is None"),
        ({"checkpoints": [[1], [1, 2]]}, "list of integers"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": 5}, "seeds is 5"),
        ({"seeds": [-1]}, "seed -1"),
        ({"seeds": [0.5]}, "seed 0.5"),
        ({"seeds": [True]}, "seed True"),
        ({"seeds": [2**63]}, "seed 9223372036854775808"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"keep": "all"}, "keep is 'all'"),
        ({"learner": {}}, "empty mapping"),
        ({"learner": {"Q": QLearning(), "TD": TD()}}, "cannot share a dataset"),
        ({"learner": "Q-learning", "grid": {"step_size": [1]}}, "learner is 'Q-learning'"),
        ({"learner": QLearning, "grid": {"step_size": [1]}}, "must be a learner"),
        ({"learner": "Q-learning"}, "learner is 'Q-learning'"),
        ({"grid": {"step_size": []}}, "is empty"),
        ({"grid": {"step_size": 0.5}}, r"grid\['step_size'\] is 0.5"),
        ({"grid": {"order": "uniform"}}, r"grid\['order'\] is 'uniform'"),
        ({"grid": [("step_size", [0.1])]}, "it maps fields"),
        ({"grid": {"seed": [1]}}, "grid names 'seed'"),
        ({"grid": {"stepsize": [1]}}, "has no parameter 'stepsize'.*step_size"),
        ({"grid": {"step_size": [2.0]}}, "step_size is 2.0"),
        ({"truth": "exact"}, "truth is 'exact'"),
        ({"truth": [1.0]}, r"truth has shape \(1,\)"),
        ({"truth": ["a"]}, "truth is not an array of numbers"),
        ({"learner": QLearning(initial=[1.0, 2.0])}, r"initial has shape \(2,\)"),
        ({"learner": QLearning(initial=np.inf)}, "initial is not finite"),
        ({"learner": QLearning(initial="a")}, "initial is not an array of numbers"),
        ({"learner": QLearning(initial=[[1.0], [1.0, 2.0]])}, "initial is not an array of numbers"),
        ({"learner": TD(), "truth": "optimal"}, "evaluate_policy"),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused_in_a_sentence(changes, words):
    """Prevents runs of nothing, of wrong length, or judged against something else; and tracebacks from inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ParameterError, match=words) as raised:
            run(**changes)
    assert "\n" not in str(raised.value)


def test_models_that_are_not_stored_and_strange_flags_are_refused():
    with pytest.raises(MDPError, match="learning reads stored transitions"):
        run(mdp=object())
    with pytest.raises(MDPError):
        run(cancel=np.zeros(1))


def test_a_constant_schedule_is_its_number():
    """Prevents two settings where there is one."""
    assert run(learner=QLearning(step_size=constant(0.1))).identical(run(learner=QLearning(step_size=0.1)))
