"""The noisy walk of chapter 09: its noise is fair."""

from __future__ import annotations

import numpy as np

from rlbook.chapters.ch09_deep_q.noisy_walk import noisy_walk, places


def test_noise_changes_rewards_and_no_value():
    """Prevents a coin that pays, against which a lab would find a bias."""
    (_, still), (noisy, best) = noisy_walk(0.0, 0.7), noisy_walk(2.0, 0.7)
    assert np.allclose(still, best, atol=1e-9)
    assert np.ptp(noisy.reward[: noisy.row_ptr[1]]) == 4.0
    assert places().shape == (noisy.n_states, 1)
