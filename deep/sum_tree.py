"""A sum tree in arrays: draw an index in proportion to its priority, in the logarithm of their number.

Node 1 is the root, and nodes 2n and 2n + 1 are below node n; leaf i is node `leaves` + i. Every inner node is the sum
of the two below it, computed anew from them, so that rounding does not pile up (Schaul et al. 2016, section B.2.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

    Tree = Float[Array, "2*leaves"]


def empty(size: int) -> Tree:
    """A tree of `size` priorities, at least 1, all of them 0; its leaves are a power of two."""
    return jnp.zeros(2 << max(size - 1, 0).bit_length())


def write(tree: Tree, index: Int[Array, "n"], priority: Float[Array, "n"]) -> Tree:
    """The tree after `priority`, at least 0, has been given to `index`; of equal indices the last one counts."""
    leaves = len(tree) // 2
    node = leaves + index
    tree = tree.at[node].set(priority)
    for _ in range(leaves.bit_length() - 1):
        node = node // 2
        tree = tree.at[node].set(tree[2 * node] + tree[2 * node + 1])
    return tree


def draw(tree: Tree, uniform: Float[Array, "n"]) -> Int[Array, "n"]:
    """Indices in proportion to their priorities, for numbers in [0, 1); the priorities must not all be 0."""
    leaves = len(tree) // 2

    def down(at: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        node, left = at
        first = tree[2 * node]
        # Rounding must not lead where nothing is: a side without priority is never taken.
        right = ((left >= first) & (tree[2 * node + 1] > 0)) | (first <= 0)
        return (2 * node + right, jnp.where(right, left - first, left)), None

    start = (jnp.ones_like(uniform, dtype=jnp.int32), uniform * tree[1])
    (node, _), _ = jax.lax.scan(down, start, None, length=leaves.bit_length() - 1)
    return node - leaves
