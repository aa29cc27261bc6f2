"""Networks that agents share, as Equinox modules whose leaves are all arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

import equinox as eqx
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Torso(eqx.Module):
    """From an observation to features: rectified layers, after one convolution where the observation is an image.

    Weights and biases are drawn evenly within 1 / sqrt(fan-in), as PyTorch draws them. An image, (height, width,
    channels), meets 16 filters of 3 by 3 with stride 1 first (Young & Tian 2019, section 3).
    """

    convolution: eqx.nn.Conv2d | None
    layers: tuple[eqx.nn.Linear, ...]
    norms: tuple[eqx.nn.LayerNorm, ...]
    leak: float = eqx.field(static=True)

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        widths: Sequence[int],
        key: PRNGKeyArray,
        *,
        norm: Literal["none", "plain", "learned"] = "none",
        leak: float = 0.0,
    ) -> None:
        """observation_shape: of one observation. widths: outputs of each layer.

        norm: whether what enters the units of a layer is brought to mean 0 and deviation 1 over the layer (Ba, Kiros &
        Hinton 2016), and then scaled and shifted by learned numbers. leak: slope of the units below 0.
        """
        keys = jax.random.split(key, len(widths) + 1)
        size = math.prod(observation_shape)
        self.convolution = None
        self.leak = leak
        normed: list[tuple[int, ...]] = []
        if len(observation_shape) == 3:
            height, width, channels = observation_shape
            self.convolution = eqx.nn.Conv2d(channels, 16, 3, key=keys[-1])
            normed = [(16, height - 2, width - 2)]
            size = math.prod(normed[0])
        sizes = [size, *widths]
        self.layers = tuple(eqx.nn.Linear(*pair, key=k) for pair, k in zip(pairwise(sizes), keys[:-1], strict=True))
        learned = norm == "learned"
        shapes = [] if norm == "none" else normed + [(width,) for width in widths]
        self.norms = tuple(eqx.nn.LayerNorm(shape, use_weight=learned, use_bias=learned) for shape in shapes)

    def __call__(self, observation: Float[Array, "..."]) -> Float[Array, "features"]:
        x, norms = observation, iter(self.norms)
        if self.convolution is not None:
            x = self._unit(self.convolution(jnp.moveaxis(x, -1, 0)), next(norms, None))
        x = x.ravel()
        for layer in self.layers:
            x = self._unit(layer(x), next(norms, None))
        return x

    def _unit(self, x: Array, norm: eqx.nn.LayerNorm | None) -> Array:
        x = x if norm is None else norm(x)
        return jax.nn.leaky_relu(x, self.leak) if self.leak else jax.nn.relu(x)


def sparsely(network: Any, share: float, key: PRNGKeyArray) -> Any:
    """The network with a share of the weights into each unit set to 0, drawn anew for each, and biases of 0.

    share: in [0, 1), rounded down to whole weights, so that each unit keeps one at least (Elsayed, Vasan & Mahmood
    2024, algorithm 1).
    """

    def thinned(path: Any, leaf: Array) -> Array:
        if path[-1].name == "bias":
            return jnp.zeros_like(leaf)
        flat = leaf.reshape(len(leaf), -1)
        draws = jax.random.uniform(jax.random.fold_in(key, crc32(jax.tree_util.keystr(path).encode())), flat.shape)
        rank = jnp.argsort(jnp.argsort(draws, axis=1), axis=1)
        return jnp.where(rank >= math.floor(share * flat.shape[1]), flat, 0.0).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(thinned, network)


def copied_every(every: int, updates: Int[Array, ""], network: Any, target: Any) -> Any:
    """The target network after so many updates: a copy of the network at each `every`-th of them."""
    renewed = updates % every == 0
    return jax.tree.map(lambda new, old: jnp.where(renewed, new, old), network, target)
