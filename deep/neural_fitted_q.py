"""Neural fitted Q iteration: what DQN does, with new transitions and a fit to the end in each iteration.

    q_{k+1} = the network that makes  sum over n rows of (r + discount max_b q_k(s', b) - q(s, a))^2  least

Algorithm 1 of Fan, Wang, Xie & Yang (2020), *A Theoretical Analysis of Deep Q-Learning*, on a finite MDP: the n rows
are drawn anew for each k, their pairs evenly. The fit is Adam's, whose step size falls to 0 along a line, over all rows
at once; it starts from the network of the iteration before, so that steps add up while targets hardly move. The
network's actions share their hidden units, as DQN's do; in the paper each action has its own.

Rows of the same transition are the same numbers, so it is enough to know how often each transition was drawn: the sum
of squares is that of the drawn pairs' mean targets, but for what no network changes. So a step costs as much with a
million rows as with a hundred, and one program serves every n.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlbook.deep.compilation_cache import keep_programs
from rlbook.deep.networks import Torso
from rlbook.errors import ParameterError
from rlbook.tabular.approximation import FittedIterates
from rlbook.tabular.bellman import action_values
from rlbook.tabular.operators.q_vectors import state_maxima
from rlbook.whole_numbers import require_whole

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray
    from numpy.typing import ArrayLike, NDArray

    from rlbook.mdp import FiniteMDP

_MOST_ROWS = 2**31 - 1
_MOST_SEED = 2**32 - 1


class Network(eqx.Module):
    """Action values of a state's features, (A,); without hidden layers they are linear in the features."""

    torso: Torso
    head: eqx.nn.Linear

    def __init__(self, features: int, widths: Sequence[int], actions: int, key: PRNGKeyArray) -> None:
        torso, head = jax.random.split(key)
        self.torso = Torso((features,), widths, torso)
        self.head = eqx.nn.Linear((features, *widths)[-1], actions, key=head)

    def __call__(self, features: Float[Array, "d"]) -> Float[Array, "A"]:
        return self.head(self.torso(features))


class Model(NamedTuple):
    """The MDP as arrays, with transitions t of pairs p; a transition that ends the episode has `going` 0."""

    features: Float[Array, "S d"]
    pair_state: Int[Array, "p"]
    pair_action: Int[Array, "p"]
    pair: Int[Array, "t"]
    reward: Float[Array, "t"]
    next_state: Int[Array, "t"]
    going: Float[Array, "t"]


def neural_fitted_q(
    mdp: FiniteMDP,
    features: ArrayLike,
    draws: Sequence[int | None],
    iterations: int,
    *,
    widths: Sequence[int] = (64,),
    steps: int = 300,
    step_size: float = 0.01,
    seed: int = 0,
) -> tuple[FittedIterates, ...]:
    """Run K iterations from q_0 = 0 with each number of rows, side by side from the same first network.

    features: of states, finite, (S, d). draws: rows n of each iteration, from 1; None takes the exact backup of every
    pair, all pairs alike. iterations: K, at least 1. widths: units of each hidden layer; none is a linear fit. steps,
    step_size: of Adam in each iteration. What a seed gives does not depend on other seeds. Raises ParameterError for
    values out of range.
    """
    seen = np.asarray(features, dtype=np.float32)
    if seen.ndim != 2 or len(seen) != mdp.n_states or 0 in seen.shape or not np.isfinite(seen).all():
        raise ParameterError(
            f"features have shape {seen.shape}; give a row of finite numbers for each of {mdp.n_states} states"
        )
    if not draws:
        raise ParameterError("draws is empty; name at least one number of rows, or None for exact backups")
    for n in draws:
        if n is not None:
            require_whole("draws", n, 1, _MOST_ROWS)
    require_whole("iterations", iterations, 1, 10_000)
    require_whole("steps", steps, 1, 1_000_000)
    require_whole("seed", seed, 0, _MOST_SEED)
    if not 0 < step_size <= 1:
        raise ParameterError(f"step_size is {step_size!r}, but Adam's is above 0 and at most 1; 0.01 is usual here")
    for width in widths:
        require_whole("widths", width, 1, 65_536)
    keep_programs()
    lengths = np.diff(mdp.row_ptr)
    paid = mdp.reward if mdp.reward is not None else np.repeat(mdp.expected_reward, lengths)
    going = np.arange(mdp.n_transitions) < np.repeat(mdp.continuing_end, lengths)
    model = Model(
        features=jnp.asarray(seen),
        pair_state=jnp.asarray(mdp.pair_state),
        pair_action=jnp.asarray(mdp.action),
        pair=jnp.asarray(np.repeat(np.arange(mdp.n_pairs, dtype=np.int32), lengths)),
        reward=jnp.asarray(paid, dtype=jnp.float32),
        next_state=jnp.asarray(np.where(going, mdp.next_state, 0)),
        going=jnp.asarray(going, dtype=jnp.float32),
    )
    drawn = np.stack([shares(mdp, n, iterations, seed) for n in draws])
    q = np.asarray(
        _iterate(
            model,
            jnp.asarray(drawn, dtype=jnp.float32),
            jax.random.key(np.uint32(seed)),
            np.float32(mdp.discount),
            np.float32(step_size),
            widths=tuple(widths),
            actions=mdp.n_actions,
            steps=int(steps),
        ),
        dtype=np.float64,
    )
    return tuple(_told(mdp, np.concatenate([np.zeros((1, mdp.n_pairs)), iterates])) for iterates in q)


