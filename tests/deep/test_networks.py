"""What agents share of networks: normalised layers, images, and target networks."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import numpy as np

from rlbook.deep.algorithm import Spaces
from rlbook.deep.environments.interface import Continuous, Discrete
from rlbook.deep.networks import Torso, copied_every
from rlbook.errors import ParameterError

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize(("norm", "leak"), [("none", 0.0), ("plain", 0.01), ("learned", 0.0)])
def test_an_image_passes_every_layer(norm, leak):
    """Prevents layers that are left out, norms over the wrong axes, and units that let through what they should not."""
    rng = np.random.default_rng(0)
    made = jax.eval_shape(lambda: Torso((6, 5, 2), (7, 3), jax.random.key(0), norm=norm, leak=leak))
    torso = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), made)
    image = rng.normal(size=(6, 5, 2))

    def unit(x, number):
        if norm != "none":
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        if norm == "learned":
            x = x * torso.norms[number].weight + torso.norms[number].bias
        return np.where(x > 0, x, leak * x)

    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))
    x = np.einsum("ijchw,ochw->oij", windows, torso.convolution.weight) + torso.convolution.bias
    x = unit(x, 0).ravel()
    for number, layer in enumerate(torso.layers):
        x = unit(layer.weight @ x + layer.bias, number + 1)
    assert len(torso.layers) == 2
    assert np.allclose(jax.jit(lambda torso, image: torso(image))(torso, image), x, atol=1e-9)


def test_a_copy_is_taken_at_each_turn():
    """Prevents a target that is copied too early, or never."""
    copy = jax.jit(copied_every, static_argnums=0)
    assert [float(copy(3, updates, 1.0, 0.0)) for updates in range(1, 7)] == [0, 0, 1, 0, 0, 1]


def test_vectors_are_no_choices():
    assert Spaces((4,), Discrete(3)).choices == 3
    with pytest.raises(ParameterError, match="actions are vectors"):
        _ = Spaces((4,), Continuous((-1.0,), (1.0,))).choices
