"""Laws of the return: exact backups, representations, dynamic programming, learners, metrics and risk measures."""

from rlbook.tabular.distributional.augmented_risk import AugmentedReturns, augment, reward_step
from rlbook.tabular.distributional.backup import (
    ReturnRows,
    greedy_actions,
    greedy_return_law_backup,
    pair_return_laws,
    pair_return_rows,
    policy_return_rows,
    return_law_backup,
)
from rlbook.tabular.distributional.categorical import Categorical, categorical_projection
from rlbook.tabular.distributional.categorical_td import CategoricalQ, CategoricalTD
from rlbook.tabular.distributional.convex_scoring import (
    ConvexScoring,
    EntropicScore,
    ShortfallScore,
    VarianceScore,
)
from rlbook.tabular.distributional.dynamic_programming import ReturnLaws, return_laws
from rlbook.tabular.distributional.exact_iteration import absolute_returns
from rlbook.tabular.distributional.exact_laws import ExactLaws
from rlbook.tabular.distributional.expectile import Expectiles
from rlbook.tabular.distributional.expectile_td import ExpectileTD
from rlbook.tabular.distributional.implicit_quantiles import CosineQuantiles, ImplicitQuantileQ, ImplicitQuantileTD
from rlbook.tabular.distributional.joint_laws import (
    JointLaws,
    joint_law_backup,
)
from rlbook.tabular.distributional.joint_metrics import (
    joint_mmd,
    joint_wasserstein,
)
from rlbook.tabular.distributional.joint_particles import (
    JointParticles,
    fitted_particles,
    joint_particle_laws,
    learned_joint_particles,
    mmd_gradient,
    spread_particles,
)
from rlbook.tabular.distributional.joint_returns import (
    JointReturnLaws,
    joint_return_laws,
    sampled_joint_returns,
)
from rlbook.tabular.distributional.laws import DiscreteLaws
from rlbook.tabular.distributional.metrics import (
    EnergyKernel,
    GaussianKernel,
    LaplaceKernel,
    MultiquadricKernel,
    cramer,
    kolmogorov,
    kullback_leibler,
    lp_cdf,
    mmd,
    total_variation,
    wasserstein,
)
from rlbook.tabular.distributional.particles import Particles
from rlbook.tabular.distributional.quantile import Quantiles
from rlbook.tabular.distributional.quantile_td import QuantileQ, QuantileTD
from rlbook.tabular.distributional.representation import (
    Contracting,
    FusedEvaluation,
    KnownMeans,
    Representation,
    WassersteinBounded,
)
from rlbook.tabular.distributional.return_range import return_range
from rlbook.tabular.distributional.return_variance import (
    return_variance,
)
from rlbook.tabular.distributional.risk_measures import (
    CPW,
    Distortion,
    EntropicRisk,
    EntropicValueAtRisk,
    ExpectedShortfall,
    Mean,
    MeanDeviation,
    Power,
    RiskMeasure,
    ValueAtRisk,
    Wang,
)
from rlbook.tabular.distributional.sampled_returns import dkw_band, sampled_returns
from rlbook.tabular.distributional.static_risk import (
    Alternation,
    StaticRiskSolution,
    alternating_minimisation,
    minimal_static_risk,
)
from rlbook.tabular.distributional.vector_rewards import (
    VectorRewardMDP,
)

__all__ = [
    "CPW",
    "Alternation",
    "AugmentedReturns",
    "Categorical",
    "CategoricalQ",
    "CategoricalTD",
    "Contracting",
    "ConvexScoring",
    "CosineQuantiles",
    "DiscreteLaws",
    "Distortion",
    "EnergyKernel",
    "EntropicRisk",
    "EntropicScore",
    "EntropicValueAtRisk",
    "ExactLaws",
    "ExpectedShortfall",
    "ExpectileTD",
    "Expectiles",
    "FusedEvaluation",
    "GaussianKernel",
    "ImplicitQuantileQ",
    "ImplicitQuantileTD",
    "JointLaws",
    "JointParticles",
    "JointReturnLaws",
    "KnownMeans",
    "LaplaceKernel",
    "Mean",
    "MeanDeviation",
    "MultiquadricKernel",
    "Particles",
    "Power",
    "QuantileQ",
    "QuantileTD",
    "Quantiles",
    "Representation",
    "ReturnLaws",
    "ReturnRows",
    "RiskMeasure",
    "ShortfallScore",
    "StaticRiskSolution",
    "ValueAtRisk",
    "VarianceScore",
    "VectorRewardMDP",
    "Wang",
    "WassersteinBounded",
    "absolute_returns",
    "alternating_minimisation",
    "augment",
    "categorical_projection",
    "cramer",
    "dkw_band",
    "fitted_particles",
    "greedy_actions",
    "greedy_return_law_backup",
    "joint_law_backup",
    "joint_mmd",
    "joint_particle_laws",
    "joint_return_laws",
    "joint_wasserstein",
    "kolmogorov",
    "kullback_leibler",
    "learned_joint_particles",
    "lp_cdf",
    "minimal_static_risk",
    "mmd",
    "mmd_gradient",
    "pair_return_laws",
    "pair_return_rows",
    "policy_return_rows",
    "return_law_backup",
    "return_laws",
    "return_range",
    "return_variance",
    "reward_step",
    "sampled_joint_returns",
    "sampled_returns",
    "spread_particles",
    "total_variation",
    "wasserstein",
]
