"""DQN on CartPole: `python -m benchmarks deep [--quick] [--repetitions 3]`.

CleanRL's settings: 50,000 steps, an update of 128 rows at every tenth step after 10,000, a 120-84 network, so 4,000
updates. All are timed after one run of the same programs; what is compiled in a timed run counts. Beside each time is
the mean return of the last episodes of training (of 128 greedy episodes for Rejax, which keeps no record; they are not
timed, ours are), since a quick agent that does not learn is no agent.

Peers do the same number of updates of as many rows, and differ in what cannot be set:

- Stable-Baselines3 (PyTorch, one thread) and SBX clip errors (the Huber loss), and SBX has two layers of equal width:
  100-100, as many weights. SBX has no limit on the gradient's norm.
- Rejax learns after each step of all its environments: here ten, so that it acts ten times fewer, in batches.

Time per update is that of a block with an update minus that of one without. Its arithmetic is counted as 2 operations
for each weight and row in a pass: one pass forward for the target, one for the prediction, two backward (but the first
layer's inputs need no gradient).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.report import Row, median_seconds, publish

STEPS, SEEDS, ON_ACCELERATOR = 50_000, 8, 256
PER_SEED, AGAINST_JAX, SEEDS_AGAINST_ONE, RETRAIN = 10.0, 2.0, 5.0, 2.0  # goals
_TINY: dict[str, Any] = {"learning_starts": 200, "buffer_size": 400, "batch_size": 8}


Found = float | Callable[[], float]  # the return that a run came to, or what finds it out


@dataclass(frozen=True)
class Race:
    """What is run: steps of training, settings of ours that are not the defaults, how often each is timed."""

    steps: int
    settings: dict[str, Any]
    repetitions: int


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks deep", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps, to see that all runs")
    parser.add_argument("--repetitions", type=int, default=3, help="timed runs of each, after one that is not timed")
    given = parser.parse_args(arguments)
    race = Race(600, _TINY, 1) if given.quick else Race(STEPS, {}, given.repetitions)
    packages = ("jax", "stable_baselines3", "torch", "sbx-rl", "rejax")
    publish("deep_quick" if given.quick else "deep", rows(race, peers=not given.quick), packages)


def rows(race: Race, peers: bool = True) -> list[Row]:
    """Ours for one seed and several, peers, ratios, a lab's re-training, and the time of an update."""
    what = f"DQN on CartPole, {race.steps:,} steps, {_updates(race):,} updates"
    one, made_one = _timed(race.repetitions, lambda again: _ours(race, [again]))
    many, made_many = _timed(race.repetitions, lambda again: _ours(race, range(SEEDS)))
    made = [
        Row(what, "rlbook, one seed", one, "s", remark=made_one),
        Row(what, f"rlbook, {SEEDS} seeds on {os.cpu_count()} cores", many, "s", remark=made_many),
        Row(f"{SEEDS} seeds against one", "rlbook", many / one, "x", SEEDS_AGAINST_ONE, "at most"),
    ]
    if peers:
        for who, run, goal in PEERS:
            made += _against(what, who, run, goal, race, one)
    return [*made, *_together(race), *_retraining(race), *_updating(race)]


def _ours(race: Race, seeds: Sequence[int]) -> float:
    from rlbook.deep import dqn

    result = dqn.train("CartPole-v1", seeds=seeds, steps=race.steps, evaluations=1, **race.settings)
    return float(result.training_return[:, -1].mean())


def _together(race: Race) -> list[Row]:
    """Many seeds as one program, which is what accelerators are for; on a CPU only few, for comparison."""
    import jax

    from rlbook.deep import dqn, make
    from rlbook.deep.vmapped import VmappedTraining

    device = jax.default_backend()
    seeds = SEEDS if device == "cpu" else ON_ACCELERATOR
    config, world = dqn.Config.parse(race.settings), make("CartPole-v1")
    idle, units = config.learning_starts // config.train_every, race.steps // config.train_every

    def run(again: int) -> float:
        training = VmappedTraining(dqn.ALGORITHM, config, world, range(again, again + seeds), race.steps, units)
        training.advance(idle, learning=False)
        training.advance(units - idle, learning=True)
        return float(training.evaluate(10).mean())

    seconds, made = _timed(race.repetitions, run)
    speed = seeds * race.steps / seconds
    remark = f"{speed:.3g} seeds x steps/s; greedy {made}"
    return [Row(f"DQN on CartPole, {seeds} seeds vmapped on {device}", "rlbook", seconds, "s", remark=remark)]


