"""The CUDA twins on a device: `python -m benchmarks.gpu`. Bandwidth against that of a plain copy on the same device.

Bytes are those that a kernel cannot do without: each array is counted once. Gathered values that miss the cache are not
counted, so the share of the bandwidth is never flattered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.report import Row, median_seconds, publish
from rlbook.environments import make
from rlbook.errors import RlbookError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_device import cupy_with_device, to_gpu
from rlbook.tabular import modified_policy_iteration, value_iteration
from rlbook.tabular.gpu import DeviceOperator

GOAL = 0.6  # of the bandwidth of a copy
WIDTHS = (1, 2, 4, 8, 16, 32)
TOLERANCE = 1e-3


def rows(mdp: FiniteMDP, device: str, copied: int = 2**30, launches: int = 100) -> list[Row]:
    """All measurements for one MDP; `copied` bytes are copied, kernels are launched `launches` times in a row."""
    cupy, there = cupy_with_device(), to_gpu(mdp)
    source, target = (cupy.zeros(copied // 8, dtype=np.float64) for _ in range(2))
    copy = 2 * copied / seconds(lambda: cupy.copyto(target, source), lambda: target[:1].get(), launches)
    made = [Row("copy, bytes read and written", device, copy / 1e9, "GB/s")]
    for width in (None, *WIDTHS):
        operator = DeviceOperator(there, width)
        v, tv = operator.place(np.zeros(mdp.n_states)), operator.place(np.zeros(mdp.n_states))
        greedy = operator.place(np.zeros(mdp.n_states, dtype=np.int64))
        run = (operator, v, tv, greedy)
        backup = backup_bytes(there) / seconds(lambda run=run: run[0].launch_backup(*run[1:]), v.get, launches)
        operator.backup(v, tv, greedy)
        policy = operator.policy_sweeps()
        policy.gather(greedy)
        took = median_seconds(lambda p=policy, v=v: p.sweep(v, (1.0, 1.0), -1.0, launches)) / launches
        sweep = (12 * policy.cost * mdp.n_transitions + 32 * mdp.n_states) / took
        lanes = "chosen by itself" if width is None else f"{width} lanes a row"
        made += [
            Row(
                f"backup, {lanes}", "share of the copy's bandwidth", backup / copy, "", GOAL, f"{backup / 1e9:.0f} GB/s"
            ),
            Row(f"sweep, {lanes}", "share of the copy's bandwidth", sweep / copy, "", GOAL, f"{sweep / 1e9:.0f} GB/s"),
        ]
    for solver in (value_iteration, modified_policy_iteration):
        for where, model in (("CPU", mdp), ("device", there)):
            solution = solver(model, TOLERANCE)
            taken = median_seconds(lambda solver=solver, model=model: solver(model, TOLERANCE))
            made.append(Row(solver.__name__, where, taken, "s", remark=f"{solution.reason}, gap {solution.gap:.2g}"))
    return made


def backup_bytes(mdp: Any) -> int:
    """Bytes of one backup: the arrays of the MDP, the old and new values, and the choices."""
    return int(mdp.nbytes) + 24 * mdp.n_states


def seconds(launch: Callable[[], Any], wait: Callable[[], Any], launches: int) -> float:
    """Mean time of a launch in a row of them, waited for once."""
    launch()
    wait()
    started = time.perf_counter()
    for _ in range(launches):
        launch()
    wait()
    return (time.perf_counter() - started) / launches


def main() -> int:
    """Measure the first instance of the solver race; a sentence and 1 where there is no device."""
    try:
        cupy = cupy_with_device()
    except RlbookError as error:
        print(f"gpu: skipped, there is no device to measure on: {error}", file=sys.stderr)
        return 1
    device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    mdp = make("garnet", states=200_000, actions=4, branching=8, discount=0.99)
    publish("gpu", rows(mdp, device), ("cupy-cuda12x", "cupy-cuda13x"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
