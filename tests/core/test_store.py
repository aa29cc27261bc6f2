"""The run store: nothing finished is lost, nothing damaged is believed."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlbook.errors import RlbookError
from rlbook.store import RunKey, RunStore, StoreError, StoreWarning, VerdictKey, default_root
from rlbook.verdict import Source, Verdict


def key(seed: int = 0, **changes: str) -> RunKey:
    return RunKey(
        **({"lab": "a", "parameters": "{}", "sources": "s", "versions": "v", "device": "d"} | changes), seed=seed
    )


def dataset(*seeds: int) -> xr.Dataset:
    values = np.array([np.random.default_rng(seed).normal(size=5) for seed in seeds])
    return xr.Dataset({"x": (("seed", "k"), values)}, coords={"seed": list(seeds)}, attrs={"lab": "a"})


def verdict(estimate: float = 1.0) -> Verdict:
    return Verdict(
        claim="c", source=Source(reference="r", where="w"), statistic="s", estimate=estimate,
        interval=(0.0, float("inf")), interval_kind="k", relation=">=", threshold=-1.0, n=3,
    )  # fmt: skip


def files(root: Path) -> list[Path]:
    return [path for folder in ("results", "verdicts") for path in sorted((root / folder).iterdir())]


def unfinished(root: Path) -> list[Path]:
    return list(root.rglob("*.part"))


def test_what_was_put_is_got_bit_by_bit_with_its_types(tmp_path: Path) -> None:
    """A store that changes a type, a NaN or a flag makes loaded results differ from computed ones."""
    rich = xr.Dataset(
        {
            "f": (("seed", "k"), np.array([[0.1, np.nan, -0.0, np.inf, 5e-324]])),
            "f4": ("seed", np.array([0.1], np.float32)),
            "i": (("seed", "k"), np.arange(5, dtype=np.int32)[None]),
            "b": (("seed", "k"), np.array([[True, False, True, True, False]])),
            "t": (("seed",), np.array(["äöü </script>"])),
            "shared": (("k",), np.arange(5.0)),
            "wait": (("seed",), np.array([2.5]), {"units": "seconds"}),
        },
        coords={"seed": [3], "k": [f"k{place}" for place in range(5)]},
        attrs={"lab": "a", "parameters": '{"x":1}'},
    )
    store = RunStore(tmp_path)
    kept = store.put(key(3), rich)
    found = RunStore(tmp_path).get(key(3))
    assert found is not None
    xr.testing.assert_identical(found, rich)
    xr.testing.assert_identical(found, kept)
    for name, variable in rich.variables.items():
        assert found[name].dtype == variable.dtype
    assert np.array_equal(np.signbit(found["f"].values), np.signbit(rich["f"].values))


@settings(deadline=None, max_examples=25)
@given(values=hnp.arrays(st.sampled_from([np.float64, np.int64, np.uint8, bool]), (2, 3)))
def test_any_array_survives(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Encodings that scale or mask values would pass the example above by luck."""
    result = xr.Dataset({"x": (("seed", "k"), values)}, coords={"seed": [0, 1]})
    kept = RunStore(tmp_path_factory.mktemp("store")).put_many([key(0), key(1)], result)
    assert kept["x"].dtype == values.dtype
    assert kept["x"].values.tobytes() == values.tobytes() or np.isnan(values.astype(float)).any()
    np.testing.assert_array_equal(kept["x"].values, values)


def test_an_encoding_from_another_file_does_not_round_values(tmp_path: Path) -> None:
    result = dataset(0)
    result["x"].encoding = {"dtype": "int16", "scale_factor": 0.1}
    xr.testing.assert_identical(RunStore(tmp_path).put(key(0), result), dataset(0))


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    """A key that forgets the sources or versions serves results of code that no longer exists."""
    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))
    for part in ("lab", "parameters", "sources", "versions", "device"):
        assert store.get(key(0, **{part: "other"})) is None
    assert store.get(key(1)) is None


def test_seeds_of_one_file_are_found_each_by_itself(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put_many([key(seed) for seed in (4, 2, 9)], dataset(4, 2, 9))
    assert len(files(tmp_path)) == 1
    found = store.get(key(9))
    assert found is not None
    xr.testing.assert_identical(found, dataset(9))
    assert store.load([key(2), key(5)])[0]["seed"].values.tolist() == [2]
    store.rebuild()
    assert store.get(key(2)) is not None


def test_a_file_is_named_by_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    import hashlib

    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))
    store.put_verdict(VerdictKey("a", "{}", (0,), "s", "v", "d"), verdict())
    assert len(files(tmp_path)) == 2
    for path in files(tmp_path):
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()


