"""One run of a lab as the command line asks for it: parameters from text, the verdict, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlbook.errors import ParameterError
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters
from rlbook.running import judge, run_lab, seed_list
from rlbook.running import preview as preview_lab

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.verdict import Verdict


@dataclass(frozen=True)
class LabRun:
    """A verdict, what it was reached with, and the seconds it took; `result` only where it was asked for."""

    lab: str
    parameters: Parameters
    seeds: int
    seconds: float
    verdict: Verdict
    result: xr.Dataset | None

    def to_json(self) -> dict[str, Any]:
        """Plain values: those of the verdict, with lab, parameters, number of seeds and seconds."""
        return {
            "lab": self.lab,
            "parameters": self.parameters.model_dump(mode="json"),
            "seeds": self.seeds,
            "seconds": self.seconds,
            **self.verdict.to_json(),
        }


def parameters_from(lab: Lab[Any, Any], settings: Sequence[str]) -> Parameters:
    """The lab's parameters from texts "name=value" on top of its first canonical set; raises ParameterError."""
    return lab.parse(named_values(settings))  # type: ignore[no-any-return]


def named_values(settings: Sequence[str]) -> dict[str, str]:
    """Names and values from texts "name=value", each name once; raises ParameterError."""
    values: dict[str, str] = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ParameterError(f"--set {text!r} is not of the form name=value; write it like --set discount=0.9")
        if name in values:
            raise ParameterError(f"--set {name} is given twice, as {values[name]} and as {value}; give it once")
        values[name] = value
    return values


def run_and_judge(
    lab: Lab[Any, Any],
    parameters: Parameters,
    seeds: int | None,
    *,
    preview: bool,
    with_result: bool,
    context: Context,
) -> LabRun:
    """Hold a lab's claim against `seeds` seeds (None: its verdict budget), or against its preview, which is not stored.

    with_result: whether the result is wanted besides the verdict. Raises like `rlbook.running.run_lab`.
    """
    began = time.perf_counter()
    result: xr.Dataset | None = None
    if preview:
        result = preview_lab(lab, parameters, context)
        verdict = lab.verdict(result).model_copy(update={"preview": lab.preview_seeds < lab.verdict_seeds})
        count = lab.preview_seeds
    else:
        if with_result:
            result = run_lab(lab, parameters, seeds, context=context)
        verdict = judge(lab, parameters, seeds, context=context)
        count = len(seed_list(lab, seeds))
    return LabRun(lab.name, parameters, count, time.perf_counter() - began, verdict, result if with_result else None)
