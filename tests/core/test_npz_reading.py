"""Crafted `.npz` files: nothing runs, and nothing is allocated on the word of a header."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.npz_reading import NpzFile


def header(shape: object, descr: object = "<f8", order: object = False, version: int = 1) -> bytes:
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def archive(path, compression: int = zipfile.ZIP_STORED, **contents: bytes):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in contents.items():
            file.writestr(f"{name}.npy", content)
    return path


def refused(path, message: str, **options: object) -> None:
    """The file is refused with this message, in one sentence, and within a few megabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(MDPError, match=message) as caught, NpzFile(path, **options) as file:
            file.read("x")
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_plain_arrays_are_read(tmp_path):
    """Prevents the guards from refusing what numpy itself writes."""
    arrays = {
        "doubles": np.linspace(0, 1, 7).reshape(7, 1),
        "integers": np.arange(6, dtype=">i2").reshape(2, 3),
        "flags": np.array([True, False]),
        "scalar": np.array(0.5),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 4)),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        with NpzFile(tmp_path / "x.npz") as file:
            for name, array in arrays.items():
                found = file.read(name)
                np.testing.assert_array_equal(found, array)
                assert found.shape == array.shape
                assert found.dtype == array.dtype.newbyteorder("=")


def test_numpys_second_header_version_is_read(tmp_path):
    """Prevents arrays with long headers from being refused."""
    archive(tmp_path / "x.npz", x=header((1,), version=2) + struct.pack("<d", 2.5))
    with NpzFile(tmp_path / "x.npz") as file:
        assert file.read("x").tolist() == [2.5]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (2**62, 4), (3,), (0,), (10**30,)])
def test_shapes_that_do_not_fit_the_member(tmp_path, compression, shape):
    """Prevents a header of a hundred bytes from allocating a terabyte."""
    refused(archive(tmp_path / "x.npz", compression, x=header(shape) + bytes(16)), "which does not fit its size")


def test_sizes_that_compressed_bytes_cannot_hold(tmp_path):
    """Prevents a lie told twice, in the header and in the archive's directory, from being believed."""
    body = header((10**9,)) + bytes(64)
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=body)
    content = bytearray(path.read_bytes())
    claimed = struct.pack("<I", (len(body) - 64) + 10**9 * 8 & 0xFFFFFFFF)
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = claimed
    path.write_bytes(content)
    refused(path, "does not fit its size")
    small = header((4 * 10**6,)) + bytes(64)
    path = archive(tmp_path / "y.npz", zipfile.ZIP_DEFLATED, x=small)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", len(small) - 64 + 32 * 10**6)
    path.write_bytes(content)
    refused(path, "does not fit its size")


def test_a_bomb_of_zeros_stops_at_the_limit(tmp_path):
    """Prevents an honest but huge array, a thousand times smaller on disk, from filling the memory."""
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=header((4 * 10**6,)) + bytes(32 * 10**6))
    assert path.stat().st_size < 10**5
    refused(path, "needs more than 1000000 bytes of memory.*raise max_bytes", max_bytes=10**6)


def test_the_limit_counts_all_arrays_together(tmp_path):
    """Prevents many arrays just under the limit from passing one by one."""
    np.savez(tmp_path / "x.npz", a=np.zeros(100), x=np.zeros(100))
    with NpzFile(tmp_path / "x.npz", max_bytes=1000) as file:
        file.read("a")
        with pytest.raises(MDPError, match="needs more than 1000 bytes"):
            file.read("x")


def test_without_an_argument_the_limit_is_one_gibibyte(tmp_path):
    """Prevents a file of two megabytes from taking gigabytes because nobody thought of a limit."""
    start = header((2**27 + 1,))
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=start + np.random.default_rng(0).bytes(1_100_000))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", len(start) + 2**30 + 8)
    path.write_bytes(content)
    refused(path, r"needs more than 1073741824 bytes .*FiniteMDP\.load\(path, max_bytes=10737419\d\d\)")


def test_the_limit_that_the_error_names_suffices(tmp_path):
    """Prevents a way out that ends at the same error."""
    np.savez_compressed(tmp_path / "x.npz", P=np.ones((1, 1, 1)), R=np.zeros((1, 1)), discount=0.5)
    with pytest.raises(MDPError, match="raise max_bytes") as caught:
        FiniteMDP.load(tmp_path / "x.npz", max_bytes=10)
    named = int(str(caught.value).rpartition("max_bytes=")[2].rstrip(")"))
    assert FiniteMDP.load(tmp_path / "x.npz", max_bytes=named).n_states == 1


def test_load_passes_the_limit_on(tmp_path):
    """Prevents the argument of `load` from being decoration."""
    np.savez(tmp_path / "x.npz", P=np.ones((1, 1, 1)), R=np.zeros((1, 1)), discount=0.5)
    with pytest.raises(MDPError, match="needs more than 10 bytes"):
        FiniteMDP.load(tmp_path / "x.npz", max_bytes=10)


def test_headers_of_gigabytes(tmp_path):
    """Prevents the length of the header itself from being the bomb."""
    long = b"\x93NUMPY\x02\x00" + struct.pack("<I", 20 * 10**6) + b" " * 20 * 10**6
    path = archive(tmp_path / "x.npz", zipfile.ZIP_DEFLATED, x=long)
    del long
    refused(path, "has a header of 20000000 bytes at 'x'")