def _updates(race: Race) -> int:
    return (race.steps - race.settings.get("learning_starts", 10_000)) // 10


def _timed(repetitions: int, run: Callable[[int], Found]) -> tuple[float, str]:
    """Median seconds of a run, and the returns that the runs came to; the first run is not timed.

    What a run leaves to be found out is not timed either.
    """
    run(0)
    taken, returns = [], []
    for again in range(repetitions):
        began = time.perf_counter()
        found = run(again)
        taken.append(time.perf_counter() - began)
        returns.append(found() if callable(found) else found)
    return statistics.median(taken), f"return {', '.join(f'{value:.0f}' for value in returns)}"


def _against(what: str, who: str, run: Callable[[Race, int], float], goal: float, race: Race, ours: float) -> list[Row]:
    try:
        theirs, made = _timed(race.repetitions, lambda again: run(race, again))
    except ImportError as error:
        return [Row(what, who, None, "s", remark=f"not installed ({error.name})")]
    ratio = Row(what, f"rlbook, one seed, against {who}", theirs / ours, "x", goal)
    return [Row(what, who, theirs, "s", remark=made), ratio]


def _stable_baselines(race: Race, seed: int) -> float:
    import torch
    from stable_baselines3 import DQN

    torch.set_num_threads(1)
    return _learned(DQN, race, seed, {"max_grad_norm": 10, "device": "cpu"}, [120, 84])


def _sbx(race: Race, seed: int) -> float:
    from sbx import DQN

    return _learned(DQN, race, seed, {}, [100])


def _learned(make: Any, race: Race, seed: int, options: dict[str, Any], widths: list[int]) -> float:
    """Train an agent with Stable-Baselines3's interface, and its mean return of the last 100 episodes."""
    agent = make(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=2.5e-4,
        buffer_size=10_000,
        learning_starts=10_000,
        batch_size=128,
        gamma=0.99,
        train_freq=10,
        gradient_steps=1,
        target_update_interval=500,
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": widths},
        seed=seed,
        **options,
    )
    agent.learn(race.steps)
    return float(np.mean([episode["r"] for episode in agent.ep_info_buffer]))


_rejax_program: list[Any] = []  # compiled once: what Rejax makes of a training is one function of a key


def _rejax(race: Race, seed: int) -> Callable[[], float]:
    import jax
    from flax import linen
    from rejax import DQN
    from rejax.networks import DiscreteQNetwork, EpsilonGreedyPolicy

    if not _rejax_program:
        agent = DQN.create(
            env="CartPole-v1",
            num_envs=10,
            num_epochs=1,
            ddqn=False,
            learning_rate=2.5e-4,
            buffer_size=10_000,
            fill_buffer=10_000,
            batch_size=128,
            target_update_freq=500,
            polyak=0.0,
            exploration_fraction=0.5,
            eps_end=0.05,
            total_timesteps=race.steps,
            eval_freq=race.steps,
            skip_initial_evaluation=True,
        )
        # `create` knows two layers of 64 only.
        network = EpsilonGreedyPolicy(DiscreteQNetwork)((120, 84), linen.relu, action_dim=2)
        silent = agent.replace(agent=network, eval_callback=lambda *_: ())
        _rejax_program.append((jax.jit(silent.train), jax.jit(partial(agent.eval_callback, silent))))
    train, evaluate = _rejax_program[0]
    trained, _ = jax.block_until_ready(train(jax.random.key(seed)))
    return lambda: float(evaluate(trained, jax.random.key(seed + 1))[1].mean())


PEERS: tuple[tuple[str, Callable[[Race, int], Found], float], ...] = (
    ("Stable-Baselines3, one thread", _stable_baselines, PER_SEED),
    ("SBX", _sbx, AGAINST_JAX),
    ("Rejax, ten environments", _rejax, AGAINST_JAX),
)


