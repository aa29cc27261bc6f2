"""Configurations of agents: validated once, and split into what is compiled and what is an argument of the program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from rlbook.parameters import Parameters


class Config(Parameters):
    """Base of configurations; a field of type float is traced, all others are part of the compiled program.

    So a step size, a discount or a rate of exploration may move without compiling anything, and one program serves
    every value; a batch size or a width may not. A configuration is a pytree whose leaves are its float fields, in the
    order of their declaration. Bounds, defaults and descriptions are those of `Parameters`, so that widgets and command
    line read them. Inside a compiled function the float fields are tracers: never branch on them in Python.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        jax.tree_util.register_pytree_with_keys(cls, cls._flatten, cls._unflatten)

    @classmethod
    def _flatten(cls, config: Config) -> tuple[list[tuple[Any, Any]], tuple[tuple[str, Any], ...]]:
        traced = [(jax.tree_util.GetAttrKey(name), getattr(config, name)) for name in cls.traced()]
        fixed = tuple((name, getattr(config, name)) for name in cls.model_fields if name not in cls.traced())
        return traced, fixed

    @classmethod
    def _unflatten(cls, fixed: tuple[tuple[str, Any], ...], traced: Iterable[Any]) -> Config:
        # Not validated: the values may be tracers, and were validated when the configuration was made.
        return cls.model_construct(**dict(fixed), **dict(zip(cls.traced(), traced, strict=True)))

    @classmethod
    def traced(cls) -> tuple[str, ...]:
        """Names of the fields that may change without a new compilation."""
        return tuple(name for name, field in cls.model_fields.items() if field.annotation is float)
