"""Experience replay in arrays: rows are written side by side, batches are drawn, returns of n steps are put together.

    R = r_0 + gamma r_1 + ... + gamma^{m-1} r_{m-1},    target = R + discount q(bootstrap observation)

m is n, or less where the episode ended or nothing newer is stored yet; discount is gamma^m, or 0 where the world ended.
A time limit cuts the sum without making the discount 0: the value of the last observation is what would have followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from rlbook.deep import sum_tree
from rlbook.deep.episodes import Row
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, PRNGKeyArray


class Memory(NamedTuple):
    """What is stored: rows, (capacity, environments, ...); how many have ever been written; priorities, if any."""

    rows: Row
    written: Int[Array, ""]
    priorities: Float[Array, "tree"] | None
    largest: Float[Array, ""]


class Batch(NamedTuple):
    """Rows drawn for an update, (batch, ...); see the module's text for reward, discount and bootstrap observation.

    weight: of each row's loss, greatest 1 (Schaul et al. 2016, section 3.4). index: where each row is stored.
    """

    observation: Float[Array, "batch ..."]
    action: Array
    reward: Float[Array, "batch"]
    discount: Float[Array, "batch"]
    bootstrap_observation: Float[Array, "batch ..."]
    weight: Float[Array, "batch"]
    index: Int[Array, "batch"]  # type: ignore[assignment]


class Learned(NamedTuple):
    """What an update from a batch tells: an error of each row, for priorities, and scalars to be recorded."""

    error: Float[Array, "batch"]
    metrics: dict[str, Float[Array, ""]]


Update = Callable[[Any, Batch, Any], tuple[Any, Learned]]

_LEAST_ERROR = 1e-6  # so that every row keeps a chance (Schaul et al. 2016, section 3.3)


class Replay(eqx.Module):
    """Experience that is stored, and drawn at random many times (Lin 1992).

    every: steps of each environment between two updates. capacity: rows kept, rounded up to whole blocks of `every`
    steps. warm_up: rows before the first update. n_step: rewards in a target. prioritised: whether rows are drawn in
    proportion to |error|^priority_exponent and weighed by (N P)^-importance_exponent (Schaul et al. 2016, eq. 1), an
    exponent that goes to 1 as training ends, or evenly.
    """

    discount: Float[Array, ""] | float
    every: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    warm_up: int = eqx.field(static=True)
    environments: int = eqx.field(static=True, default=1)
    n_step: int = eqx.field(static=True, default=1)
    prioritised: bool = eqx.field(static=True, default=False)
    priority_exponent: Float[Array, ""] | float = 0.6
    importance_exponent: Float[Array, ""] | float = 0.4

    def __check_init__(self) -> None:
        if self.warm_up < 1:
            raise ParameterError(f"warm_up is {self.warm_up}, but something must be stored before it is drawn")
        if self.capacity < self.warm_up:
            raise ParameterError(
                f"capacity is {self.capacity}, less than {self.warm_up} rows of warm-up; raise it, or warm up less"
            )

    @property
    def length(self) -> int:
        """Steps of each environment between two updates."""
        return self.every

    @property
    def steps(self) -> int:
        """Steps of each environment that are kept."""
        return self.every * math.ceil(self.capacity / (self.every * self.environments))

    @property
    def idle_units(self) -> int:
        """Blocks of steps before the first update."""
        return math.ceil(self.warm_up / (self.every * self.environments))

    def prepare(self, row: Row) -> Memory:
        """An empty memory for rows such as this one, of a single step of a single environment."""
        shape = (self.steps, self.environments)
        rows = jax.tree.map(lambda leaf: jnp.zeros(shape + leaf.shape, leaf.dtype), row)
        tree = sum_tree.empty(math.prod(shape)) if self.prioritised else None
        return Memory(rows, jnp.int32(0), tree, jnp.float32(1.0))

    def remember(self, memory: Memory, rows: Row) -> Memory:
        """Store a block of rows, (every, environments, ...), over the oldest; new rows get the largest priority."""
        at = memory.written % self.steps
        stored = jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, at, 0), memory.rows, rows)
        tree = memory.priorities
        if tree is not None:
            count = self.every * self.environments
            index = at * self.environments + jnp.arange(count)
            tree = sum_tree.write(tree, index, jnp.full(count, memory.largest))
        # Counting on would overflow after 2^31 steps; more than full is full.
        written = memory.written + self.every
        return memory._replace(rows=stored, written=_wrapped(written, self.steps), priorities=tree)

    def draw(self, memory: Memory, key: PRNGKeyArray, progress: Float[Array, ""]) -> Batch:
        """A batch, with replacement. progress: in [0, 1], of training."""
        stored = jnp.minimum(memory.written, self.steps) * self.environments
        weight = jnp.ones(self.batch)
        if memory.priorities is None:
            index = jax.random.randint(key, (self.batch,), 0, stored)
        else:
            # One draw from each of `batch` equal parts of the sum (Schaul et al. 2016, section 3.3).
            parts = (jnp.arange(self.batch) + jax.random.uniform(key, (self.batch,))) / self.batch
            index = sum_tree.draw(memory.priorities, parts)
            chance = memory.priorities[len(memory.priorities) // 2 + index] / memory.priorities[1]
            beta = self.importance_exponent + (1 - self.importance_exponent) * progress
            weight = (stored * chance) ** -beta
            weight = weight / weight.max()
        return self._assemble(memory, index, weight)

    def learn(
        self, update: Update, state: Any, memory: Memory, rows: Row, key: PRNGKeyArray, progress: Float[Array, ""]
    ) -> tuple[Any, Memory, dict[str, Array]]:
        """One update from one batch; `rows` are stored already. update: (state, batch, key) -> (state, `Learned`)."""
        drawing, updating = jax.random.split(key)
        batch = self.draw(memory, drawing, progress)
        state, learned = update(state, batch, updating)
        return state, self.renew(memory, batch.index, learned.error), learned.metrics

    def renew(self, memory: Memory, index: Int[Array, "batch"], error: Float[Array, "batch"]) -> Memory:
        """Give rows the priorities that belong to the errors just seen."""
        if memory.priorities is None:
            return memory
        priority = (jnp.abs(error) + _LEAST_ERROR) ** self.priority_exponent
        tree = sum_tree.write(memory.priorities, index, priority)
        return memory._replace(priorities=tree, largest=jnp.maximum(memory.largest, priority.max()))

    def _assemble(self, memory: Memory, index: Int[Array, "batch"], weight: Float[Array, "batch"]) -> Batch:
        rows, n = memory.rows, self.n_step
        step, environment = index // self.environments, index % self.environments
        newest = (memory.written - 1) % self.steps
        ahead = (step + jnp.arange(n)[:, None]) % self.steps  # (n_step, batch)
        over = rows.terminated[ahead, environment] | rows.truncated[ahead, environment] | (ahead == newest)
        # The window ends with the first row that is over; what is stored behind it belongs to something else.
        before = jnp.concatenate([jnp.zeros_like(over[:1]), over[:-1]])
        within = jnp.cumsum(before, axis=0) == 0
        powers = self.discount ** jnp.arange(n + 1)
        reward = jnp.sum(jnp.where(within, rows.reward[ahead, environment], 0.0) * powers[:-1, None], axis=0)
        count = within.sum(axis=0)
        last = ahead[count - 1, jnp.arange(len(index))]
        return Batch(
            observation=rows.observation[step, environment],
            action=rows.action[step, environment],
            reward=reward,
            discount=jnp.where(rows.terminated[last, environment], 0.0, powers[count]),
            bootstrap_observation=rows.next_observation[last, environment],
            weight=weight,
            index=index,
        )


def _wrapped(written: Int[Array, ""], steps: int) -> Int[Array, ""]:
    return jnp.where(written >= 2 * steps, written - steps, written)
