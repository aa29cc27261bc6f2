"""Neural fitted Q iteration against the iterations that it is, where the network is a table."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import numpy as np

from rlbook.deep.neural_fitted_q import neural_fitted_q, shares
from rlbook.environments import make
from rlbook.errors import ParameterError
from rlbook.tabular.approximation import LeastSquares, fitted_value_iteration, one_hot
from rlbook.tabular.operators.q_vectors import state_maxima

# Some of its transitions end the episode, and pairs differ in how many they have.
MDP = make("random-walk", states=4, discount=0.9)
GAME = make("frozenlake-4x4", discount=0.9)
K = 5
TABLE = {"widths": (), "steps": 400, "step_size": 0.1}  # without hidden layers, of one-hot features


def test_a_table_with_exact_targets_is_value_iteration():
    """Prevents values that are taken over from beyond an ending, and pairs that are mistaken for one another."""
    found = neural_fitted_q(GAME, np.eye(GAME.n_states), [None], K, **TABLE)[0]
    expected = fitted_value_iteration(GAME, one_hot(GAME, "pairs"), LeastSquares(), K)
    assert np.abs(found.iterates - expected.iterates).max() <= 1e-3
    assert found.largest_errors.max() <= 2e-3


def test_a_table_takes_the_means_of_what_was_drawn():
    """Prevents rows that count twice or not at all, and batches that are the same in every iteration."""
    n = 50
    both = neural_fitted_q(GAME, np.eye(GAME.n_states), [n, 4 * n], K, seed=3, **TABLE)
    alone = neural_fitted_q(GAME, np.eye(GAME.n_states), [n], K, seed=3, **TABLE)
    assert np.allclose(both[0].iterates, alone[0].iterates, atol=1e-4)
    pair = np.repeat(np.arange(GAME.n_pairs), np.diff(GAME.row_ptr))
    going = np.arange(GAME.n_transitions) < GAME.continuing_end[pair]
    paid = GAME.reward if GAME.reward is not None else GAME.expected_reward[pair]
    drawn = shares(GAME, n, K, 3)
    assert len({row.tobytes() for row in drawn}) == K
    for before, after, share in zip(both[0].iterates, both[0].iterates[1:], drawn, strict=False):
        target = paid + GAME.discount * np.where(going, state_maxima(GAME, before)[GAME.next_state], 0.0)
        weight = np.bincount(pair, weights=share, minlength=GAME.n_pairs)
        seen = weight > 0
        mean = np.bincount(pair, weights=share * target, minlength=GAME.n_pairs)[seen] / weight[seen]
        assert np.abs(after[seen] - mean).max() <= 5e-3


def test_rows_are_drawn_by_the_model_with_pairs_evenly():
    drawn = shares(MDP, 100_000, 2, 0)
    law = MDP.probability / MDP.n_pairs
    assert drawn.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert np.abs(drawn - law).max() <= 5 * np.sqrt(law.max() / 100_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": np.zeros((3, 1))},
        {"features": np.full((4, 1), np.nan)},
        {"draws": []},
        {"draws": [0]},
        {"iterations": 0},
        {"step_size": 0.0},
        {"widths": (0,)},
        {"seed": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_cannot_be_run_is_said(wrong):
    given = {"features": np.zeros((4, 1)), "draws": [10], "iterations": 1, **wrong}
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        neural_fitted_q(MDP, **given)