def test_verdicts_come_back_with_infinities_seeds_and_time(tmp_path: Path) -> None:
    """JSON has no infinity: a one-sided interval came back as null."""
    store, where = RunStore(tmp_path), VerdictKey("a", "{}", (3, 1), "s", "v", "d")
    assert store.get_verdict(where) is None
    assert store.verdicts() == []
    store.put_verdict(where, verdict())
    assert store.get_verdict(where) == verdict()
    (stored,) = store.verdicts()
    assert (stored.key, stored.verdict) == (where, verdict())
    assert abs((datetime.now(UTC) - stored.stored).total_seconds()) < 60
    assert store.get_verdict(VerdictKey("a", "{}", (1, 3), "s", "v", "d")) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
def test_a_damaged_file_is_reported_dropped_and_can_be_stored_again(tmp_path: Path, damage: str) -> None:
    store = RunStore(tmp_path)
    store.put_many([key(0), key(1)], dataset(0, 1))
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-50]), "empty": b""}[damage])
    assert store.verify() == ([] if damage == "remove" else [path])
    with pytest.warns(StoreWarning, match=path.name):
        assert store.get(key(0)) is None
    assert not path.exists()
    assert store.get(key(1)) is None
    store.put_many([key(0), key(1)], dataset(0, 1))
    assert store.get(key(0)) is not None
    assert store.verify() == []


def test_a_damaged_verdict_is_dropped(tmp_path: Path) -> None:
    store, where = RunStore(tmp_path), VerdictKey("a", "{}", (0,), "s", "v", "d")
    store.put_verdict(where, verdict())
    files(tmp_path)[0].write_text("{}")
    with pytest.warns(StoreWarning):
        assert store.get_verdict(where) is None
    assert store.verdicts() == []


def test_a_file_with_a_right_checksum_but_no_key_is_dropped(tmp_path: Path) -> None:
    import hashlib

    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))
    stranger = b"not netCDF at all"
    (tmp_path / "results" / f"{hashlib.sha256(stranger).hexdigest()}.nc").write_bytes(stranger)
    with pytest.warns(StoreWarning):
        assert store.rebuild() == 1


def damage_index(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(b"garbage " * 2000)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE entries")
        connection.execute("CREATE TABLE entries (something TEXT)")
        connection.commit()
        connection.close()


DAMAGES = ["missing", "empty", "garbage", "truncated", "foreign"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_lost_or_broken_index_is_rebuilt(tmp_path: Path, how: str) -> None:
    store, where = RunStore(tmp_path), VerdictKey("a", "{}", (0,), "s", "v", "d")
    store.put(key(0), dataset(0))
    store.put_verdict(where, verdict())
    damage_index(tmp_path / "index.sqlite", how)
    assert store.get(key(0)) is not None
    assert store.get_verdict(where) == verdict()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_broken_index_does_not_stop_a_put(tmp_path: Path, how: str) -> None:
    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))
    damage_index(tmp_path / "index.sqlite", how)
    store.put(key(1), dataset(1))
    assert len(store.load([key(0), key(1)])) == 2


def test_threads_that_meet_a_broken_index_lose_nothing(tmp_path: Path) -> None:
    """Two threads that both throw the broken index away would also throw away the other's new one."""
    store = RunStore(tmp_path)
    store.put(key(100), dataset(100))
    for round_ in range(3):
        damage_index(tmp_path / "index.sqlite", "garbage")
        seeds = range(8 * round_, 8 * round_ + 8)
        threads = [threading.Thread(target=store.put, args=(key(seed), dataset(seed))) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.load([key(seed) for seed in [*range(8 * round_ + 8), 100]])) == 8 * round_ + 9


def test_who_comes_late_to_a_broken_index_keeps_the_one_rebuilt_by_another(tmp_path: Path) -> None:
    """Throwing it away again would cut off writers that have the new one open."""
    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))
    before = (tmp_path / "index.sqlite").stat().st_ino
    store._index._discard_damaged()
    assert (tmp_path / "index.sqlite").stat().st_ino == before


