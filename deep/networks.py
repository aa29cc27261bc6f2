"""Networks that agents share, as Equinox modules whose leaves are all arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, PRNGKeyArray


class Torso(eqx.Module):
    """From an observation to features: rectified layers, after one convolution where the observation is an image.

    Weights and biases are drawn evenly within 1 / sqrt(fan-in), as PyTorch draws them. An image, (height, width,
    channels), meets 16 filters of 3 by 3 with stride 1 first (Young & Tian 2019, section 3).
    """

    convolution: eqx.nn.Conv2d | None
    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, observation_shape: tuple[int, ...], widths: Sequence[int], key: PRNGKeyArray) -> None:
        """observation_shape: of one observation. widths: outputs of each layer."""
        keys = jax.random.split(key, len(widths) + 1)
        size = math.prod(observation_shape)
        self.convolution = None
        if len(observation_shape) == 3:
            height, width, channels = observation_shape
            self.convolution = eqx.nn.Conv2d(channels, 16, 3, key=keys[-1])
            size = 16 * (height - 2) * (width - 2)
        sizes = [size, *widths]
        self.layers = tuple(eqx.nn.Linear(*pair, key=k) for pair, k in zip(_pairs(sizes), keys[:-1], strict=True))

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "features"]:
        x = observation
        if self.convolution is not None:
            x = jax.nn.relu(self.convolution(jnp.moveaxis(x, -1, 0)))
        x = x.ravel()
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x


def _pairs(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(sizes[:-1], sizes[1:], strict=True))
