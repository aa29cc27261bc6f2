"""Names, parameters and making of environments; the environments themselves are in the sibling modules."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Annotated, Any, get_type_hints

from pydantic import Field, create_model

from rlbook.errors import MissingExtraError, ParameterError, RlbookError, UnknownNameError
from rlbook.mdp import FiniteMDP
from rlbook.parameters import Parameters

Discount = Annotated[float, Field(ge=0.0, le=1.0, description="weight of the next step's value, in [0, 1]")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, description="seed of what is drawn at random")]

# In the order of the catalogue. A new module of environments is named here.
_MODULES = (
    "grids",
    "mazes",
    "toy_text",
    "chains",
    "counterexamples",
    "gambler",
    "car_rental",
    "inventory",
    "battery",
    "queueing",
    "deep_sea",
    "garnet",
    "icu_sepsis",
)
_registered: dict[str, Environment] = {}


@dataclass(frozen=True)
class Environment:
    """One entry of the catalogue: `make` builds its MDP from keyword parameters, which `model` describes."""

    name: str
    summary: str
    model: type[Parameters]
    build: Callable[..., FiniteMDP]

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameter names and their defaults, in order."""
        return {name: info.get_default() for name, info in self.model.model_fields.items()}

    @property
    def source(self) -> str:
        """The environment's docstring: what it is, and where it comes from."""
        return inspect.getdoc(self.build) or ""

    def make(self, **parameters: Any) -> FiniteMDP:
        """Build the MDP; raises ParameterError with a sentence, MissingExtraError without its data."""
        try:
            values = self.model.parse(parameters)
            return self.build(**{name: getattr(values, name) for name in self.model.model_fields})
        except ParameterError as error:
            raise ParameterError(f"{self.name}: {error}") from None

    def describe(self) -> dict[str, Any]:
        """Plain values for listings: name, numbers of states and actions at the defaults, summary.

        The numbers are None where the environment's data is not installed; the summary then says what to install.
        """
        try:
            states, actions = _sizes(self)
        except MissingExtraError as error:
            return {"name": self.name, "states": None, "actions": None, "summary": f"{self.summary} ({error})"}
        return {"name": self.name, "states": states, "actions": actions, "summary": self.summary}


def environment(name: str, summary: str) -> Callable[[Callable[..., FiniteMDP]], Callable[..., FiniteMDP]]:
    """Put a function into the catalogue; its annotated keyword parameters, all with defaults, are the environment's."""

    def register(build: Callable[..., FiniteMDP]) -> Callable[..., FiniteMDP]:
        if name in _registered and _registered[name].build.__module__ != build.__module__:
            raise RlbookError(f"environment {name!r} is already in the catalogue; choose another name")
        hints = get_type_hints(build, include_extras=True)
        fields: dict[str, Any] = {
            parameter.name: (hints[parameter.name], parameter.default)
            for parameter in inspect.signature(build).parameters.values()
        }
        model = create_model(f"{build.__name__}_parameters", __base__=Parameters, **fields)
        _registered[name] = Environment(name, summary, model, build)
        return build

    return register


def catalogue() -> tuple[Environment, ...]:
    """All environments, in order."""
    for module in _MODULES:
        import_module(f"rlbook.environments.{module}")
    return tuple(_registered.values())


def find(name: str) -> Environment:
    """The environment of this name; raises UnknownNameError with the nearest names."""
    known = {entry.name: entry for entry in catalogue()}
    if name not in known:
        raise UnknownNameError("environment", name, known)
    return known[name]


def make(name: str, **parameters: Any) -> FiniteMDP:
    """Build an environment's MDP: `make("garnet", states=200)` or `make("garnet(states=200)")`.

    Raises UnknownNameError, ParameterError or MissingExtraError, each with a sentence.
    """
    name, given = merged_call(name, parameters)
    return find(name).make(**given)


def merged_call(text: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """`parse_call`, with further parameters; raises ParameterError where one is given twice."""
    name, written = parse_call(text)
    for twice in sorted(set(written) & set(parameters)):
        raise ParameterError(f"{name}: parameter {twice!r} is given twice; give it in the text or as a keyword")
    return name, {**written, **parameters}


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """Split "name(parameter=value, ...)" into name and parameters; values are literals, nothing is evaluated."""
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    if not bracket:
        return name, {}
    way_out = "write it like garnet(states=200, seed=3)"
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ParameterError(f"{text!r} does not give parameters by name; {way_out}")
        if any(keyword.arg is None for keyword in call.keywords):
            raise ParameterError(f"{text!r} does not give parameters by name; {way_out}")
        return name, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ParameterError:
        raise
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise ParameterError(f"{text!r} is not a name with parameters; {way_out}") from None


@cache
def _sizes(entry: Environment) -> tuple[int, int]:
    mdp = entry.make()
    return mdp.n_states, mdp.n_actions
