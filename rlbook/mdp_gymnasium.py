"""Reading the model out of Gymnasium's toy-text environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlbook.errors import MDPError
from rlbook.mdp import FiniteMDP
from rlbook.mdp_rows import from_transitions


def from_gymnasium(env: Any, discount: float, **options: Any) -> FiniteMDP:
    """Build an MDP from an environment that exposes its model as toy-text ones do.

    env: anything whose `env.unwrapped.P[state][action]` is a list of (probability, next state, reward, terminated),
    with states counted from 0; wrappers are looked through, so time limits are not part of the model. Where the
    environment has `initial_state_distrib`, that is the start law; else the start is uniform. Transitions that agree
    in next state, reward and termination are merged, no others. discount: in [0, 1]. options: those of `from_rows`,
    such as `name`, `state_names`, `layout`. Raises MDPError where there is no such model, or it is malformed.

    Source: Gymnasium's toy-text environments (Towers et al., Gymnasium, 2024).
    """
    bare = getattr(env, "unwrapped", env)
    model = getattr(bare, "P", None)
    kind = type(bare).__name__
    if not isinstance(model, (Mapping, Sequence)) or isinstance(model, str) or not len(model):
        raise MDPError(
            f"env is a {kind}, which exposes no model P; only environments like FrozenLake, Taxi and CliffWalking do, "
            "so build this one with FiniteMDP.from_dense or from_csr"
        )
    if isinstance(model, Mapping) and set(model) != set(range(len(model))):
        stray = next(state for state in model if state not in range(len(model)))
        raise MDPError(f"P of {kind} has state {stray!r}; its {len(model)} states must be numbered from 0 without gaps")
    outcomes = [_choices(model[state], state, kind) for state in range(len(model))]
    law = getattr(bare, "initial_state_distrib", None)
    if law is not None and "start" not in options:
        options["start"] = np.array(law, dtype=np.float64)
    spec = getattr(bare, "spec", None)
    options.setdefault("name", kind if spec is None else spec.id)
    return from_transitions(outcomes, discount, **options)


def _choices(choices: Any, state: int, kind: str) -> dict[int, list[tuple[float, int, float, bool]]]:
    pairs = choices.items() if isinstance(choices, Mapping) else enumerate(choices)
    return {int(action): [_transition(one, state, action, kind) for one in listed] for action, listed in pairs}


def _transition(one: Any, state: int, action: int, kind: str) -> tuple[float, int, float, bool]:
    try:
        probability, next_state, reward, terminated = one
        return float(probability), int(next_state), float(reward), bool(terminated)
    except (TypeError, ValueError):
        raise MDPError(
            f"P[{state}][{action}] of {kind} holds {one!r}; give (probability, next state, reward, terminated)"
        ) from None
