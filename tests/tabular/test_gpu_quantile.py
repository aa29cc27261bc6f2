"""The quantile twins against the Numba kernels: on a device where there is one, and emulated by g++."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from rlbook import mdp_device
from rlbook.errors import ParameterError
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import DiscreteLaws, Particles, Quantiles, return_laws
from rlbook.tabular.distributional.laws_kernels import LEVEL_SLACK
from rlbook.tabular.gpu import quantile as twin
from rlbook.tabular.gpu.return_laws import THREADS

from .test_gpu_categorical import world

SOURCE = files("rlbook.tabular.gpu").joinpath("quantile.cu").read_text(encoding="utf-8")
FORMS = {
    "one": Quantiles(1),
    "quantiles": Quantiles(11),
    "more quantiles than lanes": Quantiles(THREADS + 9),
    "strata": Particles(8, 3),
    "independent draws": Particles(8, 3, stratified=False),
}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("form", FORMS)
def test_projections_are_those_of_the_cpu(form):
    """Prevents laws that are cut short or run on, and one law's levels taken for another's. Sums run alike: same bits.

    Laws of different lengths, some of whose levels are met exactly.
    """
    rng, by = np.random.default_rng(0), FORMS[form]
    random = DiscreteLaws.from_arrays(np.round(rng.normal(0, 3, (9, 20)), 1), rng.dirichlet(np.full(20, 0.3), 9))
    tenths = DiscreteLaws.from_arrays(np.arange(10.0))
    for laws in (random, random.mixture(np.eye(9)[:1]), tenths, DiscreteLaws.point_masses(np.arange(70.0))):
        assert np.array_equal(twin.project(by, laws), by.project(laws))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("varies", [False, True])
def test_sweeps_are_those_of_the_cpu(form, discount, varies):
    """Prevents endings that go on, successors or their rewards mixed up, and a quantile one location too far."""
    rng, by = np.random.default_rng(1), FORMS[form]
    mdp = world(2, 40, discount, varies)
    old = np.sort(np.round(rng.normal(0, 4, (40, by.m)), rng.integers(0, 4)), axis=1)
    weight = uniform_policy(mdp) if discount < 1 else np.zeros(mdp.n_pairs)
    if discount == 1:
        weight[mdp.state_ptr[:-1]] = 1.0
    expected = np.empty_like(old)
    by.evaluation_sweep(mdp, weight, old, expected)
    there = twin.DeviceQuantiles(by, mdp.to("gpu"))
    out = there.place(np.full_like(old, np.nan))
    there.evaluation_sweep(there.place(weight), there.place(old), out)
    np.testing.assert_allclose(there.fetch(out), expected, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("gpu")
def test_sweeps_reach_the_same_fixed_point():
    """Prevents errors that one sweep from drawn locations does not show: equal locations, ties, rows at rest."""
    mdp, by = world(5, 20, 0.7, True), Quantiles(13)
    found = return_laws(mdp, by, uniform_policy(mdp), tolerance=1e-12).parameters
    there = twin.DeviceQuantiles(by, mdp.to("gpu"))
    weight, old, new = (there.place(array) for array in (uniform_policy(mdp), by.initial(20), by.initial(20)))
    for _ in range(80):
        there.evaluation_sweep(weight, old, new)
        old, new = new, old
    np.testing.assert_allclose(there.fetch(old), found, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("gpu")
def test_indices_of_64_bits_give_the_same_bits(monkeypatch):
    """Prevents a mix of index types where an MDP has two thousand million transitions."""
    mdp, by, found = world(3, 30, 0.9, True), Quantiles(7), []
    old = np.sort(np.random.default_rng(0).normal(size=(30, 7)), axis=1)
    for most in (mdp_device._MOST_IN_INT32, 0):
        monkeypatch.setattr(mdp_device, "_MOST_IN_INT32", most)
        there = twin.DeviceQuantiles(by, mdp.to("gpu"))
        out = there.place(np.full_like(old, np.nan))
        there.evaluation_sweep(there.place(uniform_policy(mdp)), there.place(old), out)
        found.append(there.fetch(out))
    assert np.array_equal(*found)


def test_threads_may_take_turns_in_any_order(emulation):
    """Prevents results that depend on which thread comes first."""
    mdp, found = world(3, 30, 0.9, True), []
    for emulation.falling in (False, True):
        there = twin.DeviceQuantiles(Quantiles(7), mdp.to("gpu"))
        out = there.place(np.full((30, 7), np.nan))
        there.evaluation_sweep(there.place(uniform_policy(mdp)), there.place(np.zeros((30, 7))), out)
        found.append(there.fetch(out))
    emulation.falling = False
    assert np.array_equal(*found)


@pytest.mark.usefixtures("emulation")
def test_arrays_of_other_sizes_are_refused():
    """Prevents kernels that read beside their arrays, which a device does not notice."""
    mdp = world(0, 4, 0.9, False)
    there = twin.DeviceQuantiles(Quantiles(3), mdp.to("gpu"))
    weight, old, new = (there.place(array) for array in (uniform_policy(mdp), np.zeros((4, 3)), np.zeros((4, 3))))
    for arguments, words in (
        ((old, old, new), "policy_weights holds"),
        ((weight, weight, new), "parameters holds"),
        ((weight, old, there.place(np.zeros((4, 3), dtype=np.float32))), "out holds 48 bytes of float32"),
        ((weight, old, old), "out is parameters itself"),
    ):
        with pytest.raises(ParameterError, match=words):
            there.evaluation_sweep(*arguments)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is missing; it compiles the CUDA source")
@pytest.mark.parametrize("options", [("-arch=sm_80",), ("-arch=sm_90", "-DINDEX=long long")])
def test_the_source_compiles_for_devices(tmp_path, options):
    """Prevents a source that no device would take, or whose registers spill to memory."""
    source = tmp_path / "quantile.cu"
    source.write_text(SOURCE, encoding="utf-8")
    command = ["nvcc", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings", *twin.OPTIONS, *options]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "quantile.cubin"), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("0 bytes spill stores, 0 bytes spill loads") == 2, done.stderr


def test_the_launch_agrees_with_the_source():
    """Prevents blocks of another size than the kernels count on, and another slack of levels than the CPU's."""
    assert f"__launch_bounds__({THREADS}, " in SOURCE
    assert f"THREADS = {THREADS};" in SOURCE
    slack = re.search(r"SLACK = ([\d.e-]+);", SOURCE)
    assert slack is not None
    assert float(slack.group(1)) == LEVEL_SLACK
