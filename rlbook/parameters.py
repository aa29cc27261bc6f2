"""Parameter models: one pydantic class becomes sliders, command-line options and documentation.

A lab declares `class Parameters(rlbook.parameters.Parameters)` with bounds, defaults and descriptions; everything that
shows or reads parameters (widgets, CLI, `rlbook list`, exported pages) goes through `controls` and `parse`, so no face
of a lab is written by hand.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from rlbook.errors import ParameterError, suggest

Kind = Literal["integer", "real", "choice", "toggle"]
Scale = Literal["linear", "log"]

DECADES_FOR_LOG = 3  # a range that spans this many powers of ten is unusable on a linear slider


class Parameters(BaseModel):
    """Base of parameter models: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Build from names and values (strings are converted); raises ParameterError with a sentence."""
        known = cls.model_fields
        for name in map(str, values):
            if name not in known:
                raise ParameterError(f"parameter {name!r} is unknown; {suggest(name, known)}")
        try:
            return cls(**{name: _from_text(value, known[name].annotation) for name, value in values.items()})
        except ValidationError as error:
            raise ParameterError(_sentence(error)) from None

    def canonical_json(self) -> str:
        """The same text for the same values, whatever the order they were given in."""
        import json

        values = {name: value + 0.0 if isinstance(value, float) else value for name, value in self}  # -0.0 is 0.0
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


class View(Parameters):
    """Base of view parameters: they redraw a result and never re-run it."""


@dataclass(frozen=True)
class Control:
    """How one field is shown and read.

    `label` is the name in words, or the field's `title` where a name cannot say it. `low`, `high` and `step` are in the
    parameter's own units (None where unbounded); `choices` lists allowed values of a "choice"; `scale` is "log"
    where the range spans three decades or more, unless the field says otherwise with
    `json_schema_extra={"scale": ...}`.
    """

    name: str
    kind: Kind
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    scale: Scale = "linear"
    choices: tuple[Any, ...] = ()
    title: str | None = None

    @property
    def label(self) -> str:
        return self.title or self.name.replace("_", " ").strip()

    @property
    def bounded(self) -> bool:
        return self.low is not None and self.high is not None

    @property
    def range(self) -> str:
        """What values there are, in words; empty where any number will do."""
        if self.choices:
            return " | ".join(map(str, self.choices))
        if self.kind == "toggle":
            return "true | false"
        # An open end at zero arrives as the least positive number.
        least = "" if self.low is None else "above 0" if 0 < self.low < 1e-300 else f"from {self.low:,}"
        return " ".join(part for part in (least, "" if self.high is None else f"up to {self.high:,}") if part)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "default": self.default,
            "description": self.description,
            "low": self.low,
            "high": self.high,
            "choices": list(self.choices),
        }


def controls(model: type[Parameters]) -> tuple[Control, ...]:
    """Derive one control per field of a parameter model, in the order of declaration."""
    return tuple(_control(name, info) for name, info in model.model_fields.items())


def _control(name: str, info: Any) -> Control:
    annotation = _without_none(info.annotation)
    if info.is_required():
        raise TypeError(f"parameter {name!r} has no default; give it one, so that a reader has somewhere to start")
    default = info.get_default(call_default_factory=True)
    description = info.description or name.replace("_", " ")
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    if annotation is bool:
        return Control(name, "toggle", default, description, title=info.title)
    if get_origin(annotation) is Literal:
        return Control(name, "choice", default, description, choices=get_args(annotation), title=info.title)
    if annotation not in (int, float):
        raise TypeError(f"parameter {name!r} has type {annotation!r}; use int, float, bool or Literal[...]")
    low, high = _bounds(info.metadata, whole=annotation is int)
    if low is not None and high is not None and not (low < high and math.isfinite(high - low)):
        raise TypeError(f"parameter {name!r} ranges from {low!r} to {high!r}; give it a finite range to move in")
    scale: Scale = "linear"
    if low is not None and high is not None and low > sys.float_info.min and high / low >= 10**DECADES_FOR_LOG:
        scale = "log"  # an open end at zero (gt=0) has no first decade: it stays linear
    scale = extra.get("scale", scale)
    step = extra.get("step")
    if step is None and low is not None and high is not None:
        step = 1 if annotation is int else _round_step((high - low) / 100)
    return Control(
        name,
        "integer" if annotation is int else "real",
        default,
        description,
        low=low,
        high=high,
        step=step,
        scale=scale,
        title=info.title,
    )


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation


def _bounds(metadata: list[Any], whole: bool) -> tuple[float | None, float | None]:
    lows: list[float] = []
    highs: list[float] = []
    for rule in metadata:
        if (value := getattr(rule, "ge", None)) is not None:
            lows.append(value)
        if (value := getattr(rule, "gt", None)) is not None:
            lows.append(value + 1 if whole else math.nextafter(value, math.inf))
        if (value := getattr(rule, "le", None)) is not None:
            highs.append(value)
        if (value := getattr(rule, "lt", None)) is not None:
            highs.append(value - 1 if whole else math.nextafter(value, -math.inf))
    return max(lows, default=None), min(highs, default=None)


def _from_text(value: Any, annotation: Any) -> Any:
    """None or a choice that is written as text, as commands do, where neither is text; other values as they are."""
    kind = _without_none(annotation)
    if not isinstance(value, str):
        return value
    if value == "None" and kind is not annotation:
        return None
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == value), value)
    return value


def _round_step(raw: float) -> float:
    """The step of 1, 2 or 5 times a power of ten nearest below `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return max(factor for factor in (1.0, 2.0, 5.0) if factor * power <= raw * (1 + 1e-9)) * power


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    message = (first["msg"][:1].lower() + first["msg"][1:]).removeprefix("value error, ")
    if not first["loc"]:  # a rule between parameters, which names them itself
        return message
    name = ".".join(str(part) for part in first["loc"])
    return f"parameter {name!r} is {first['input']!r}, but {message}"
