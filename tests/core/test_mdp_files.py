"""Files: what is saved comes back bit for bit, and what is not an MDP is refused with a sentence."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlbook.environments import make
from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP

P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]])
R = np.array([[0.0, 1.0], [2.0, 3.0]])


def members(path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture
def saved(tmp_path):
    """A file with everything in it: varying rewards, termination, names, layout, policies."""
    mdp = make("windy", king_moves=True, discount=0.9)
    mdp = mdp.replace(policies={"ünï/form": np.full(mdp.n_pairs, 1 / 8)}, reward=mdp.expected_reward.copy())
    path = tmp_path / "windy.npz"
    mdp.save(path)
    return mdp, path


@pytest.mark.parametrize("name", ["frozenlake-8x8", "gambler", "riverswim", "deep-sea", "four-rooms", "gridworld-5x5"])
def test_round_trip_is_bit_exact(name, tmp_path):
    """Prevents a stored model from giving other numbers than the one it was saved from."""
    mdp = make(name)
    mdp.save(tmp_path / "mdp.npz")
    back = FiniteMDP.load(tmp_path / "mdp.npz")
    assert back == mdp
    assert back.fingerprint == mdp.fingerprint
    assert (back.name, back.state_names, back.action_names, back.layout) == (
        mdp.name,
        mdp.state_names,
        mdp.action_names,
        mdp.layout,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.floats(0, 1),
    st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=4),
    st.text(max_size=8),
    st.lists(st.text(max_size=4), min_size=2, max_size=2),
)
def test_round_trip_of_any_doubles_and_names(tmp_path, discount, rewards, name, state_names):
    """Prevents rewards, discounts or names with unusual bits from being rounded or lost."""
    mdp = FiniteMDP.from_dense(P, np.reshape(rewards, (2, 2)), discount, name=name, state_names=state_names)
    mdp.save(tmp_path / "mdp.npz")
    back = FiniteMDP.load(tmp_path / "mdp.npz")
    assert (back, back.name, back.state_names) == (mdp, mdp.name, mdp.state_names)


def test_policies_layout_and_varying_rewards_are_kept(saved):
    """Prevents the optional fields from being left behind."""
    mdp, path = saved
    back = FiniteMDP.load(path)
    assert back == mdp
    assert back.layout == mdp.layout
    assert list(back.policies) == ["ünï/form"]
    np.testing.assert_array_equal(back.policies["ünï/form"], mdp.policies["ünï/form"])
    for array in (back.probability, back.next_state, back.policies["ünï/form"]):
        assert not array.flags.writeable


def test_the_same_mdp_gives_the_same_bytes(saved, tmp_path):
    """Prevents stored files from differing by the time of day, which content addresses would not survive."""
    mdp, path = saved
    mdp.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_keys_are_those_documented(saved):
    """Prevents the format from changing without a new version."""
    from rlbook import mdp_files

    found = members(saved[1])
    expected = {
        "format", "format_version", "discount", "state_ptr", "action", "row_ptr", "continuing_end", "next_state",
        "probability", "expected_reward", "start", "reward", "policy_0", "description",
    }  # fmt: skip
    assert set(found) == expected
    assert str(found["format"]) == "rlbook-mdp"
    assert found["format_version"] == 1
    assert found["description"].dtype == np.uint8
    for key in expected - {"policy_0"}:
        assert key in mdp_files.__doc__


def test_a_failed_write_leaves_the_old_file_and_no_other(saved, monkeypatch):
    """Prevents a full disk or a kill from replacing a good file by half of one."""
    mdp, path = saved
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(MDPError, match="cannot be written: No space left on device"):
        mdp.replace(discount=0.5).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_saving_into_a_folder_that_is_not_there(saved, tmp_path):
    """Prevents a traceback for a mistyped folder."""
    with pytest.raises(MDPError, match="cannot be written: No such file or directory"):
        saved[0].save(tmp_path / "missing" / "mdp.npz")


def test_saving_through_a_link_replaces_what_it_points_to(saved, tmp_path):
    """Prevents the atomic rename from turning a link into a file of its own."""
    mdp, path = saved
    link = tmp_path / "link.npz"
    link.symlink_to(path)
    mdp.replace(discount=0.5).save(link)
    assert link.is_symlink()
    assert FiniteMDP.load(path).discount == 0.5


def test_discount_can_be_overridden(saved):
    """Prevents `--discount` from having no effect on files."""
    assert FiniteMDP.load(saved[1], discount=0.25).discount == 0.25


# --- plain files with P and R, which is what people have ---


def test_plain_file(tmp_path):
    """Prevents the common case, two arrays saved with numpy, from needing a converter."""
    np.savez(tmp_path / "mine.npz", P=P, R=R, discount=0.8, start=[0.0, 1.0])
    mdp = FiniteMDP.load(tmp_path / "mine.npz")
    assert mdp == FiniteMDP.from_dense(P, R, 0.8, start=[0.0, 1.0])
    assert mdp.name == "mine"


def test_plain_file_compressed_column_major_single_precision_big_endian(tmp_path):
    """Prevents only C-ordered little-endian doubles, uncompressed, from being readable."""
    for p in (np.asfortranarray(P), P.astype(">f4"), P.astype("<f2")):
        np.savez_compressed(tmp_path / "mine.npz", P=p, R=R.astype(int), terminated=[False, True])
        mdp = FiniteMDP.load(tmp_path / "mine.npz", discount=0.9)
        assert mdp == FiniteMDP.from_dense(P, R, 0.9, terminated=[False, True])


def test_plain_file_without_discount(tmp_path):
    """Prevents a discount from being made up."""
    np.savez(tmp_path / "mine.npz", P=P, R=R)
    with pytest.raises(MDPError, match=r"has no discount; pass one: --discount 0\.99 or load\(path, discount=0\.99\)"):
        FiniteMDP.load(tmp_path / "mine.npz")
    assert FiniteMDP.load(tmp_path / "mine.npz", discount=0.5).discount == 0.5


def test_plain_file_with_counts(tmp_path):
    """Prevents rows of counts from being unusable from the command line."""
    np.savez(tmp_path / "mine.npz", P=P * 4, R=R, discount=0.5)
    with pytest.raises(MDPError, match=r"mine\.npz' holds no valid MDP: row for state 0, action 0 sums to 4"):
        FiniteMDP.load(tmp_path / "mine.npz")
    assert FiniteMDP.load(tmp_path / "mine.npz", normalise=True) == FiniteMDP.from_dense(P, R, 0.5)


def test_plain_file_with_bad_numbers_names_file_and_entry(tmp_path):
    """Prevents an error that does not say which of many files is wrong."""
    np.savez(tmp_path / "mine.npz", P=P, R=R * np.nan, discount=0.5)
    with pytest.raises(MDPError, match=r"mine\.npz' holds no valid MDP: reward\[0, 0\] is nan"):
        FiniteMDP.load(tmp_path / "mine.npz")


# --- files that are refused ---


def test_missing_files_and_folders(tmp_path):
    """Prevents a mistyped path from ending in a traceback."""
    with pytest.raises(MDPError, match="does not exist; check the path"):
        FiniteMDP.load(tmp_path / "nothing.npz")
    with pytest.raises(MDPError, match="is not a file"):
        FiniteMDP.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive", b"\x93NUMPY\x01\x00", b"\x80\x04K\x01."])
def test_files_that_are_no_archives(tmp_path, content):
    """Prevents .npy files, pickles and texts from being read as anything."""
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(MDPError, match=r"is not an \.npz file, or is cut short"):
        FiniteMDP.load(tmp_path / "x.npz")


def test_every_truncation_is_refused(saved, tmp_path):
    """Prevents an interrupted copy from being read as a smaller MDP."""
    content = saved[1].read_bytes()
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(MDPError):
            FiniteMDP.load(tmp_path / "cut.npz")


def test_a_flipped_bit_is_either_noticed_or_harmless(saved, tmp_path):
    """Prevents a damaged disk from changing a probability in silence, or from ending in a traceback."""
    mdp, path = saved
    content = path.read_bytes()
    noticed = 0
    for position in np.random.default_rng(0).integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(position % 8)
        (tmp_path / "bad.npz").write_bytes(damaged)
        try:
            assert FiniteMDP.load(tmp_path / "bad.npz") == mdp
        except MDPError:
            noticed += 1
    assert noticed > 250


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array("other")}, "has another format than 'rlbook-mdp'"),
        ({"format": np.array(7)}, "has another format than 'rlbook-mdp'"),
        ({"format": np.full(2000, "x")}, "has 8000 bytes at 'format', where at most 4096 make sense"),
        ({"format_version": np.array(2)}, "has format version 2, but this rlbook reads 1; update rlbook"),
        ({"format_version": np.zeros(3)}, r"has format_version of shape \(3,\); it must be one number"),
        ({"format_version": None}, "lacks 'format_version'; it holds: action"),
        ({"probability": None}, "lacks 'probability'"),
        ({"discount": None}, "lacks 'discount'"),
        ({"policy_0": None}, "lacks 'policy_0'"),
        ({"description": None}, "lacks 'description'"),
        ({"rewarb": np.ones(1)}, "holds 'rewarb', which format version 1 has not"),
        ({"policy_1": np.ones(1)}, "holds 'policy_1', which format version 1 has not"),
        ({"description": np.frombuffer(b"{}", np.uint8)}, "has a malformed description"),
        ({"description": np.frombuffer(b"[" * 100_000, np.uint8)}, "has a malformed description"),
        ({"description": np.array([1.5, 2.5])}, "has a malformed description"),
        ({"discount": np.array(2.0)}, "holds no valid MDP: discount is 2.0; it must lie in"),
        ({"next_state": np.zeros(3)}, "holds no valid MDP: next_state must be a contiguous one-dimensional int32"),
        ({"start": np.zeros(2)}, r"holds no valid MDP: start has shape \(2,\)"),
        ({"row_ptr": np.zeros(0, np.int64)}, "holds no valid MDP: row_ptr is empty"),
        ({"policy_0": np.ones(4)}, "holds no valid MDP: policy"),
        ({"start": np.array(["a", "b"])}, "holds 'start' as '<U1', which is not read from files"),
    ],
)
def test_own_files_changed_by_somebody_else(saved, tmp_path, changes, message):
    """Prevents versions, keys, types and numbers that do not fit from being accepted or ending in a traceback."""
    found = members(saved[1]) | changes
    np.savez(tmp_path / "x.npz", **{key: value for key, value in found.items() if value is not None})
    with pytest.raises(MDPError, match=message):
        FiniteMDP.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"state_names": "abc"},
        {"state_names": [1, 2]},
        {"policies": {"a": 1}},
        {"layout": {"rows": 1}},
        {"layout": {"rows": "1", "columns": 1, "cell": [0], "walls": [], "action_arrows": []}},
        {"layout": {"rows": 1, "columns": 1, "cell": [0.5], "walls": [], "action_arrows": []}},
        {"layout": {"rows": 1, "columns": 1, "cell": [0], "walls": [], "action_arrows": [1]}},
        {"layout": [1]},
    ],
)
def test_descriptions_of_the_wrong_shape(saved, tmp_path, change):
    """Prevents names or layouts that are no names or layouts from reaching a figure."""
    found = members(saved[1])
    description = json.loads(found["description"].tobytes()) | change
    found["description"] = np.frombuffer(json.dumps(description).encode(), np.uint8)
    np.savez(tmp_path / "x.npz", **found)
    with pytest.raises(MDPError, match="malformed description"):
        FiniteMDP.load(tmp_path / "x.npz")


def test_archives_with_something_else_inside(tmp_path):
    """Prevents a file of other arrays from being guessed at; the error lists what it holds."""
    np.savez(tmp_path / "x.npz", weights=np.ones(3), bias=np.ones(1))
    with pytest.raises(MDPError, match=r"is not an MDP: it holds bias, weights; give one that FiniteMDP\.save wrote"):
        FiniteMDP.load(tmp_path / "x.npz")
    np.savez(
        tmp_path / "z.npz", **{"two\nlines\x1b[2J": np.ones(1)}, **{f"a{number}": np.ones(1) for number in range(30)}
    )
    with pytest.raises(MDPError, match=r"it holds a0, a1, .*, \.\.\.; give") as caught:
        FiniteMDP.load(tmp_path / "z.npz")
    assert str(caught.value).isprintable()
    with zipfile.ZipFile(tmp_path / "y.npz", "w"):
        pass
    with pytest.raises(MDPError, match="is not an MDP: it holds nothing"):
        FiniteMDP.load(tmp_path / "y.npz")