class Bomb:
    """Unpickling it would leave a mark."""

    ran = False

    def __reduce__(self):
        return setattr, (Bomb, "ran", True)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_object_arrays_are_refused_and_never_unpickled(tmp_path, save):
    """Prevents loading a model from running its author's code."""
    save(tmp_path / "x.npz", P=np.array([Bomb()], dtype=object), R=np.zeros((1, 1)), x=np.array([Bomb()], dtype=object))
    refused(tmp_path / "x.npz", r"holds 'x' as '\|O', which is not read from files; save it as plain numbers")
    with pytest.raises(MDPError, match=r"holds 'P' as '\|O'"):
        FiniteMDP.load(tmp_path / "x.npz", discount=0.9)
    assert not Bomb.ran


def test_pickles_are_refused_wherever_they_stand(tmp_path):
    """Prevents numpy's fallback, which reads a member without magic as a pickle."""
    mark = pickle.dumps(Bomb())
    refused(archive(tmp_path / "x.npz", x=mark), "in a format that is not numpy's")
    refused(archive(tmp_path / "x.npz", x=header((1,), "|O") + mark), r"holds 'x' as '\|O'")
    assert not Bomb.ran


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "in a format that is not numpy's"),
        (b"\x93NUMPY\x03\x00", "in a format that is not numpy's"),
        (b"\x93NUMPY\x01\x00\x05", "is damaged at 'x'"),
        (b"\x93NUMPY\x01\x00\xff\x00", "malformed header"),
        (header((1,)).replace(b"descr", b"dresc") + bytes(8), "malformed header"),
        (header("(1,)") + bytes(8), "malformed header"),
        (header((-1,)) + bytes(8), "malformed header"),
        (header((1.5,)) + bytes(8), "malformed header"),
        (header((True,)) + bytes(8), "malformed header"),
        (header((1,), "<f8", "yes") + bytes(8), "malformed header"),
        (header((1,), "nonsense") + bytes(8), "holds 'x' as 'nonsense'"),
        (header((1,), "<f3") + bytes(8), "malformed header"),
        (header((1,), "<M8[s]") + bytes(8), "holds 'x' as '<M8"),
        (header((1,), "<c16") + bytes(16), "holds 'x' as '<c16'"),
        (header((1,), "|V8") + bytes(8), r"holds 'x' as '\|V8'"),
        (header((1,), [("a", "<f8")]) + bytes(8), "holds 'x' as"),
        (header((1,), "<U2") + bytes(8), "holds 'x' as '<U2'"),
        (header((1,) * 100, "<f8") + bytes(8), "is damaged at 'x'"),
        (header((0, 2**70), "<f8"), "is damaged at 'x'"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"[" * 9000, "malformed header"),
    ],
)
def test_malformed_members(tmp_path, content, message):
    """Prevents each from ending in a traceback of numpy's, or in an array."""
    refused(archive(tmp_path / "x.npz", x=content), message)


def test_booleans_that_are_neither_true_nor_false(tmp_path):
    """Prevents bytes other than 0 and 1 from confusing numpy's counts of true values."""
    archive(tmp_path / "x.npz", x=header((3,), "|b1") + bytes([0, 2, 255]))
    with NpzFile(tmp_path / "x.npz") as file:
        assert file.read("x").view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("count", [0, 2, 300_000])
def test_a_wrong_checksum_is_noticed(tmp_path, compression, count):
    """Prevents a damaged number from being taken for the number saved."""
    path = archive(tmp_path / "x.npz", compression, x=header((count,)) + bytes(8 * count))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(content)
    refused(path, "is damaged at 'x'")


def test_unusual_compressions_and_overlaps_are_refused(tmp_path):
    """Prevents lzma and bzip2, which inflate without a known bound, and the quoting trick of overlapping members."""
    refused(archive(tmp_path / "x.npz", zipfile.ZIP_LZMA, x=header((1,)) + bytes(8)), "unusual compression")
    refused(archive(tmp_path / "x.npz", zipfile.ZIP_BZIP2, x=header((1,)) + bytes(8)), "unusual compression")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.npy", header((10_000,)) + bytes(80_000))
        for number in range(3):
            again = zipfile.ZipInfo(f"y{number}.npy")
            first = file.infolist()[0]
            for field in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(again, field, getattr(first, field))
            file.filelist.append(again)
    (tmp_path / "x.npz").write_bytes(buffer.getvalue())
    refused(tmp_path / "x.npz", "has members that overlap")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_given_twice(tmp_path):
    """Prevents two readers of one file from seeing two models."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("x.npy", header((1,)) + bytes(8))
        file.writestr("x.npy", header((1,)) + bytes(8))
    refused(tmp_path / "x.npz", "holds 'x' twice")


def test_encrypted_members(tmp_path):
    """Prevents a request for a password from surfacing as a RuntimeError."""
    path = archive(tmp_path / "x.npz", x=header((1,)) + bytes(8))
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    refused(path, "encrypted or in an unusual compression")