def _retraining(race: Race) -> list[Row]:
    """What a lab does when a slider moves: eight seeds of 5,000 steps, with another step size each time."""
    import jax.monitoring

    from rlbook.deep import dqn

    steps = min(5_000, race.steps)
    settings = {**race.settings, "learning_starts": min(500, steps // 4)}
    compiled: list[str] = []

    def heard(event: str, seconds: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    def train(rate: float) -> None:
        dqn.train("CartPole-v1", seeds=SEEDS, steps=steps, learning_rate=rate, **settings)

    train(1e-3)
    jax.monitoring.register_event_duration_secs_listener(heard)
    rates = iter(np.linspace(1e-4, 2e-3, 20).tolist())
    seconds = median_seconds(lambda: train(next(rates)), race.repetitions)
    jax.monitoring.unregister_event_duration_listener(heard)
    what = f"re-train {SEEDS} seeds of {steps:,} steps, another step size"
    return [Row(what, "rlbook", seconds, "s", RETRAIN, f"{len(compiled)} compilations, 20 evaluations of each seed")]


def _updating(race: Race) -> list[Row]:
    """Time of an update of three agents, and how much arithmetic that is."""
    from rlbook.deep.algorithms import algorithm

    made = []
    peak = _gemm()
    first = count = 0.0
    for name in ("dqn", "c51", "qr_dqn"):
        agent = algorithm(name)
        config = agent.Config.parse({**_like_dqn(agent.Config), **race.settings})
        seconds = _update_seconds(agent, config)
        operations = _operations(agent, config)
        first, count = first or seconds, count or operations
        speed = operations / seconds / 1e9
        against = f"{seconds / first:.2f} x DQN's, arithmetic {operations / count:.2f} x"
        remark = f"{operations / 1e6:.3g} MFLOP, {speed:.3g} GF/s, {speed / peak:.0%} of GEMM's {peak:.3g}; {against}"
        made.append(Row("an update", f"rlbook, {agent.title}", 1e6 * seconds, "us", remark=remark))
    return made


def _like_dqn(config: Any) -> dict[str, Any]:
    """Rows, steps and widths of DQN's defaults, so that heads are all that differs."""
    from rlbook.deep import dqn

    shared = ("batch_size", "train_every", "buffer_size", "learning_starts", "first_width", "second_width")
    defaults = dqn.Config().model_dump()
    return {name: defaults[name] for name in shared if name in config.model_fields}


def _operations(agent: Any, config: Any) -> float:
    """Floating-point operations of the products in an update."""
    import jax

    from rlbook.deep.algorithm import Spaces
    from rlbook.deep.environments import CartPole

    world = CartPole()
    spaces = Spaces(world.observation_shape, world.action_space)
    network = jax.eval_shape(lambda key: agent.init(config, spaces, key).network, jax.random.key(0))
    sizes = [leaf.size for leaf in jax.tree.leaves(network) if len(leaf.shape) == 2]
    return 2.0 * config.batch_size * (4 * sum(sizes) - sizes[0])


def _update_seconds(agent: Any, config: Any, units: int = 200) -> float:
    """Time of a block with an update minus that of one without, the best of several."""
    from rlbook.deep.compiled import CompiledTraining
    from rlbook.deep.environments import CartPole

    training = CompiledTraining(agent, config, CartPole(), 0, STEPS, units)
    idle = agent.experience(config).idle_units
    for start in range(0, idle, units):
        training.advance(min(units, idle - start), learning=False)

    def best(learning: bool) -> float:
        taken = []
        for _ in range(8):
            began = time.perf_counter()
            training.advance(units, learning=learning)
            taken.append(time.perf_counter() - began)
        return min(taken) / units

    training.advance(units, learning=True)
    return max(best(True) - best(False), 1e-9)


def _gemm(size: int = 512) -> float:
    """Billions of operations a second in XLA's product of two square matrices, single precision."""
    import jax
    import jax.numpy as jnp

    left = jnp.ones((size, size))
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / median_seconds(lambda: product(left, left).block_until_ready(), 9) / 1e9