def shares(mdp: FiniteMDP, n: int | None, iterations: int, seed: int) -> NDArray[np.float64]:
    """The part that each transition has in the rows of each iteration, (K, t)."""
    law = mdp.probability / mdp.n_pairs
    if n is None:
        return np.tile(law, (iterations, 1))
    return np.random.default_rng([seed, n]).multinomial(n, law / law.sum(), size=iterations) / n


def _told(mdp: FiniteMDP, iterates: NDArray[np.float64]) -> FittedIterates:
    exact = np.stack([action_values(mdp, state_maxima(mdp, q)) for q in iterates[:-1]])
    return FittedIterates(iterates, iterates[1:] - exact)


@partial(jax.jit, static_argnames=("widths", "actions", "steps"))
def _iterate(
    model: Model,
    drawn: Float[Array, "sizes K t"],
    key: PRNGKeyArray,
    discount: Float[Array, ""],
    step_size: Float[Array, ""],
    *,
    widths: tuple[int, ...],
    actions: int,
    steps: int,
) -> Float[Array, "sizes K p"]:
    states, pairs = len(model.features), len(model.pair_state)
    adam = optax.adam(optax.linear_schedule(step_size, 0.0, steps))

    def values(network: Network) -> Float[Array, "p"]:
        return jax.vmap(network)(model.features)[model.pair_state, model.pair_action]

    def loss(network: Network, mean: Float[Array, "p"], weight: Float[Array, "p"]) -> Float[Array, ""]:
        return jnp.sum(weight * jnp.square(mean - values(network)))

    def iteration(before: tuple[Network, Array], drawn: Float[Array, "t"]) -> tuple[tuple[Network, Array], Array]:
        network, q = before
        best = jax.ops.segment_max(q, model.pair_state, states)
        target = model.reward + discount * model.going * best[model.next_state]
        weight = jax.ops.segment_sum(drawn, model.pair, pairs)
        mean = jax.ops.segment_sum(drawn * target, model.pair, pairs) / jnp.where(weight > 0, weight, 1.0)

        def step(at: tuple[Network, optax.OptState], _: None) -> tuple[tuple[Network, optax.OptState], None]:
            network, state = at
            change, state = adam.update(jax.grad(loss)(network, mean, weight), state)
            return (optax.apply_updates(network, change), state), None

        (network, _), _ = jax.lax.scan(step, (network, adam.init(network)), None, steps)
        q = values(network)
        return (network, q), q

    def run(drawn: Float[Array, "K t"]) -> Float[Array, "K p"]:
        first = Network(model.features.shape[1], widths, actions, key)
        return jax.lax.scan(iteration, (first, jnp.zeros(pairs)), drawn)[1]

    return jax.vmap(run)(drawn)
