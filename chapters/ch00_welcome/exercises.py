"""Exercises of chapter 00."""

from __future__ import annotations

from typing import Any

from rlbook.chapters.ch00_welcome.averages import AverageParameters, AveragesConverge
from rlbook.exercise import Exercise, Hint, expect_number
from rlbook.lab import Context

_HALVINGS = 3


def _how_many_more(answer: Any) -> str:
    factor = expect_number(answer)
    if factor == 2**_HALVINGS:
        raise Hint("That would be right if the error fell as 1/n; look at the slope of the dashed line.")
    if factor != 4**_HALVINGS:
        raise Hint("Read off the figure how many more episodes halve the error once, then do it three times.")
    return "An eighth of the error costs sixty-four times the episodes."


def _break_the_claim(answer: Any) -> str:
    lab = AveragesConverge()
    if not isinstance(answer, dict):
        raise Hint('Give the parameters as a dictionary, such as {"states": 7}.')
    parameters = lab.parse(answer)
    assert isinstance(parameters, AverageParameters)
    verdict = lab.verdict(lab.run(parameters, range(100), Context()))
    if verdict.status == "holds":
        raise Hint("Under these parameters the claim holds. What does it need of the payoff's variance?")
    if verdict.status == "inconclusive":
        raise Hint("The interval still touches the claimed range; move further into the case you have found.")
    return f"The slope is {verdict.estimate:.2f}. A lab's control sets are found in just this way."


EXERCISES = (
    Exercise(
        "the price of precision",
        "By what factor must the number of episodes grow for the typical error to fall to an eighth?",
        _how_many_more,
    ),
    Exercise(
        "break the claim",
        "Find parameters of the lab `averages-converge` under which its verdict is *fails*; answer with a dictionary.",
        _break_the_claim,
    ),
)
