"""What a representation of return laws is: a projection to a few numbers per law, and back to discrete laws.

A representation is a value. Dynamic programming asks it for no more than `Representation`; what else it offers is found
by its methods: one with `FusedEvaluation` or `KnownMeans` builds no laws in between, and a `Contracting` one knows the
metric in which its projected operator contracts, and with that how far its fixed point is from the truth;
`WassersteinBounded` says the same in a metric that all share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rlbook.mdp import FiniteMDP
    from rlbook.tabular.distributional.laws import DiscreteLaws


class Representation(Protocol):
    """A projection of discrete laws to n_parameters numbers each, and the laws that such numbers stand for."""

    @property
    def n_parameters(self) -> int:
        """Numbers per law."""
        ...

    def project(self, laws: DiscreteLaws) -> NDArray[np.float64]:
        """The parameters of the projected laws, (n, n_parameters)."""
        ...

    def laws(self, parameters: NDArray[np.float64]) -> DiscreteLaws:
        """The laws that parameters (n, n_parameters) stand for."""
        ...

    def initial(self, n: int) -> NDArray[np.float64]:
        """The parameters of the projected point mass at 0, (n, n_parameters), writable."""
        ...


@runtime_checkable
class FusedEvaluation(Protocol):
    """One projected backup under a policy in one pass; equal to projecting `return_law_backup`, to rounding."""

    def evaluation_sweep(
        self,
        mdp: FiniteMDP,
        policy_weights: NDArray[np.float64],
        parameters: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """Write the projected backup of `parameters` (S, n_parameters) into `out`; policy_weights: (pairs,)."""
        ...


@runtime_checkable
class KnownMeans(Protocol):
    """A representation that knows the means of its laws without building them."""

    def means(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """The means of the laws that parameters (n, n_parameters) stand for, (n,), in units of return."""
        ...


@runtime_checkable
class Contracting(Protocol):
    """A representation whose projected evaluation operator contracts in a metric between laws, largest over states."""

    @property
    def metric(self) -> str:
        """The metric's name, as readers see it: "Cramer distance", "Wasserstein-infinity distance"."""
        ...

    def modulus(self, discount: float) -> float:
        """The factor by which one projected backup shrinks distances, in [0, 1]."""
        ...

    def distance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances in that metric between laws given as parameters (n, n_parameters), (n,)."""
        ...

    def error_bound(self, mdp: FiniteMDP) -> float:
        """A proven bound on the distance, in that metric, of the fixed point of any policy from its return laws.

        The largest over states and policies; infinite where nothing is proven (rewards outside the support, say).
        """
        ...


@runtime_checkable
class WassersteinBounded(Protocol):
    """A `Contracting` representation that knows how far its fixed point is from the truth in Wasserstein-1 distance.

    Whatever the metric of its contraction: this one bounds the error of means, too, and is the same for all.
    """

    def wasserstein_bound(self, mdp: FiniteMDP, remaining: float = 0.0) -> float:
        """A proven bound, in units of return, on W_1 of the return laws of any policy from laws near the fixed point.

        remaining: how near, in the representation's own metric. Infinite where nothing is proven.
        """
        ...
