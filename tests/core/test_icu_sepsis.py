"""ICU-Sepsis: the published averages, and the data behind them."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from rlbook.environments import find, icu_sepsis, make
from rlbook.errors import MissingExtraError
from rlbook.mdp import FiniteMDP


@pytest.fixture(scope="module")
def mdp() -> FiniteMDP:
    try:
        metadata.distribution("icu-sepsis")
    except metadata.PackageNotFoundError:
        pytest.skip("icu-sepsis is not installed; pip install 'rlbook[data]'")
    return make("icu-sepsis")


@pytest.fixture(scope="module")
def tables(mdp) -> dict[str, np.ndarray]:
    with np.load(icu_sepsis._data_file(), allow_pickle=False) as file:
        return {key: file[key] for key in ("tx_mat", "r_mat", "d_0", "expert_policy")}


@pytest.mark.parametrize(("policy", "published"), [("random", 0.78), ("clinicians", 0.78)])
def test_published_averages_of_the_fixed_policies(mdp, policy, published):
    """Prevents a wrong start, reward or treatment of inadmissible actions. Choudhary et al. (2024): 0.78 and 0.78."""
    mix = scipy.sparse.csr_array(
        (mdp.policies[policy], np.arange(mdp.n_pairs), mdp.state_ptr), shape=(716, mdp.n_pairs)
    )
    system = scipy.sparse.eye_array(716) - mix @ scipy.sparse.csr_array(mdp.continuing_matrix())
    value = scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(system), mix @ mdp.expected_reward)
    assert round(float(mdp.start @ value), 2) == published


def test_published_average_of_the_optimal_policy(mdp):
    """Prevents a model in which treatment cannot help, or helps too much. Choudhary et al. (2024): 0.88."""
    matrix, value = mdp.continuing_matrix(), np.zeros(716)
    for _ in range(1000):
        value = (mdp.expected_reward + matrix @ value).reshape(716, 25).max(axis=1)
    assert round(float(mdp.start @ value), 2) == 0.88


def test_transitions_start_and_policy_are_the_files(mdp, tables):
    """Prevents a shifted row: every probability of the living states is the published double."""
    back = np.zeros((716 * 25, 716))
    back[np.repeat(np.arange(716 * 25), np.diff(mdp.row_ptr)), mdp.next_state] = mdp.probability
    np.testing.assert_array_equal(back.reshape(716, 25, 716), tables["tx_mat"])
    np.testing.assert_array_equal(mdp.start, tables["d_0"])
    np.testing.assert_array_equal(mdp.policies["clinicians"].reshape(716, 25)[:713], tables["expert_policy"][:713])


def test_rewards_are_the_files(mdp, tables):
    """Prevents the short cut, +1 on entering survival, from being wrong for some transition of the published table."""
    at = np.repeat(np.arange(716 * 25), np.diff(mdp.row_ptr)), mdp.next_state
    np.testing.assert_array_equal(mdp.reward, tables["r_mat"].reshape(-1, 716)[at])


def test_episodes_end_with_death_or_survival(mdp):
    """Prevents value from flowing out of the terminal states."""
    terminated = np.arange(mdp.n_transitions) >= np.repeat(mdp.continuing_end, np.diff(mdp.row_ptr))
    np.testing.assert_array_equal(terminated, mdp.next_state >= icu_sepsis.DEATH)
    assert mdp.start[icu_sepsis.DEATH :].sum() == 0
    assert (mdp.n_states, mdp.n_actions) == (716, 25)
    assert mdp.state_name(714) == "survival"


def test_discount_is_a_parameter_and_the_data_is_read_once(mdp):
    """Prevents a discount slider from reading the file at every step."""
    other = make("icu-sepsis", discount=0.99)
    assert other.discount == 0.99
    assert np.shares_memory(other.probability, mdp.probability)
    assert list(other.policies) == ["clinicians", "random"]


@pytest.mark.parametrize("files", [None, []])
def test_without_its_package_the_way_to_get_it_is_told(monkeypatch, files):
    """Prevents an ImportError, or a traceback about a missing file, for an optional extra."""
    monkeypatch.setattr(icu_sepsis.metadata, "files", lambda _: files)
    with pytest.raises(MissingExtraError, match=r"ICU-Sepsis is not installed; run: pip install icu-sepsis"):
        icu_sepsis._data_file()


def test_without_its_package_it_is_still_listed(monkeypatch):
    """Prevents the catalogue from depending on an optional extra."""

    def not_installed(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(icu_sepsis.metadata, "files", not_installed)
    icu_sepsis._published.cache_clear()
    find("icu-sepsis")
    from rlbook.environments import registry

    registry._sizes.cache_clear()
    try:
        described = find("icu-sepsis").describe()
    finally:
        registry._sizes.cache_clear()
    assert (described["states"], described["actions"]) == (None, None)
    assert "pip install icu-sepsis" in described["summary"]
