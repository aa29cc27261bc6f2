"""The labs on DQN's pieces: their worlds, and verdicts that count what they say, on results made up for the purpose."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from rlbook.chapters.ch09_deep_q.clipped_errors import ClippedErrors, ClippedParameters
from rlbook.chapters.ch09_deep_q.double_dqn import DoubleDQN, DoubleParameters
from rlbook.chapters.ch09_deep_q.dqn_switches import DQNSwitches, SwitchParameters
from rlbook.chapters.ch09_deep_q.noisy_ring import noisy_ring
from rlbook.chapters.ch09_deep_q.trained_curves import trained_curves
from rlbook.errors import Cancelled
from rlbook.lab import Context
from rlbook.tabular import solve

SEEDS, STEPS = range(8), np.arange(1, 21) * 1000


def result(lab, parameters, last, middle=None, **others):
    """A result whose curves stand still at `last`: a number for each seed, and for each of `middle`, if given."""
    dims = ("seed", "step") if middle is None else ("seed", middle[0], "step")
    coords = {"seed": list(SEEDS), "step": STEPS, **({} if middle is None else {middle[0]: list(middle[1])})}
    shape = tuple(len(coords[name]) for name in dims)
    jitter = np.linspace(0.99, 1.01, len(SEEDS)).reshape(-1, *[1] * (len(dims) - 1))
    values = {
        name: np.broadcast_to(np.asarray(value, dtype=float)[..., None] * jitter, shape)
        for name, value in {**last, **others}.items()
    }
    return lab.stamp(xr.Dataset({name: (dims, value) for name, value in values.items()}, coords), parameters)


class Told:
    """Trains nothing, and tells of it."""

    def train(self, environment, *, seeds, context, **options):
        shape = (len(seeds), 2)
        told = xr.Dataset(
            {
                "evaluation_return": (("seed", "step"), np.ones(shape)),
                "q": (("seed", "step"), 2 * np.ones(shape)),
                "episode_return": ("episode", np.ones(5)),
            },
            {"seed": list(seeds), "step": [10, 20]},
            {"seconds": 1.23},
        )
        context.progress(0.5, "half")
        context.publish(told)
        return told


def test_curves_are_over_seeds_and_steps_and_nothing_else():
    """Prevents ragged tables and seconds in results that the run store takes for reproducible."""
    heard, seen = [], []
    context = Context(on_progress=lambda fraction, message: heard.append(fraction), on_partial=seen.append)
    curves = trained_curves(
        Told(),
        "CartPole-v1",
        [3, 5],
        ("q", "regret"),
        context,
        part=1,
        parts=2,
        shown=lambda told: told.assign_attrs(a=1),
    )
    assert list(curves.dims) == ["seed", "step"]
    assert curves["seed"].values.tolist() == [3, 5]
    assert curves["step"].values.tolist() == [10, 20]
    assert curves.attrs == {}
    assert np.all(curves["q"] == 2)
    assert np.all(np.isnan(curves["regret"]))
    assert heard == [0.75]
    assert seen[0].attrs == {"a": 1}
    context.cancel()
    with pytest.raises(Cancelled):
        trained_curves(Told(), "CartPole-v1", [3], ("q",), context)


@pytest.mark.parametrize("actions", [1, 6])
def test_nothing_is_to_be_gained_on_the_ring(actions):
    """Prevents a bias that is measured against the wrong exact values."""
    mdp = noisy_ring(actions)
    assert np.all(solve(mdp).values == 0)
    assert mdp.n_pairs == 3 * actions
    assert sorted((p, paid, ended) for p, _, paid, ended in mdp.transitions(1, 0)) == [
        (0.5, -1.0, False),
        (0.5, 1.0, False),
    ]


def test_noise_moves_without_a_new_program():
    """Prevents a slider that compiles: programs are told apart by what a world is made of, apart from its numbers."""
    jax = pytest.importorskip("jax", reason="the extra `deep` is not installed")
    from rlbook.chapters.ch09_deep_q.noisy_ring import seen_ring

    loud, quiet = seen_ring(6, 3.0, True), seen_ring(6, 0.0, True)
    assert jax.tree.structure(loud) == jax.tree.structure(quiet)
    assert sorted(set(np.asarray(loud.reward).tolist())) == [-3.0, 3.0]
    assert not np.any(quiet.reward)
    assert seen_ring(6, 1.0, False).observation_shape == (8,)


@pytest.mark.parametrize(
    ("plain", "double", "status"),
    [(1.0, 0.3, "holds"), (1.0, -0.3, "holds"), (1.0, -0.8, "fails"), (0.0, 0.0, "fails")],
)
def test_double_dqn_may_err_by_half_as_much_to_either_side(plain, double, status):
    """Prevents a remedy that counts as one because it errs downwards instead, and praise where there is no bias."""
    lab = DoubleDQN()
    told = result(
        lab, DoubleParameters(), {"bias": [plain, double], "q_error": [1.0, 1.0]}, ("agent", ["DQN", "double DQN"])
    )
    assert lab.verdict(told).status == status


@pytest.mark.parametrize(
    ("discount", "value", "status"), [(0.99, 99.0, "fails"), (0.99, 102.0, "holds"), (0.9, 11.0, "holds")]
)
def test_the_bound_of_values_is_that_of_the_discount(discount, value, status):
    lab = ClippedErrors()
    told = result(
        lab,
        ClippedParameters(discount=discount),
        {"q": value / 1.01 if status == "fails" else value * 1.01},
        evaluation_return=20.0,
        training_return=20.0,
    )
    assert lab.verdict(told).status == status


def test_a_training_that_has_not_begun_to_learn_can_be_drawn():
    """Prevents a live figure that breaks before the first update, when there are no values yet."""
    lab = ClippedErrors()
    told = result(lab, ClippedParameters(), {"q": np.nan, "evaluation_return": np.nan, "training_return": 20.0})
    assert len(lab.figure(told, lab.make_view(told)).data) > 2


@pytest.mark.parametrize(("switched", "status"), [(0.2, "holds"), (0.6, "fails")])
def test_switches_are_judged_by_the_share_that_is_left(switched, status):
    lab = DQNSwitches()
    scores = {"score": [0.8, 0.8 * switched], "q": [1.0, 1.0], "q_rms_error": [1.0, 1.0]}
    told = result(lab, SwitchParameters(), scores, ("switches", ["both on", "switched"]))
    assert lab.verdict(told).status == status
    first = result(lab, SwitchParameters(judged="best there is"), scores, ("switches", ["both on", "switched"]))
    assert lab.verdict(first).threshold == 0.75


def test_with_both_switches_on_there_is_one_training():
    """Prevents a comparison of a training with itself that takes twice as long."""
    pytest.importorskip("jax", reason="the extra `deep` is not installed")
    lab, heard = DQNSwitches(), []
    told = lab.run(
        SwitchParameters(replay=True, steps=5_000), [0], Context(on_progress=lambda fraction, _: heard.append(fraction))
    )
    assert np.array_equal(told["score"].sel(switches="both on"), told["score"].sel(switches="switched"))