def test_the_index_uses_the_rollback_journal(tmp_path: Path) -> None:
    """WAL does not work on the network file systems of JupyterHub homes."""
    RunStore(tmp_path).put(key(0), dataset(0))
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


WRITER = """
import sys
import numpy as np, xarray as xr
from rlbook.store import RunKey, RunStore
root, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = RunStore(root)
print("ready", flush=True)
for seed in range(first, 10_000, step):
    key = RunKey("a", "{}", seed, "s", "v", "d")
    values = np.random.default_rng(seed).normal(size=(1, 5))
    store.put(key, xr.Dataset({"x": (("seed", "k"), values)}, coords={"seed": [seed]}, attrs={"lab": "a"}))
    print(seed, flush=True)
"""


def start_writer(root: Path, first: int, step: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(root), str(first), str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_writers_killed_at_any_moment_lose_nothing_that_was_finished(tmp_path: Path) -> None:
    """Three writers, two of them on the same seeds, killed in the middle: half-written files, lost rows, locks left."""
    rng, finished = np.random.default_rng(5), set[int]()
    for round_ in range(3):
        base = 1000 * round_
        writers = [start_writer(tmp_path, base + first, 2) for first in (0, 1, 1)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            time.sleep(rng.uniform(0.02, 0.3))
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            finished |= {int(line) for line in writer.communicate()[0].split()}
        store = RunStore(tmp_path)
        found = {int(part["seed"].item()): part for part in store.load([key(seed) for seed in sorted(finished)])}
        assert set(found) == finished
        for seed, part in found.items():
            xr.testing.assert_identical(part, dataset(seed))
    assert finished
    store.put(key(99_999), dataset(99_999))
    assert unfinished(tmp_path) == []
    assert store.verify() == []


def test_writers_of_the_same_keys_leave_one_file_each(tmp_path: Path) -> None:
    """Every writer's own file would stay for ever."""
    stores = [RunStore(tmp_path) for _ in range(4)]

    def write(number: int) -> None:
        for seed in range(10):
            result = dataset(seed).assign_attrs(writer=number)
            stores[number].put(key(seed), result)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(tmp_path)) == 10
    assert len(stores[0].load([key(seed) for seed in range(10)])) == 10


def test_unfinished_files_of_the_dead_are_swept_and_those_of_the_living_kept(tmp_path: Path) -> None:
    from rlbook.atomic_files import _host

    RunStore(tmp_path).put(key(0), dataset(0))
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = tmp_path / "partial" / f"{_host()}-{int(child.stdout)}-0a.part"
    living = tmp_path / "partial" / f"{_host()}-{os.getpid()}-0b.part"
    elsewhere = tmp_path / "partial" / f"other-host-{int(child.stdout)}-0c.part"
    forgotten = tmp_path / "partial" / "other-host-1-0d.part"
    for path in (dead, living, elsewhere, forgotten):
        path.write_bytes(b"half")
    os.utime(forgotten, (0, 0))
    RunStore(tmp_path).put(key(1), dataset(1))
    assert sorted(unfinished(tmp_path)) == sorted([elsewhere, living])


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"is full; free some space .* RLBOOK_HOME"):
        store.put(key(1), dataset(1))
    monkeypatch.undo()
    assert unfinished(tmp_path) == []
    assert store.get(key(1)) is None
    assert store.get(key(0)) is not None


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot be used \(.*\); set RLBOOK_HOME to a folder"):
        RunStore(tmp_path / "file" / "store").put(key(0), dataset(0))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_sentence_and_can_still_be_read(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put(key(0), dataset(0))
    folders = [tmp_path, *(path for path in tmp_path.iterdir() if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert store.get(key(0)) is not None
        with pytest.raises(StoreError, match="RLBOOK_HOME"):
            store.put(key(1), dataset(1))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_what_netcdf_cannot_hold_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RlbookError, match="lab 'a' cannot be stored as netCDF"):
        RunStore(tmp_path).put(key(0), dataset(0).assign_attrs(nested={"a": 1}))


def test_reading_an_absent_store_makes_no_folder(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "absent")
    assert store.get(key(0)) is None
    assert store.verdicts() == []
    assert store.verify() == []
    assert not (tmp_path / "absent").exists()


def test_rlbook_home_chooses_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLBOOK_HOME", str(tmp_path / "home"))
    assert RunStore().root == tmp_path / "home"
    monkeypatch.delenv("RLBOOK_HOME")
    assert default_root().name == "rlbook"
