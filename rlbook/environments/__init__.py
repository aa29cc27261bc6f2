"""The environment catalogue: MDPs by name.

    make("frozenlake-8x8")
    make("garnet", states=200, seed=3)
    make("garnet(states=200, seed=3)")

Each is a function with the decorator `environment` in a module of this package; its docstring says where it comes from.
"""

from __future__ import annotations

from rlbook.environments.registry import Environment, catalogue, environment, find, make, merged_call, parse_call

__all__ = ["Environment", "catalogue", "environment", "find", "make", "merged_call", "parse_call"]
