"""ICU-Sepsis at discount 0.99 to a certified gap of 1e-8, against every method of QuantEcon.py on the same data.

QuantEcon.py knows no termination, so terminating transitions lead to one more state that pays nothing for ever; its
epsilon is twice the distance to v*, like our gap. Policy iteration solves linear systems and ends at rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp
from quantecon.markov import DiscreteDP

from benchmarks.report import Row, median_seconds, publish
from rlbook import make
from rlbook.mdp import FiniteMDP
from rlbook.tabular import METHODS, solve

GAP = 1e-8
DISCOUNT = 0.99


def as_quantecon(mdp: FiniteMDP) -> DiscreteDP:
    """The same MDP with an absorbing last state in place of termination."""
    states = mdp.n_states
    continuing = sp.hstack([mdp.continuing_matrix(), sp.csr_matrix(np.clip(1 - mdp.continuation, 0.0, 1.0)).T])
    absorbed = sp.csr_matrix(([1.0], ([0], [states])), shape=(1, states + 1))
    return DiscreteDP(
        np.append(mdp.expected_reward, 0.0),
        sp.csr_matrix(sp.vstack([continuing, absorbed])),
        mdp.discount,
        np.append(mdp.pair_state, states),
        np.append(mdp.action, 0),
    )


def main() -> None:
    """Race, and check that all agree."""
    mdp = make("icu-sepsis", discount=DISCOUNT)
    peer = as_quantecon(mdp)
    runs: dict[str, Callable[[], np.ndarray]] = {}
    for method in METHODS:
        runs[f"rlbook {method}"] = partial(lambda m: solve(mdp, GAP, method=m).values, method)
    for method in ("value_iteration", "modified_policy_iteration", "policy_iteration"):
        runs[f"QuantEcon.py {method}"] = partial(
            lambda m: peer.solve(method=m, epsilon=GAP, max_iter=100_000).v[: mdp.n_states], method
        )
    truth = solve(mdp, 1e-11).values
    rows = []
    for who, run in runs.items():
        error = float(np.abs(run() - truth).max())
        rows.append(
            Row(
                f"ICU-Sepsis, discount {DISCOUNT}, gap {GAP:g}",
                who,
                median_seconds(run),
                "s",
                None,
                f"error {error:.0e}",
            )
        )
    fastest = {side: min(r.median for r in rows if r.who.startswith(side)) for side in ("rlbook", "QuantEcon")}
    rows.append(Row("fastest peer / fastest rlbook", "ratio", fastest["QuantEcon"] / fastest["rlbook"], "x"))
    publish("dynamic_programming", rows, ("quantecon", "scipy"))


if __name__ == "__main__":
    main()
