"""The kernel decorator: a cache that cannot go stale, one compiled version each, and a lane for parallel kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.kernel import all_kernels, cache_folder, kernel_sources_digest
from rlbook.tabular import action_values, bellman_sweeps, certified_bounds, evaluate_policy, solve, uniform_policy


def run_python(code: str, folder: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_kernel_has_exactly_the_version_it_declares():
    """Prevents a second compilation, with its pause, when arrays arrive with another type."""
    small = make("gridworld")
    large = make("garnet", states=21_000, actions=1, branching=100, discount=0.9)
    solve(make("random-walk", discount=1.0))
    for mdp in (small, large, large.replace(discount=0.5)):
        for method in ("value-iteration", "modified-policy-iteration"):
            solution = solve(mdp, 1e-6, method=method, cancel=np.zeros(1, dtype=np.uint8))
            solve(mdp, 1e-6, method=method, initial_values=solution.values)
        evaluate_policy(small, uniform_policy(small))
        certified_bounds(mdp, solution.values)
        action_values(mdp, solution.lower)
        bellman_sweeps(mdp, np.zeros(mdp.n_states), 2)
    used = [k for k in all_kernels() if k.dispatcher.signatures]
    assert len(used) >= 9
    for kernel in used:
        assert kernel.dispatcher.signatures == [kernel.signature], kernel.name


def test_digest_covers_callees_in_other_files(tmp_path):
    """Prevents Numba's silent use of old code when only a callee in another file changed."""
    package = tmp_path / "copy" / "rlbook"
    import rlbook

    root = Path(rlbook.__file__).parent
    package.mkdir(parents=True)
    for name in ("__init__.py", "kernel.py", "_clone.py"):
        (package / name).write_text((root / name).read_text())
    tabular = package / "tabular"
    tabular.mkdir()
    (tabular / "__init__.py").write_text("")
    callee = tabular / "callee.py"
    (tabular / "caller.py").write_text(
        "from rlbook.kernel import float64, kernel\n"
        "from rlbook.tabular.callee import constant\n"
        "@kernel(float64)\n"
        "def doubled(x):\n"
        "    return x * constant()\n"
    )
    code = "from rlbook.tabular.caller import doubled; print(doubled(1.0))"
    found = []
    for value in ("2.0", "3.0"):
        callee.write_text("from rlbook.kernel import inline\n\n@inline\ndef constant():\n    return " + value + "\n")
        found.append(run_python(code, tmp_path, PYTHONPATH=str(package.parent), RLBOOK_CACHE=str(tmp_path / "cache")))
    assert found == ["2.0", "3.0"]
    assert len(list((tmp_path / "cache" / "kernels").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path):
    """Prevents Numba's error where neither the package nor the home folder can be written."""
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    code = "from rlbook.kernel import cache_folder; print(cache_folder())"
    folder = run_python(code, RLBOOK_CACHE=str(blocked))
    assert "rlbook-kernels-" in folder
    assert not Path(folder).exists()  # and it goes with the process


def test_cache_folder_carries_the_digest():
    assert cache_folder().name == kernel_sources_digest() or "rlbook-kernels-" in cache_folder().name


@pytest.mark.parametrize("order", [("serial", "parallel"), ("parallel", "serial")])
def test_serial_and_parallel_versions_do_not_share_a_cache_entry(order, tmp_path):
    """Prevents Numba from loading whichever version was compiled first for both: a crash, or one core for ever."""
    code = """
        import numpy as np
        from rlbook.environments import make
        from rlbook.tabular.bellman import backup_{0}, kernel_arguments
        mdp = make("chain")
        v, tv, greedy = np.zeros(5), np.empty(5), np.empty(5, dtype=np.int64)
        backup_{0}(*kernel_arguments(mdp), v, tv, greedy)
        print(sum(backup_{0}.dispatcher.stats.cache_hits.values()))
    """
    hits = [run_python(textwrap.dedent(code).format(v), RLBOOK_CACHE=str(tmp_path)) for v in (*order, *order)]
    assert hits == ["0", "0", "1", "1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_gets_a_sentence_instead_of_a_dead_process():
    """Prevents the end of a child whose parent had used parallel kernels, and a lane that stays locked in it."""
    code = """
        import os, warnings
        import numpy as np
        from rlbook.environments import make
        from rlbook.errors import RlbookError
        from rlbook.tabular.bellman import backup_parallel, backup_serial, kernel_arguments
        mdp = make("chain")
        def run(backup):
            backup(*kernel_arguments(mdp), np.zeros(5), np.empty(5), np.empty(5, dtype=np.int64))
        run(backup_parallel)
        warnings.simplefilter("ignore")
        child = os.fork()
        if child == 0:
            run(backup_serial)
            try:
                run(backup_parallel)
            except RlbookError as error:
                os._exit(7 if "spawn" in str(error) else 1)
            os._exit(2)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_python(code) == "7"


def test_threads_may_enter_parallel_kernels_together():
    """Prevents the end of the process that Numba's workqueue layer answers with."""
    code = """
        import threading, numpy as np
        from rlbook.environments import make
        from rlbook.tabular import solve
        mdp = make("garnet", states=21_000, actions=5, branching=20)
        values = [None] * 4
        def work(i):
            values[i] = solve(mdp, 1e-6).values
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print(all(np.array_equal(values[0], v) for v in values))
    """
    assert run_python(code, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2") == "True"


def test_kernels_release_the_interpreter_lock():
    """Prevents a kernel that keeps the notebook from answering."""
    mdp = make("garnet", states=21_000, actions=5, branching=20, discount=0.999)
    ticks = 0
    done = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.wait(0.0005):
            ticks += 1

    watcher = threading.Thread(target=count)
    bellman_sweeps(mdp, np.zeros(mdp.n_states), 1)
    watcher.start()
    bellman_sweeps(mdp, np.zeros(mdp.n_states), 20)
    done.set()
    watcher.join()
    assert ticks > 1
