"""Verdicts: what a lab concludes about its claim, from numbers and a threshold written down beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlbook.errors import RlbookError

Status = Literal["holds", "fails", "inconclusive"]
Relation = Literal["<=", ">=", "within"]

SIGNS: Mapping[Status, str] = MappingProxyType({"holds": "✓", "fails": "✗", "inconclusive": "?"})


class Source(BaseModel):
    """Where a claim comes from, precisely enough to be looked up."""

    model_config = ConfigDict(frozen=True)

    reference: str = Field(description="authors, title, year")
    where: str = Field(description="equation, theorem, table or figure in it")

    def __str__(self) -> str:
        return f"{self.reference}, {self.where}"


class Verdict(BaseModel):
    """A claim held against measured numbers.

    `interval` is what the numbers leave open about `estimate`: a confidence interval where the statistic is sampled,
    the reach of rounding and certification where it is computed. The claim is `statistic relation threshold`; for
    "within", `threshold` is a pair and the statistic must lie inside it. The status follows from the interval alone:
    *holds* when all of it satisfies the relation, *fails* when none of it does, else *inconclusive*.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    claim: str
    source: Source
    statistic: str = Field(description="what was measured, in words")
    estimate: float
    interval: tuple[float, float]
    interval_kind: str = Field(description='for example "95% Student t over seeds" or "certified bounds"')
    relation: Relation
    threshold: float | tuple[float, float]
    n: int = Field(ge=1, description="number of seeds")
    note: str = Field(default="", description="why it fails or stays open, or what a reader should know")
    preview: bool = Field(default=False, description="whether it rests on fewer seeds than the verdict budget")

    @model_validator(mode="after")
    def _interval_holds_estimate(self) -> Verdict:
        low, high = self.interval
        if math.isnan(self.estimate) or math.isnan(low) or math.isnan(high) or not low <= self.estimate <= high:
            raise RlbookError(f"interval {self.interval} does not contain the estimate {self.estimate}")
        if (self.relation == "within") != isinstance(self.threshold, tuple):
            raise RlbookError(f"threshold {self.threshold} does not fit the relation {self.relation!r}")
        bottom, top = self._allowed
        if not bottom < top:
            raise RlbookError(f"threshold {self.threshold} allows nothing; give numbers in increasing order")
        return self

    @property
    def status(self) -> Status:
        low, high = self.interval
        bottom, top = self._allowed
        if bottom <= low and high <= top:
            return "holds"
        if high < bottom or low > top:
            return "fails"
        return "inconclusive"

    @property
    def _allowed(self) -> tuple[float, float]:
        if isinstance(self.threshold, tuple):
            return self.threshold
        return (-math.inf, self.threshold) if self.relation == "<=" else (self.threshold, math.inf)

    @property
    def rule(self) -> str:
        """What was claimed of the statistic, for example "<= 0.9" or "within [0.3, 0.7]"; ASCII, as terminals need."""
        if isinstance(self.threshold, tuple):
            return f"within [{self.threshold[0]:.6g}, {self.threshold[1]:.6g}]"
        return f"{self.relation} {self.threshold:.6g}"

    def sentence(self) -> str:
        """One line for a terminal or a badge: status, measured value, threshold, n."""
        low, high = self.interval
        seeds = f"n = {self.n}{' (preview)' if self.preview else ''}"
        measured = f"{self.statistic} = {self.estimate:.6g} [{low:.6g}, {high:.6g}]"
        text = f"{self.status}: {measured}, claimed {self.rule}; {seeds}"
        return f"{text}. {self.note}" if self.note else text

    def to_json(self) -> dict[str, object]:
        """Plain values for JSON, the status included."""
        return {**self.model_dump(mode="json"), "status": self.status}


def combine(statuses: list[Status]) -> Status:
    """The status of several verdicts taken together: one failure fails, one open question leaves all open."""
    if not statuses:
        raise ValueError("there are no verdicts to combine")
    for status in ("fails", "inconclusive"):
        if status in statuses:
            return status
    return "holds"
