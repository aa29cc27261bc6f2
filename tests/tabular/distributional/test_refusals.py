"""What no function of return laws takes: each says which argument, what it found, the rule and the way out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlbook.environments import make
from rlbook.errors import MDPError, ParameterError
from rlbook.mdp_rows import from_transitions
from rlbook.tabular import uniform_policy
from rlbook.tabular.distributional import (
    Categorical,
    CosineQuantiles,
    DiscreteLaws,
    EnergyKernel,
    EntropicRisk,
    EntropicScore,
    ExpectedShortfall,
    Expectiles,
    GaussianKernel,
    JointLaws,
    LaplaceKernel,
    MeanDeviation,
    Particles,
    Quantiles,
    ShortfallScore,
    ValueAtRisk,
    VarianceScore,
    VectorRewardMDP,
    Wang,
    alternating_minimisation,
    augment,
    categorical_projection,
    dkw_band,
    joint_mmd,
    joint_particle_laws,
    joint_return_laws,
    joint_wasserstein,
    learned_joint_particles,
    minimal_static_risk,
    mmd,
    mmd_gradient,
    return_law_backup,
    return_laws,
    sampled_joint_returns,
    sampled_returns,
    spread_particles,
    wasserstein,
)

MDP = make("random-walk", discount=0.9)
POLICY = uniform_policy(MDP)
LAWS = DiscreteLaws.point_masses(np.zeros(MDP.n_states))
ATOMS, LOCATIONS = Categorical.uniform(-1.0, 1.0, 5), Quantiles(5)
JOINT = JointLaws.point_masses([[0.0, 0.0]])
WORLD = VectorRewardMDP.from_transitions([{0: [(1.0, None, (1.0, 2.0))]}], 0.9)
ONE = np.zeros(1, dtype=np.int32)


def masses(*row: float) -> np.ndarray:
    """A table of laws, one in the middle for each state but for the first row."""
    table = np.tile([0.0, 0.0, 1.0, 0.0, 0.0], (MDP.n_states, 1))
    table[0] = row
    return table


def swept(by, table, weights=POLICY):
    return by.evaluation_sweep(MDP, weights, table, np.empty_like(table))


MASS, NEGATIVE, NAN = masses(0.5, 0.6, 0.7, 0, 0), masses(-0.5, 0.5, 1, 0, 0), masses(math.nan, 0, 1, 0, 0)
AUGMENTED = augment(MDP, 3)
CASES = {
    "mass not 1": (lambda: swept(ATOMS, MASS), r"parameters\[0\] sums to 1\.8"),
    "mass below 0": (lambda: swept(ATOMS, NEGATIVE), r"parameters\[0, 0\] is -0\.5"),
    "mass nan": (lambda: swept(ATOMS, NAN), r"parameters\[0, 0\] is nan"),
    "laws of mass not 1": (lambda: ATOMS.laws(MASS), r"parameters\[0\] sums to 1\.8"),
    "laws of mass nan": (lambda: ATOMS.laws(NAN), r"parameters\[0, 0\] is nan"),
    "no policy": (lambda: swept(ATOMS, masses(1, 0, 0, 0, 0), 0 * POLICY), "policy_weights are no policy"),
    "half a policy": (lambda: swept(LOCATIONS, masses(0, 0, 0, 0, 0) * 0, POLICY / 2), "policy_weights are no policy"),
    "locations nan": (
        lambda: swept(LOCATIONS, np.full((MDP.n_states, 5), math.nan)),
        "does not rise, or is not finite",
    ),
    "a location nan": (lambda: swept(Quantiles(1), np.full((MDP.n_states, 1), math.nan)), r"parameters\[0\] does not"),
    "locations inf": (lambda: swept(LOCATIONS, np.full((MDP.n_states, 5), math.inf)), "is not finite"),
    "laws of nan": (lambda: LOCATIONS.laws(NAN), r"\[0, 0\] is nan"),
    "tables of two lengths": (lambda: ATOMS.distance(MASS, MASS[:1]), "second has shape"),
    "locations of two lengths": (lambda: LOCATIONS.distance(MASS, MASS[:1]), "second has shape"),
    "discount above 1": (lambda: ATOMS.modulus(2.0), "discount is 2.0; give a number from 0 to 1"),
    "discount nan": (lambda: LOCATIONS.modulus(math.nan), "discount is nan"),
    "atoms infinite": (lambda: Categorical.uniform(0.0, math.inf, 5), "high inf; give finite ends"),
    "atoms unsorted": (lambda: Categorical(np.array([1.0, 0.0])), r"atoms\[1\] is 0, not above atoms\[0\], 1"),
    "half an atom": (lambda: Categorical.uniform(0.0, 1.0, 2.5), r"k is 2\.5; give a whole number from 2"),
    "atoms in words": (lambda: Categorical.covering(MDP, "5"), "k is '5'"),
    "endless range": (
        lambda: Categorical.covering(from_transitions([{0: [(1.0, 0, 1.0, False)]}], 1.0), 5),
        "no known bounds at discount 1",
    ),
    "places nan": (lambda: categorical_projection([math.nan], [1.0], [0.0, 1.0]), "a place that is not finite"),
    "no places": (lambda: categorical_projection([], [], [0.0, 1.0]), r"support has shape \(0,\)"),
    "places in words": (lambda: categorical_projection(["a"], [1.0], [0.0, 1.0]), "support is not an array of numbers"),
    "ragged atoms": (lambda: DiscreteLaws.from_arrays([[1.0, 2.0], [3.0]]), "atoms is not an array of numbers"),
    "mass inf": (lambda: DiscreteLaws(np.array([0, 1]), np.ones(1), np.array([math.inf])), r"mass\[0\] is inf"),
    "no kernel": (lambda: mmd(LAWS, LAWS, "gaussian"), "kernel is 'gaussian'; give EnergyKernel"),
    "a kernel's class": (lambda: mmd(LAWS, LAWS, GaussianKernel), "kernel is <class"),
    "no joint kernel": (lambda: joint_mmd(JOINT, JOINT, "x"), "kernel is 'x'"),
    "no kernel to descend": (lambda: mmd_gradient(np.zeros((1, 2, 2)), JOINT, "x"), "kernel is 'x'"),
    "no kernel to learn by": (lambda: learned_joint_particles(WORLD, ONE, kernel="x"), "kernel is 'x'"),
    "power in words": (lambda: EnergyKernel("1"), "beta is '1'"),
    "width in words": (lambda: LaplaceKernel("1"), "width is '1'"),
    "order in words": (lambda: wasserstein(LAWS, LAWS, "2"), "p is '2'"),
    "discount in words": (lambda: ATOMS.modulus("x"), "discount is 'x'"),
    "ends in words": (lambda: Categorical.uniform("0", 1.0, 3), "low is '0' and high 1.0"),
    "level in words": (lambda: ExpectedShortfall("0.1"), r"level is '0\.1', but it is a share"),
    "no level": (lambda: ValueAtRisk(None), "level is None"),
    "aversion in words": (lambda: EntropicRisk("1"), "aversion is '1'; give a finite number"),
    "deviations in words": (lambda: MeanDeviation("1"), "aversion is '1'; give a finite number, 0 or more"),
    "distortion in words": (lambda: Wang("1"), "eta is '1'"),
    "score in words": (lambda: ShortfallScore("0.1"), r"level is '0\.1', but it is a share"),
    "score's weight in words": (lambda: ShortfallScore(0.1, "1"), "weight is '1'"),
    "entropic score in words": (lambda: EntropicScore("0.1"), r"level is '0\.1'"),
    "variance in words": (lambda: VarianceScore("1"), "mean_weight is '1'"),
    "chance in words": (lambda: dkw_band(10, "0.1"), r"failure is '0\.1'"),
    "joint order in words": (lambda: joint_wasserstein(JOINT, JOINT, "2"), "p is '2'"),
    "step in words": (lambda: augment(MDP, 3, "1"), "step is '1'; give a positive number"),
    "one solve": (lambda: minimal_static_risk(AUGMENTED, VarianceScore(), most_solves=1), "most_solves is 1"),
    "gap in words": (lambda: minimal_static_risk(AUGMENTED, VarianceScore(), tolerance="1"), "tolerance is '1'"),
    "particles nan": (
        lambda: mmd_gradient(np.full((1, 2, 2), math.nan), JOINT, EnergyKernel()),
        "particles holds a number that is not finite",
    ),
    "steps of nan": (lambda: learned_joint_particles(WORLD, ONE, step_size=math.nan), "step_size is nan"),
    "half a step": (lambda: learned_joint_particles(WORLD, ONE, steps=2.5), "steps is 2.5"),
    "tolerance nan": (lambda: joint_particle_laws(WORLD, ONE, tolerance=math.nan), "tolerance is nan"),
    "tolerance below 0": (lambda: joint_return_laws(WORLD, ONE, tolerance=-1), "tolerance is -1"),
    "half an atom more": (lambda: joint_return_laws(WORLD, ONE, most_atoms=2.5), r"most_atoms is 2\.5"),
    "seed below 0": (lambda: spread_particles(JOINT, 3, seed=-1), "seed is -1"),
    "joint atoms nan": (
        lambda: JointLaws(np.array([0, 1]), np.array([[math.nan, 0.0]]), np.ones(1)),
        "atom holds a number that is not finite",
    ),
    "joint atoms unsorted": (
        lambda: JointLaws(np.array([0, 2]), np.array([[1.0, 0.0], [0.0, 0.0]]), np.full(2, 0.5)),
        "not in lexicographic order",
    ),
    "joint atoms twice": (
        lambda: JointLaws(np.array([0, 2]), np.array([[1.0, 0.0], [1.0, 0.0]]), np.full(2, 0.5)),
        "not in lexicographic order",
    ),
    "half a source": (lambda: JOINT.marginals(0.5), r"source is 0\.5"),
    "half a state": (lambda: sampled_returns(MDP, POLICY, 0.5, 3), r"state is 0\.5"),
    "half a joint state": (lambda: sampled_joint_returns(WORLD, ONE, 0.5, 3), r"state is 0\.5"),
    "no draws": (lambda: dkw_band(0, 0.1), "n is 0"),
    "a chance above 1": (lambda: dkw_band(10, 2.0), r"failure is 2\.0, but it is a chance"),
    "fractions beyond 1": (lambda: CosineQuantiles(3).phi([1.5]), "fractions holds a number outside"),
    "weights of another size": (lambda: CosineQuantiles(3).quantiles(np.zeros((2, 4)), [0.5]), r"\(2, 4\)"),
    "expectiles of another size": (lambda: Expectiles(3).means(np.zeros((2, 4))), r"parameters has shape \(2, 4\)"),
    "neither true nor false": (lambda: Particles(3, 0, "no"), "stratified is 'no'"),
    "no representation": (lambda: return_laws(MDP, "categorical", POLICY), "representation is 'categorical'; give one"),
    "no scoring": (lambda: minimal_static_risk(AUGMENTED, "variance"), "scoring is 'variance'"),
    "start nan": (lambda: alternating_minimisation(AUGMENTED, VarianceScore(), math.nan), "start is nan"),
    "no turns": (lambda: alternating_minimisation(AUGMENTED, VarianceScore(), 0.0, most_turns=0), "most_turns is 0"),
    "half a policy for histories": (lambda: AUGMENTED.law(()), "policy has 0 tables"),
    "no episodes": (lambda: AUGMENTED.sample(AUGMENTED.memoryless(np.zeros(MDP.n_states, int)), 0), "n is 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said(case):
    """Prevents NaN that spreads in silence, errors of NumPy from deep inside, and laws that are none."""
    run, words = CASES[case]
    with pytest.raises(ParameterError, match=words):
        run()


def test_models_and_laws_of_them_are_refused_as_such():
    with pytest.raises(MDPError, match="laws is 'x'; give DiscreteLaws"):
        return_law_backup(MDP, "x", POLICY)
    with pytest.raises(MDPError, match="probabilities must be finite"):
        return_laws(MDP, ATOMS, np.full(MDP.n_pairs, math.nan))


def test_masses_that_are_off_by_rounding_are_laws():
    """Prevents refusals of what thousands of sweeps leave: the rule is 1e-9, as for all laws."""
    table = masses(0, 0, 1 + 5e-10, 0, 0)
    swept(ATOMS, table)
    assert ATOMS.laws(table).n_laws == MDP.n_states
