"""Kernels of representations by quantiles: drawn levels, and lower quantiles fused with a backup of return laws.

A row of m rising locations stands for the law with mass 1 / m at each. A backup moves the rows of the successors and
mixes them; each moved row is sorted, so they are merged in pairs, and one walk over the result finds all quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from rlbook.kernel import boolean, float64, int64, kernel, reads, uint64, writes
from rlbook.keyed_random import bits, stream_key, uniform
from rlbook.tabular.distributional.laws_kernels import merge_runs, pick_quantiles
from rlbook.tabular.distributional.sweep_arguments import SWEEP_TYPES

_BLOCK = 64  # states that one thread takes at a time
_PARTICLES = 83  # the purpose of the draws of particles


@kernel(int64, boolean, writes(float64, 2))
def draw_levels(seed: int, stratified: bool, out: Any) -> None:
    """Write m rising levels in [0, 1) for each of n laws: draws of (seed, law, place), one per m-th if stratified."""
    m = out.shape[1]
    for i in range(len(out)):
        key = stream_key(seed, i, _PARTICLES)
        for j in range(m):
            u = uniform(bits(key, j, 0))
            out[i, j] = (j + u) / m if stratified else u
        if not stratified:
            out[i].sort()


_SWEEP_TYPES = (
    *SWEEP_TYPES,
    reads(float64, 2),  # table
    reads(float64, 2),  # levels
    int64,  # most
    writes(float64, 2),  # out
)


def _evaluation_sweep(
    state_ptr: Any,
    row_ptr: Any,
    continuing_end: Any,
    next_state: Any,
    probability: Any,
    expected_reward: Any,
    reward: Any,
    weight: Any,
    gamma: float,
    table: Any,
    levels: Any,
    most: int,
    out: Any,
) -> None:
    """Write the quantiles of the backup of `table`, (S, m), at `levels` into `out`, (S, m), under the policy `weight`.

    reward: (transitions,), or (0,) where each transition of a pair pays `expected_reward`. levels: (S, m), or (1, m)
    for all. most: transitions that the actions of one state have at most.
    """
    states, m = len(state_ptr) - 1, table.shape[1]
    varies, shared = len(reward) > 0, len(levels) == 1
    for block in prange((states + _BLOCK - 1) // _BLOCK):
        atoms, masses = np.empty((2, most * m)), np.empty((2, most * m))
        runs = np.empty((2, most + 1), np.int64)
        for s in range(block * _BLOCK, min(states, (block + 1) * _BLOCK)):
            n_runs, filled, total = 0, 0, 0.0
            for i in range(state_ptr[s], state_ptr[s + 1]):
                if weight[i] <= 0.0:
                    continue
                for q in range(row_ptr[i], row_ptr[i + 1]):
                    share = weight[i] * probability[q]
                    if share <= 0.0:
                        continue
                    r = reward[q] if varies else expected_reward[i]
                    runs[0, n_runs] = filled
                    n_runs += 1
                    total += share
                    if q >= continuing_end[i]:
                        atoms[0, filled], masses[0, filled] = r, share
                        filled += 1
                        continue
                    successor = table[next_state[q]]
                    for j in range(uint64(m)):
                        atoms[0, uint64(filled) + j] = r + gamma * successor[j]
                        masses[0, uint64(filled) + j] = share / m
                    filled += m
            runs[0, n_runs] = filled
            side = merge_runs(n_runs, runs, atoms, masses)
            pick_quantiles(atoms[side], masses[side], 0, filled, total, levels[0 if shared else s], out[s])


evaluation_sweep_serial = kernel(*_SWEEP_TYPES)(_evaluation_sweep)
evaluation_sweep_parallel = kernel(*_SWEEP_TYPES, parallel=True)(_evaluation_sweep)
