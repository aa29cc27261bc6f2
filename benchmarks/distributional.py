"""Categorical return laws: `python -m benchmarks distributional [--quick]`.

The projection of 10,000 laws x 51 atoms against rlax's `categorical_l2_project`, jitted, vmapped, warm and waited for.
rlax computes in float32, as it is used; ours in float64, checks its input and allocates its result. Both are given the
same numbers, rounded to float32, and must agree to 1e-6 in the same run. Each is measured in a process that may use one
core, and in one that may use two (rlax does; ours takes a second core only from 2,000,000 atoms on).

One projected sweep over 100,000 states x 51 atoms, 4 actions, 4 successors each, rewards by pair. Two limits, both at
the speed of a scaled copy of the laws in the same process. "Arrays once": the MDP's arrays, the policy, and the laws,
read and written once. "Rows gathered": the same, but with each successor's law counted as often as it is asked for,
which must move where laws do not fit into the cache and successors lie anywhere.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from benchmarks.report import Row, publish
from rlbook.environments import make
from rlbook.kernel import float64, kernel, reads, writes
from rlbook.mdp import FiniteMDP
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import Categorical, categorical_projection

LAWS, ATOMS, STATES = 10_000, 51, 100_000
GOALS = {"even": 25.0, "uneven": 12.0}  # times rlax
STREAMING_GOAL = 2.0  # times the time to stream the arrays once
AGREEMENT = 1e-6
_ROUNDS = 15


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks distributional", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes and one core, to see that all runs")
    if parser.parse_args(arguments).quick:
        publish("distributional_quick", rows(1, 200, 500), ("rlax", "jax"))
        return
    counts = [1, 2] if (os.cpu_count() or 1) > 1 else [1]
    made = [row for cores in counts for row in _in_process(cores, LAWS, STATES)]
    publish("distributional", made, ("rlax", "jax"))


def rows(cores: int, laws: int, states: int) -> list[Row]:
    """All measurements in this process, whose kernels and peers may use so many cores."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(cores, numba.config.NUMBA_NUM_THREADS))
    try:
        on = f"{cores} core{'s' if cores > 1 else ''}"
        return [*_projections(laws, on), *_sweeps(states, on)]
    finally:
        numba.set_num_threads(before)


def _in_process(cores: int, laws: int, states: int) -> list[Row]:
    """The rows of a fresh process that is tied to its cores before any library counts them."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=_tie_to, initargs=(cores,)) as pool:
        return list(pool.apply(rows, (cores, laws, states)))


def _tie_to(cores: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _medians(*runs: Callable[[], Any]) -> list[float]:
    """Median seconds of each, called in turns after two warm rounds, so that a busy spell hits all alike."""
    taken: list[list[float]] = [[] for _ in runs]
    for rounds in range(_ROUNDS + 2):
        for run, seconds in zip(runs, taken, strict=True):
            started = time.perf_counter()
            run()
            if rounds >= 2:
                seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


def targets() -> dict[str, Categorical]:
    """51 atoms around 0, evenly spaced and not, which float32 holds exactly."""
    uneven = np.sort(np.random.default_rng(0).uniform(-25.0, 25.0, ATOMS)).astype(np.float32)
    return {"even": Categorical.uniform(-25.0, 25.0, ATOMS), "uneven": Categorical(uneven)}


def _projections(laws: int, on: str) -> list[Row]:
    made = []
    for kind, target in targets().items():
        rng = np.random.default_rng(1)
        moved = rng.normal(0.0, 3.0, (laws, 1)) + 0.95 * target.atoms
        places, probs = (
            array.astype(np.float32).astype(np.float64) for array in (moved, rng.dirichlet(np.ones(ATOMS), laws))
        )
        what = f"projection, {laws:,} laws x {ATOMS} {kind} atoms, {on}"
        try:
            theirs = _rlax(places, probs, target.atoms)
        except ImportError as error:
            (mine,) = _medians(lambda a=(places, probs, target.atoms): categorical_projection(*a))
            made += [Row(what, "rlbook", mine, "s"), Row(what, "rlax, jitted", None, "s", remark=f"missing: {error}")]
            continue
        apart = float(np.abs(categorical_projection(places, probs, target.atoms) - theirs()).max())
        if not apart <= AGREEMENT:
            raise AssertionError(f"rlax's projection differs by {apart:.3g}: the two compute different things")
        mine, peer = _medians(lambda a=(places, probs, target.atoms): categorical_projection(*a), theirs)
        made += [
            Row(what, "rlbook", mine, "s", remark=f"{1e9 * mine / probs.size:.2f} ns an atom"),
            Row(what, "rlax, jitted", peer, "s", remark=f"float32; largest difference {apart:.1e}"),
            Row(what, "rlbook against rlax", peer / mine, "x", GOALS[kind]),
        ]
    return made


def _rlax(
    places: NDArray[np.float64], probs: NDArray[np.float64], atoms: NDArray[np.float64]
) -> Callable[[], NDArray[np.float32]]:
    """rlax's projection of these laws, warm; raises ImportError where it is not installed."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        import jax
        import rlax
    run = jax.jit(jax.vmap(rlax.categorical_l2_project, (0, 0, None)))
    given = [jax.numpy.asarray(array, jax.numpy.float32) for array in (places, probs, atoms)]
    return lambda: np.asarray(run(*given).block_until_ready())


