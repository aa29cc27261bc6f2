"""Returns put together from a rollout, backwards from its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def lambda_returns(
    reward: Float[Array, "T ..."],
    discount: Float[Array, "T ..."],
    following: Float[Array, "T ..."],
    trust: Float[Array, "T ..."],
) -> Float[Array, "T ..."]:
    """G_t = r_t + discount_t ((1 - trust_t) following_t + trust_t G_{t+1}), with G_T = following_{T-1}.

    following: the value of where step t led to. discount: 0 where the world ended there. trust: lambda, and 0 where
    what is stored behind step t does not follow from it, as after a time limit (Sutton & Barto 2018, eq. 12.18; with
    the greatest action value as `following` this is Peng & Williams 1996).
    """

    def backwards(later: Array, now: tuple[Array, ...]) -> tuple[Array, Array]:
        reward, discount, following, trust = now
        found = reward + discount * ((1 - trust) * following + trust * later)
        return found, found

    _, found = jax.lax.scan(backwards, following[-1], (reward, discount, following, trust), reverse=True)
    return found
