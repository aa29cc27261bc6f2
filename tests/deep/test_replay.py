"""Replay against plain Python: what is stored, returns of n steps, prioritised draws and their weights."""

from __future__ import annotations

import pytest

pytest.importorskip("jax", reason="the extra `deep` is not installed")

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from rlbook.deep.episodes import Row
from rlbook.deep.replay import Replay
from rlbook.errors import ParameterError
from rlbook.tabular.learning.prioritised_replay import PrioritisedReplay
from rlbook.tabular.learning.replay_memory import ReplaySettings

pytestmark = pytest.mark.usefixtures("quick_compilation")

DISCOUNT, BATCH = 0.9, 64
SHAPES = {  # every, capacity, environments, n_step
    "one step": (2, 12, 1, 1),
    "three steps, two environments": (2, 20, 2, 3),
    "more steps than are kept": (1, 4, 1, 7),
}

prepare = jax.jit(Replay.prepare)
remember = jax.jit(Replay.remember)
draw = jax.jit(Replay.draw)
renew = jax.jit(Replay.renew)


def replay(every, capacity, environments, n_step, **options) -> Replay:
    return Replay(
        discount=DISCOUNT,
        every=every,
        batch=options.pop("batch", BATCH),
        capacity=capacity,
        warm_up=1,
        environments=environments,
        n_step=n_step,
        **options,
    )


def history(rng, steps, environments) -> Row:
    """Steps of environments; an observation is (step, environment), 1000 more where an episode ends."""
    over = rng.random((steps, environments)) < 0.3
    terminated = over & (rng.random((steps, environments)) < 0.5)
    here = np.stack(np.meshgrid(np.arange(steps), np.arange(environments), indexing="ij"), axis=-1)
    there = np.where(over[..., None], 1000 + here, np.add(here, (1, 0)))
    return Row(
        observation=np.float32(here),
        action=np.int32(rng.integers(0, 9, (steps, environments))),
        reward=np.float32(rng.normal(size=(steps, environments))),
        next_observation=np.float32(there),
        terminated=terminated,
        truncated=over & ~terminated,
    )


def remembered(kind, rows):
    memory = prepare(kind, jax.tree.map(lambda leaf: leaf[0, 0], rows))
    for start in range(0, len(rows.reward), kind.every):
        memory = remember(kind, memory, jax.tree.map(lambda leaf, at=start: leaf[at : at + kind.every], rows))
    return memory


def by_hand(kind, rows, step, environment):
    """Return, discount and bootstrap observation of a row, step by step."""
    total, factor = 0.0, 1.0
    for at in range(step, step + kind.n_step):
        total += factor * rows.reward[at, environment]
        factor *= DISCOUNT
        over = rows.terminated[at, environment] or rows.truncated[at, environment]
        if over or at == len(rows.reward) - 1:
            break
    return total, 0.0 if rows.terminated[at, environment] else factor, rows.next_observation[at, environment]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(1, 30))
def test_batches_are_what_a_plain_loop_puts_together(shape, seed, blocks):
    """Prevents returns that run through an end, into rows already overwritten or not written yet, or into another
    environment; and time limits that are taken for ends of the world."""
    rng, kind = np.random.default_rng(seed), replay(*SHAPES[shape])
    steps = kind.every * blocks
    rows = history(rng, steps, kind.environments)
    drawn = draw(kind, remembered(kind, rows), jax.random.key(seed), jnp.float32(0.5))
    batch = jax.tree.map(np.asarray, drawn)
    kept = range(max(0, steps - kind.steps), steps)
    for i in range(BATCH):
        step, environment = (int(x) for x in batch.observation[i])
        assert step in kept
        assert int(batch.index[i]) == step % kind.steps * kind.environments + environment
        total, discount, following = by_hand(kind, rows, step, environment)
        assert batch.action[i] == rows.action[step, environment]
        assert float(batch.reward[i]) == pytest.approx(total, abs=1e-5)
        assert float(batch.discount[i]) == pytest.approx(discount, abs=1e-6)
        assert np.array_equal(batch.bootstrap_observation[i], following)
    assert np.all(batch.weight == 1)


def test_rows_are_drawn_evenly():
    """Prevents rows that are never drawn: all kept ones are as likely, and no others, when the ring has turned."""
    kind = replay(2, 20, 2, 1, batch=20_000)
    rows = history(np.random.default_rng(1), 24, 2)
    index = draw(kind, remembered(kind, rows), jax.random.key(0), jnp.float32(0)).index
    assert chisquare(np.bincount(index, minlength=20)).pvalue > 1e-3


