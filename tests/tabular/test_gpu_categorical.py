"""The categorical twins against the Numba kernels, to rounding: on a device where there is one, and emulated by g++."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from rlbook.errors import ParameterError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional.categorical import Categorical, categorical_projection
from rlbook.tabular.gpu import categorical as twin
from rlbook.tabular.gpu.return_laws import THREADS

SOURCE = files("rlbook.tabular.gpu").joinpath("categorical.cu").read_text(encoding="utf-8")
TARGETS = {
    "even": Categorical.uniform(-3.0, 4.0, 11),
    "uneven": Categorical(np.array([-2.0, -1.9, -0.5, 0.0, 0.25, 1.0, 5.0])),
    "two atoms": Categorical.uniform(-1.0, 1.0, 2),
    "more atoms than lanes": Categorical.uniform(-4.0, 4.0, THREADS + 9),
}


def world(seed: int, states: int, discount: float, varies: bool) -> FiniteMDP:
    """Ragged; rewards may vary within a row, and some rows end in part or wholly."""
    rng = np.random.default_rng(seed)
    model = []
    for _ in range(states):
        actions = {}
        for a in range(rng.integers(1, 4)):
            n = int(rng.integers(1, 7))
            paid = rng.integers(-2, 3, n) / 2.0 if varies else np.full(n, rng.normal())
            rows = zip(rng.dirichlet(np.ones(n)), rng.integers(0, states, n), paid, rng.random(n) < 0.3, strict=True)
            actions[a] = [(float(p), int(t), float(r), bool(e)) for p, t, r, e in rows]
        model.append(actions)
    return from_transitions(model, discount, normalise=True)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("target", TARGETS)
def test_projections_agree(target):
    """Prevents lanes that miss what lies at an atom or beyond the ends, and atoms beyond the first lanes."""
    rng = np.random.default_rng(0)
    atoms = TARGETS[target].atoms
    places, probs = np.round(rng.normal(0, 3, (9, 20)), 1), rng.dirichlet(np.ones(20), 9)
    places[0] = atoms[0]
    places[1] = atoms[-1]
    found = twin.categorical_projection(places, probs, atoms)
    assert np.allclose(found, categorical_projection(places, probs, atoms), atol=1e-13)
    shared = twin.categorical_projection(np.sort(places[2]), probs, atoms)
    assert np.allclose(shared, categorical_projection(np.sort(places[2]), probs, atoms), atol=1e-13)
    one = twin.categorical_projection(places[3], probs[3], atoms)
    assert np.allclose(one, categorical_projection(places[3], probs[3], atoms), atol=1e-13)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("varies", [False, True])
def test_sweeps_agree(target, discount, varies):
    """Prevents a mixture that is overwritten while others read it, and endings that go on."""
    rng, representation = np.random.default_rng(1), TARGETS[target]
    mdp = world(2, 40, discount, varies)
    assert (mdp.reward is not None) == varies
    old = rng.dirichlet(np.ones(representation.n_parameters), 40)
    weight = uniform_policy(mdp) if discount < 1 else np.zeros(mdp.n_pairs)
    if discount == 1:
        weight[mdp.state_ptr[:-1]] = 1.0
    expected = np.empty_like(old)
    representation.evaluation_sweep(mdp, weight, old, expected)
    there = twin.DeviceCategorical(representation, mdp.to("gpu"))
    out = there.place(np.full_like(old, np.nan))
    there.evaluation_sweep(there.place(weight), there.place(old), out)
    assert np.allclose(there.fetch(out), expected, atol=1e-13)


def test_threads_may_take_turns_in_any_order(emulation):
    """Prevents results that depend on which thread comes first."""
    mdp, representation = world(3, 30, 0.9, True), TARGETS["even"]
    old, found = np.full((30, 11), 1 / 11), []
    for emulation.falling in (False, True):
        there = twin.DeviceCategorical(representation, mdp.to("gpu"))
        out = there.place(np.full_like(old, np.nan))
        there.evaluation_sweep(there.place(uniform_policy(mdp)), there.place(old), out)
        found.append(there.fetch(out))
    emulation.falling = False
    assert np.array_equal(*found)


@pytest.mark.usefixtures("emulation")
def test_errors_are_those_of_the_cpu():
    with pytest.raises(ParameterError, match=r"law 1 has a place .* weights 0 or more"):
        twin.categorical_projection([0.0, 1.0], [[1.0, 0.0], [1.5, -0.5]], [0.0, 1.0])
    with pytest.raises(ParameterError, match="at most 3000; stay on the CPU"):
        twin.DeviceCategorical(Categorical.uniform(0, 1, 3001), world(0, 2, 0.9, False).to("gpu"))


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is missing; it compiles the CUDA source")
@pytest.mark.parametrize("options", [("-arch=sm_80",), ("-arch=sm_90", f"-DATOMS={twin.MOST_ATOMS}")])
def test_the_source_compiles_for_devices(tmp_path, options):
    source = tmp_path / "categorical.cu"
    source.write_text(SOURCE, encoding="utf-8")
    command = ["nvcc", "-cubin", "-Werror", "all-warnings", *options, "-o", str(tmp_path / "categorical.cubin")]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_launch_agrees_with_the_source():
    assert f"__launch_bounds__({THREADS})" in SOURCE
    assert f"THREADS = {THREADS};" in SOURCE