@kernel(reads(float64, 2), writes(float64, 2), parallel=True)
def _scaled_copy(source: Any, target: Any) -> None:
    for i in prange(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = 2.0 * source[i, j]


def _sweeps(states: int, on: str) -> list[Row]:
    mdp = make("garnet", states=states, actions=4, branching=4, discount=0.95)
    old = np.random.default_rng(2).dirichlet(np.ones(ATOMS), states)
    old.setflags(write=False)
    new = np.empty_like(old)
    made, speeds = [], []
    one_action = np.zeros(mdp.n_pairs)
    one_action[mdp.state_ptr[:-1]] = 1.0
    for kind, target in targets().items():
        runs = {
            "uniform policy": (uniform_policy(mdp), lambda w, t=target: t.evaluation_sweep(mdp, w, old, new)),
            "one action": (one_action, lambda w, t=target: t.evaluation_sweep(mdp, w, old, new)),
            "greedy in the means": (one_action, lambda w, t=target: t.optimality_sweep(mdp, old, new)),
        }
        for policy, (weights, run) in runs.items():
            seconds, copied = _medians(lambda run=run, weights=weights: run(weights), lambda: _scaled_copy(old, new))
            speeds.append(2 * old.nbytes / copied)
            once, gathered = _bytes(mdp, weights, old, policy == "greedy in the means")
            what = f"sweep, {kind} atoms, {policy}, {on}"
            share = seconds * speeds[-1]
            made += [
                Row(what, "rlbook", seconds, "s", remark=f"{once / 1e6:.0f} MB once, {gathered / 1e6:.0f} MB gathered"),
                Row(what, "against arrays once", share / once, "x", STREAMING_GOAL),
                Row(what, "against rows gathered", share / gathered, "x"),
            ]
    limit = Row(f"scaled copy of {states:,} laws, {on}", "limit of memory", statistics.median(speeds) / 1e9, "GB/s")
    return [limit, *made]


def _bytes(mdp: FiniteMDP, weights: NDArray[np.float64], laws: NDArray[np.float64], means: bool) -> tuple[int, int]:
    """What a sweep must read and write at least, and the same with each successor's law counted when it is asked for.

    means: whether the means of all laws are computed as well, from a second reading of them.
    """
    arrays = [getattr(mdp, field.name) for field in fields(mdp)]
    read = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray) and array is not mdp.action)
    read += weights.nbytes - mdp.start.nbytes
    asked = int((mdp.continuing_end - mdp.row_ptr[:-1])[weights > 0].sum())
    again = laws.nbytes if means else 0
    return read + 2 * laws.nbytes, read + laws.nbytes + asked * laws.strides[0] + again