def prioritised(batch, errors):
    """A memory of 12 rows whose priorities belong to these errors, |e|^0.6."""
    kind = replay(2, 12, 2, 1, batch=batch, prioritised=True, priority_exponent=0.6, importance_exponent=0.4)
    memory = remembered(kind, history(np.random.default_rng(2), 10, 2))
    return kind, renew(kind, memory, jnp.arange(12), jnp.asarray(errors, jnp.float32))


def test_draws_follow_priorities_and_weights_make_up_for_them():
    """Prevents draws by another power of the error, and weights that are not (N P)^-beta over the greatest."""
    errors = np.random.default_rng(3).gamma(1.0, size=12)
    kind, memory = prioritised(40_000, errors)
    chance = (errors + 1e-6) ** 0.6
    chance /= chance.sum()
    for progress in (0.0, 0.5, 1.0):
        batch = draw(kind, memory, jax.random.key(1), jnp.float32(progress))
        weight = (12 * chance) ** -(0.4 + 0.6 * progress)
        assert np.allclose(batch.weight, (weight / weight.max())[batch.index], rtol=1e-4)
    # Draws are stratified, one from each of `batch` equal parts, so counts vary less than in a multinomial.
    assert np.abs(np.bincount(batch.index, minlength=12) - 40_000 * chance).max() <= 2
    one, several = prioritised(1, errors)[0], jax.random.split(jax.random.key(2), 5_000)
    lone = jax.jit(jax.vmap(lambda key: one.draw(memory, key, jnp.float32(0)).index[0]))(several)
    assert chisquare(np.bincount(lone, minlength=12), 5_000 * chance).pvalue > 1e-3


def test_the_tabular_memory_draws_the_same_way():
    """Prevents two definitions of prioritised replay in one book."""
    errors = np.random.default_rng(4).gamma(1.0, size=12)
    kind, memory = prioritised(40_000, errors)
    batch = draw(kind, memory, jax.random.key(1), jnp.float32(0.0))
    tabular = PrioritisedReplay(ReplaySettings(12), {"row": "i8"})
    tabular.update_priorities(tabular.add({"row": np.arange(12)}), errors)
    theirs, weights = tabular.sample(40_000, 0)
    counts = [np.bincount(index, minlength=12) for index in (batch.index, theirs)]
    assert np.abs(counts[0] - counts[1]).max() <= 3
    ours = np.zeros(12)
    ours[batch.index] = batch.weight
    expected = np.zeros(12)
    expected[theirs] = weights
    assert np.allclose(ours, expected, rtol=1e-4)


def test_new_rows_have_the_greatest_priority_yet():
    """Prevents rows that wait for ever to be seen once."""
    kind, memory = prioritised(4, np.full(12, 0.1))
    memory = renew(kind, memory, jnp.asarray([3]), jnp.asarray([7.0]))
    before = np.asarray(memory.priorities)
    after = remember(kind, memory, jax.tree.map(lambda leaf: leaf[:2], history(np.random.default_rng(5), 2, 2)))
    leaves = len(before) // 2
    changed = np.flatnonzero(np.asarray(after.priorities)[leaves:] != before[leaves:])
    assert len(changed) >= 3  # one of the four that are overwritten may be the greatest itself
    assert np.allclose(np.asarray(after.priorities)[leaves + changed], 7.0**0.6, rtol=1e-4)


def test_counting_steps_does_not_overflow():
    """Prevents a memory that forgets after 2^31 steps: what is counted stays below twice the capacity."""
    kind = replay(2, 12, 1, 1)
    rows = history(np.random.default_rng(6), 2, 1)
    memory = prepare(kind, jax.tree.map(lambda leaf: leaf[0, 0], rows))
    for count in range(1, 40):
        memory = remember(kind, memory, rows)
        assert int(memory.written) % kind.steps == 2 * count % kind.steps
        assert min(int(memory.written), kind.steps) == min(2 * count, kind.steps)
        assert int(memory.written) < 2 * kind.steps


@pytest.mark.parametrize(("wrong", "sentence"), [({"warm_up": 0}, "warm_up is 0"), ({"capacity": 5}, "capacity is 5")])
def test_impossible_memories_are_refused(wrong, sentence):
    with pytest.raises(ParameterError, match=sentence):
        Replay(**{"discount": 0.9, "every": 2, "batch": 4, "capacity": 20, "warm_up": 8, **wrong})
