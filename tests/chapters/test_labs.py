"""Every lab of the book keeps the contract of `Lab`: claims hold, controls do not, seeds stand alone, views redraw."""

from __future__ import annotations

import numpy as np
import pytest

from rlbook.atlas import unknown_citations
from rlbook.errors import Cancelled
from rlbook.lab import Context, Lab
from rlbook.parameters import controls
from rlbook.registry import labs

ALL = list(labs().values())
SETS = [
    (lab, role, p) for lab in ALL for role, sets in (("claim", lab.canonical), ("control", lab.controls)) for p in sets
]


def first_values(lab: Lab, result, view_name: str):
    allowed = lab.all_view_values(result)[view_name]
    return {allowed[0], allowed[len(allowed) // 2], allowed[-1]}


@pytest.mark.parametrize(("lab", "role", "parameters"), SETS, ids=lambda item: getattr(item, "name", str(item)))
def test_claim_holds_under_canonical_and_not_under_control_parameters(lab, role, parameters):
    """Prevents a claim that is false, and a check that cannot fail."""
    verdict = lab.verdict(lab.run(parameters, range(lab.verdict_seeds), Context()))
    assert verdict.n == lab.verdict_seeds
    assert verdict.claim == lab.claim
    if role == "claim":
        assert verdict.status == "holds", verdict.sentence()
    else:
        assert verdict.status != "holds", verdict.sentence()


@pytest.mark.parametrize("lab", ALL, ids=lambda lab: lab.name)
def test_a_seed_gives_the_same_numbers_alone_and_in_company(lab):
    """Prevents results that change when seeds are added, which the run store would then mix."""
    together = lab.run(lab.canonical[0], [0, 3, 7], Context())
    alone = lab.run(lab.canonical[0], [3], Context())
    for name, variable in alone.data_vars.items():
        if "seed" in variable.dims:
            assert np.array_equal(variable.values, together[name].sel(seed=[3]).values, equal_nan=True), name
        else:
            assert np.array_equal(variable.values, together[name].values, equal_nan=True), name


@pytest.mark.parametrize(("lab", "role", "parameters"), SETS, ids=lambda item: getattr(item, "name", str(item)))
def test_every_view_draws_and_is_described(lab, role, parameters):
    """Prevents a view control at whose end the figure breaks, and figures that only the sighted can read."""
    result = lab.run(parameters, range(2), Context())
    for control in controls(lab.View):
        for value in first_values(lab, result, control.name):
            view = lab.make_view(result, {control.name: value})
            figure = lab.figure(result, view)
            assert len(figure.data) >= 1
            for axis in [*figure.select_xaxes(), *figure.select_yaxes()]:
                assert axis.title.text or axis.showticklabels is False, "an axis without a title"
            text = lab.alt_text(result, view)
            assert text.endswith(".")
            assert len(text) > 40


@pytest.mark.parametrize("lab", ALL, ids=lambda lab: lab.name)
def test_a_cancelled_run_stops(lab):
    context = Context()
    context.cancel()
    with pytest.raises(Cancelled):
        lab.run(lab.canonical[0], range(3), context)


@pytest.mark.parametrize("lab", ALL, ids=lambda lab: lab.name)
def test_declaration_is_complete(lab):
    described = lab.describe()
    assert described["source"].count(",") >= 1
    assert all(control.description for control in controls(lab.Parameters))
    assert lab.claim.endswith(".")
    assert lab.preview_seeds <= lab.verdict_seeds
    assert lab.Parameters() == lab.canonical[0], "what a reader sees first must be what counts"


def test_labs_cite_papers_that_exist():
    assert unknown_citations(ALL) == []
