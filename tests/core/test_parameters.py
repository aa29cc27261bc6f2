"""Parameter models become controls, and text becomes parameters; what cannot be shown is refused by name."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, model_validator

from rlbook.errors import ParameterError
from rlbook.parameters import Parameters, controls


class Example(Parameters):
    discount: float = Field(0.9, ge=0, le=1, description="discount factor")
    rate: float = Field(0.01, ge=1e-4, le=1)
    open: float = Field(0.5, gt=0, lt=1)
    steps: int = Field(10, ge=1, lt=21)
    world: Literal["a", "b"] = "a"
    order: Literal[1, 2, 4] = 2
    noisy: bool = False


def test_controls_follow_the_declaration():
    by_name = {control.name: control for control in controls(Example)}
    assert list(by_name) == list(Example.model_fields)
    assert (by_name["discount"].low, by_name["discount"].high, by_name["discount"].step) == (0, 1, 0.01)
    assert by_name["discount"].description == "discount factor"
    assert by_name["rate"].scale == "log"
    assert by_name["open"].scale == "linear"
    assert 0 < by_name["open"].low < 1e-300
    assert (by_name["steps"].low, by_name["steps"].high, by_name["steps"].step) == (1, 20, 1)
    assert by_name["world"].choices == ("a", "b")
    assert by_name["noisy"].kind == "toggle"


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"discount": "0.5"}, "discount", 0.5),
        ({"steps": "7"}, "steps", 7),
        ({"order": "4"}, "order", 4),
        ({"order": 4}, "order", 4),
        ({"noisy": "true"}, "noisy", True),
        ({"world": "b"}, "world", "b"),
    ],
)
def test_text_is_converted(given, name, value):
    assert getattr(Example.parse(given), name) == value


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"discout": 1}, "'discout' is unknown; did you mean discount"),
        ({1: 2}, "'1' is unknown"),
        ({"discount": 1.5}, "'discount' is 1.5, but input should be less than or equal to 1"),
        ({"discount": "nan"}, "'discount' is 'nan'"),
        ({"world": "c"}, "'world' is 'c'"),
        ({"order": "3"}, "'order' is '3'"),
        ({"steps": 2.5}, "'steps' is 2.5"),
    ],
)
def test_bad_values_get_a_sentence(given, sentence):
    with pytest.raises(ParameterError, match=sentence):
        Example.parse(given)


def test_equal_parameters_have_one_canonical_form():
    """Prevents two store keys for the same values."""
    minus, plus = Example(discount=-0.0), Example(discount=0.0)
    assert minus == plus
    assert minus.canonical_json() == plus.canonical_json()
    assert (
        Example.parse({"steps": 3, "discount": 0.5}).canonical_json() == Example(discount=0.5, steps=3).canonical_json()
    )


def model_with(field):
    return type("Made", (Parameters,), {"__annotations__": {"x": float}, "x": field})


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        (Field(0.5, ge=0.5, le=0.5), "ranges from 0.5 to 0.5"),
        (Field(0.0, ge=-1e308, le=1e308), "finite range"),
        (Field(ge=0, le=1), "has no default"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(field, sentence):
    with pytest.raises(TypeError, match=rf"'x' .*{sentence}|'x' {sentence}"):
        controls(model_with(field))


def test_a_default_outside_its_bounds_is_refused():
    with pytest.raises(ParameterError, match="'x' is 7"):
        model_with(Field(7.0, ge=0, le=1)).parse({})


def test_the_stricter_of_two_bounds_counts():
    control = controls(model_with(Field(1.0, ge=0, le=10, lt=9)))[0]
    assert 8.9 < control.high < 9


def test_a_rule_between_parameters_speaks_for_itself():
    """Prevents a sentence that begins with all parameters, as the one that is wrong."""

    class Range(Parameters):
        low: float = 0.0
        high: float = 1.0

        @model_validator(mode="after")
        def _ordered(self):
            if self.low >= self.high:
                raise ParameterError(f"low is {self.low}, but must be less than high, {self.high}")
            return self

    with pytest.raises(ParameterError, match=r"^low is 2\.0, but must be less than high, 1\.0$"):
        Range.parse({"low": 2.0})
