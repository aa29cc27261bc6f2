"""rlbook: a reinforcement-learning book whose every claim runs.

The names below load on first use, so that `import rlbook` itself stays quick: no compiler, plotting library or symbolic
algebra is imported before something needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlbook import _clone

if TYPE_CHECKING:
    from rlbook.environments import make
    from rlbook.exogenous_mdp import ExogenousMDP
    from rlbook.function_mdp import FunctionMDP
    from rlbook.lab import Lab
    from rlbook.mdp import FiniteMDP
    from rlbook.mdp_device import DeviceMDP
    from rlbook.registry import find_lab, labs
    from rlbook.tabular import solve
    from rlbook.verdict import Verdict
    from rlbook.widgets import explore

__version__ = "0.1.0"

__all__ = [
    "DeviceMDP",
    "ExogenousMDP",
    "FiniteMDP",
    "FunctionMDP",
    "Lab",
    "Verdict",
    "__version__",
    "explore",
    "find_lab",
    "labs",
    "make",
    "solve",
]

_EXPORTS = {
    "DeviceMDP": "rlbook.mdp_device",
    "ExogenousMDP": "rlbook.exogenous_mdp",
    "FiniteMDP": "rlbook.mdp",
    "FunctionMDP": "rlbook.function_mdp",
    "Lab": "rlbook.lab",
    "Verdict": "rlbook.verdict",
    "explore": "rlbook.widgets",
    "find_lab": "rlbook.registry",
    "labs": "rlbook.registry",
    "make": "rlbook.environments",
    "solve": "rlbook.tabular",
}

_clone.make_folders_importable()


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562); raises AttributeError for any other name."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'rlbook' has no attribute {name!r}; public names: {', '.join(__all__)}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
