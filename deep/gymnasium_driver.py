"""The Gymnasium driver: any environment that Gymnasium makes, stepped by Python; the agent is compiled all the same.

Each episode begins with a reset under a seed of its own, which is the one that the compiled driver uses. So, wrapped by
`to_gymnasium`, an environment in JAX gives the same training in both; and any environment whose draws follow from its
seed is brought back to where it was by taking the same actions again, which is how training is resumed. Memory and
updates are the compiled driver's own, so that the two agree, as a rule to the last bit: now and then a loop is compiled
to other roundings than its body alone (seen with dueling networks and prioritised returns of several steps).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rlbook.deep.algorithm import Algorithm, Spaces
from rlbook.deep.array_files import ArrayFileError, leaves_of, tree_of
from rlbook.deep.block import Block, Carry, absorb, beginning, block_of, evaluation_source
from rlbook.deep.config import Config
from rlbook.deep.environments.interface import Continuous, Discrete
from rlbook.deep.episodes import Ending, Row, episode_seed
from rlbook.errors import ParameterError

if TYPE_CHECKING:
    import gymnasium
    from jaxtyping import Array
    from numpy.typing import NDArray


class GymnasiumTraining:
    """Training of one seed on Gymnasium environments made by `make`, one for each that the agent wants side by side."""

    def __init__(
        self, algorithm: Algorithm, config: Config, make: Callable[[], gymnasium.Env[Any, Any]], seed: int, horizon: int
    ) -> None:
        """horizon: steps of all of training. Raises ParameterError for spaces that no agent here can take."""
        self._algorithm, self._config, self._seed = algorithm, config, np.uint32(seed)
        self._horizon = np.float32(horizon)
        kind = algorithm.experience(config)
        self._make = make
        self._worlds = [make() for _ in range(kind.environments)]
        self._judge: gymnasium.Env[Any, Any] | None = None
        self.spaces = spaces_of(self._worlds[0])
        self.carry, sources = _start(algorithm, config, self.spaces, self._seed)
        self._sources = list(sources)
        self._numbers = [0] * kind.environments
        self._totals = [np.float32(0.0)] * kind.environments
        self._taken: list[list[Any]] = [[] for _ in self._worlds]
        self._seen = np.stack([self._reset(e) for e in range(kind.environments)])

    def advance(self, units: int, *, learning: bool) -> tuple[dict[str, NDArray[Any]], Ending]:
        """Run `units`; metrics of each, and endings (units, length, E)."""
        told = []
        for _ in range(units):
            block = _block(self._algorithm, self._config, self.carry, self._horizon)
            rows, endings = self._collect(block)
            self.carry, metrics = _absorb(self._algorithm, self._config, self.carry, rows, block, learning=learning)
            told.append((metrics, endings))
        return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *told)  # type: ignore[no-any-return]

    def evaluate(self, first: int, episodes: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Returns and lengths of greedy episodes, of the numbers `first` and following, in a world of their own."""
        if self._judge is None:
            self._judge = self._make()
        source = evaluation_source(self._seed)
        returns, lengths = np.zeros(episodes, np.float32), np.zeros(episodes, np.int32)
        for n in range(episodes):
            seed = int(_episode_seed(source, np.int32(first + n)))
            seen, over = self._observed(self._judge.reset(seed=seed)[0]), False
            while not over:
                action = _greedy(self._algorithm, self._config, self.carry.state, seen)
                raw, reward, terminated, truncated, _ = self._judge.step(_native(action))
                seen, over = self._observed(raw), terminated or truncated
                returns[n] += np.float32(reward)
                lengths[n] += 1
        return returns, lengths

    @property
    def state(self) -> Any:
        """The agent's state."""
        return self.carry.state

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that training goes on from, by name; of the environments, their episodes and the actions taken there."""
        taken = {f"actions {e}": np.array(taken) for e, taken in enumerate(self._taken)}
        return {**leaves_of(self.carry, "carry"), "numbers": np.array(self._numbers), "seen": self._seen, **taken}

    def restore(self, arrays: dict[str, NDArray[Any]], where: str) -> None:
        """Go back to where `snapshot` was: the same resets, and the same actions again.

        Raises ArrayFileError, in which the file is called `where`, if that does not lead to what was seen there.
        """
        self.carry = tree_of(self.carry, arrays, "carry", where)
        self._numbers = [int(n) for n in arrays["numbers"]]
        for e, environment in enumerate(self._worlds):
            self._seen[e] = self._reset(e)
            for action in arrays[f"actions {e}"]:
                raw, reward, *_ = environment.step(_native(action))
                self._seen[e] = self._observed(raw)
                self._totals[e] += np.float32(reward)
                self._taken[e].append(action)
        if not np.array_equal(self._seen, arrays["seen"], equal_nan=True):
            raise ArrayFileError(
                f"training cannot go on from {where}: the environment does not come back to where it was under the "
                "same seed and actions; remove the file to begin again"
            )

    def close(self) -> None:
        for world in [*self._worlds, *([] if self._judge is None else [self._judge])]:
            world.close()

    def _collect(self, block: Block) -> tuple[Row, Ending]:
        rows: list[list[Row]] = []
        endings: list[list[Ending]] = []
        for t in range(len(block.progress)):
            chosen = np.asarray(_act(self._algorithm, self._config, self.carry.state, self._seen, block, np.int32(t)))
            told = [self._step(e, action) for e, action in enumerate(chosen)]
            rows.append([row for row, _ in told])
            endings.append([ending for _, ending in told])
        return _stacked(rows), _stacked(endings)

    def _step(self, e: int, action: Any) -> tuple[Row, Ending]:
        raw, paid, terminated, truncated, _ = self._worlds[e].step(_native(action))
        # An environment may say both; the world's own end is what counts.
        truncated = truncated and not terminated
        following, reward = self._observed(raw), np.float32(paid)
        told: Any = (self._seen[e].copy(), action, reward, following, np.bool_(terminated), np.bool_(truncated))
        self._totals[e] += reward
        self._taken[e].append(action)
        over = terminated or truncated
        ended: Any = (np.bool_(over), self._totals[e], np.int32(len(self._taken[e])))
        self._seen[e] = following
        if over:
            self._numbers[e] += 1
            self._seen[e] = self._reset(e)
        return Row(*told), Ending(*ended)

    def _reset(self, e: int) -> NDArray[np.float32]:
        self._totals[e], self._taken[e] = np.float32(0.0), []
        seed = int(_episode_seed(self._sources[e], np.int32(self._numbers[e])))
        return self._observed(self._worlds[e].reset(seed=seed)[0])

    def _observed(self, raw: Any) -> NDArray[np.float32]:
        """An observation as agents take it: float32, and one-hot where the environment counts its states."""
        import gymnasium

        space = self._worlds[0].observation_space
        if isinstance(space, gymnasium.spaces.Discrete):
            return (np.arange(space.n) == raw - space.start).astype(np.float32)
        return np.asarray(raw, dtype=np.float32)


def spaces_of(environment: gymnasium.Env[Any, Any]) -> Spaces:
    """What an agent has to know of a Gymnasium environment; raises ParameterError for a space that is not supported."""
    import gymnasium

    seen, done, name = environment.observation_space, environment.action_space, name_of(environment)
    if isinstance(seen, gymnasium.spaces.Discrete):
        shape: tuple[int, ...] = (int(seen.n),)
    elif isinstance(seen, gymnasium.spaces.Box):
        shape = seen.shape
    else:
        raise ParameterError(
            f"{name} has observations in {seen}; agents here take a Box or a Discrete space, so wrap it "
            "(gymnasium.wrappers.FlattenObservation makes a Box of many others)"
        )
    if isinstance(done, gymnasium.spaces.Discrete) and done.start == 0:
        return Spaces(shape, Discrete(int(done.n)))
    if isinstance(done, gymnasium.spaces.Box) and len(done.shape) == 1:
        return Spaces(shape, Continuous(tuple(done.low.tolist()), tuple(done.high.tolist())))
    raise ParameterError(
        f"{name} has actions in {done}; agents here take Discrete(n), counted from 0, or a Box of one dimension, so "
        "wrap it with gymnasium.wrappers.TransformAction"
    )


def name_of(environment: gymnasium.Env[Any, Any]) -> str:
    """As Gymnasium registered it, else that of its class."""
    return environment.spec.id if environment.spec is not None else type(environment.unwrapped).__name__


def _native(action: Any) -> Any:
    return action.item() if np.ndim(action) == 0 else np.asarray(action)


def _stacked(told: list[list[Any]]) -> Any:
    """Of (length, E) tuples a tuple of arrays (length, E, ...)."""
    across = [jax.tree.map(lambda *leaves: np.stack(leaves), *line) for line in told]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *across)


_start = jax.jit(beginning, static_argnums=(0, 2))
_episode_seed = jax.jit(episode_seed)


@partial(jax.jit, static_argnums=0)
def _block(algorithm: Algorithm, config: Config, carry: Carry, horizon: Any) -> Block:
    return block_of(algorithm.experience(config), carry, horizon)


@partial(jax.jit, static_argnums=0)
def _act(algorithm: Algorithm, config: Config, state: Any, seen: Any, block: Block, t: Any) -> Array:
    act = partial(algorithm.act, config, state)
    return jax.vmap(act, (0, 0, None))(seen, block.acting[t], block.progress[t])


@partial(jax.jit, static_argnums=0)
def _greedy(algorithm: Algorithm, config: Config, state: Any, seen: Any) -> Array:
    return algorithm.greedy(config, state, seen)


@partial(jax.jit, static_argnums=0, static_argnames="learning", donate_argnums=2)
def _absorb(
    algorithm: Algorithm, config: Config, carry: Carry, rows: Row, block: Block, *, learning: bool
) -> tuple[Carry, dict[str, Array]]:
    return absorb(algorithm, config, carry, rows, block, learning=learning)
