"""Monte Carlo returns of a policy, as a check on return laws that shares no code with them."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from rlbook.errors import ParameterError
from rlbook.kernel import float64, int64, kernel, writes
from rlbook.keyed_random import MOST_DRAWS, bits, stream_key, uniform
from rlbook.tabular.policies import induced_chain
from rlbook.tabular.sampling_tables import TABLE_TYPES, alias_draw, sampling_tables
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_PARALLEL_RETURNS = 100_000


def _sample_returns(
    seed: int,
    state: int,
    most_steps: int,
    gamma: float,
    row_ptr: Any,
    following: Any,
    reward: Any,
    cut: Any,
    alias: Any,
    start_cut: Any,
    start_alias: Any,
    out: Any,
) -> None:
    """Write the discounted sums of the first `most_steps` rewards of episodes from `state`."""
    key = stream_key(seed, 0, state)
    for n in prange(len(out)):
        s, total, weight, t = state, 0.0, 1.0, 0
        while s >= 0 and t < most_steps:
            first = row_ptr[s]
            u = uniform(bits(key, n, t))
            k = alias_draw(first, row_ptr[s + 1] - first, cut, alias, u)
            total += weight * reward[k]
            weight *= gamma
            s = int64(following[k])
            t += 1
        out[n] = total


_TYPES = (int64, int64, int64, float64, *TABLE_TYPES, writes(float64))
sample_returns_serial = kernel(*_TYPES)(_sample_returns)
sample_returns_parallel = kernel(*_TYPES, parallel=True)(_sample_returns)


def sampled_returns(
    mdp: FiniteMDP, policy: ArrayLike, state: int, n: int, *, seed: int = 0, most_steps: int = 10_000
) -> NDArray[np.float64]:
    """n independent returns from `state` under a policy, (n,), in units of return.

    policy: as in `as_stochastic`. most_steps: at most 2^24; a return holds no more rewards than that, and what it
    leaves out is at most discount^most_steps times the largest value of an absolute reward sum. Return i is a function
    of (seed, state, i) alone. Raises ParameterError for numbers out of range, MDPError for a policy that is none.
    """
    for name, value, least, most in (
        ("state", state, 0, mdp.n_states - 1),
        ("n", n, 1, 2**40 - 1),
        ("seed", seed, 0, 2**63 - 1),
        ("most_steps", most_steps, 1, MOST_DRAWS),
    ):
        require_whole(name, value, least, most)
    out = np.empty(n)
    run = sample_returns_parallel if n >= _PARALLEL_RETURNS else sample_returns_serial
    run(seed, state, most_steps, mdp.discount, *sampling_tables(induced_chain(mdp, policy)).arguments, out)
    return out


def dkw_band(n: int, failure: float) -> float:
    """How far an empirical distribution function of n draws may be from the true one, but with chance `failure`.

    The Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant (1990): sqrt(ln(2 / failure) / (2 n)).
    """
    require_whole("n", n, 1, 2**63 - 1)
    if not isinstance(failure, Real) or not 0 < failure < 1:
        raise ParameterError(f"failure is {failure!r}, but it is a chance; give a number between 0 and 1")
    return math.sqrt(math.log(2.0 / failure) / (2 * n))
