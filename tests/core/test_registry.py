"""The list of all labs."""

from __future__ import annotations

import threading
from importlib.metadata import EntryPoint

import pytest

from rlbook import registry
from rlbook.errors import RlbookError, UnknownNameError
from rlbook.registry import RegistryWarning, find_lab, labs, registered

from .fake_lab import Raising, UniformMean


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Discovery starts anew, and what it finds is forgotten afterwards."""
    monkeypatch.setattr(registry, "_found", None)
    return monkeypatch


def entry(value: str) -> EntryPoint:
    return EntryPoint(name="theirs", value=value, group=registry.GROUP)


def test_labs_of_the_chapters_are_found_in_order_by_their_names() -> None:
    found = labs()
    assert "value-iteration-contraction" in found
    assert all(name == lab.name for name, lab in found.items())
    assert list(found) == [lab.name for lab in sorted(found.values(), key=lambda lab: (lab.chapter, lab.name))]


def test_an_unknown_lab_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"lab 'value-iteration-contractoin' is unknown; did you mean value-it"):
        find_lab("value-iteration-contractoin")


def test_labs_can_be_added_for_a_while() -> None:
    with registered(UniformMean, Raising()):
        assert isinstance(find_lab("uniform-mean"), UniformMean)
        assert list(labs())[-2:] == ["raising", "uniform-mean"]
    assert "uniform-mean" not in labs()


def test_two_labs_of_one_name_are_an_error() -> None:
    with registered(UniformMean, UniformMean), pytest.raises(RlbookError, match="two labs are named 'uniform-mean'"):
        labs()
    assert labs()


def test_other_distributions_offer_labs(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(registry, "entry_points", lambda group: [entry(f"{UniformMean.__module__}:UniformMean")])
    assert "uniform-mean" in labs()


def test_a_broken_stranger_is_named_and_left_out(fresh: pytest.MonkeyPatch) -> None:
    """One bad distribution must not take the book down."""
    fresh.setattr(registry, "entry_points", lambda group: [entry("no_such_module:LABS"), entry("json:dumps")])
    with pytest.warns(RegistryWarning) as caught:
        assert "value-iteration-contraction" in labs()
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert "'no_such_module:LABS'" in texts[0]
    assert "'json:dumps'" in texts[1]


def test_what_is_no_lab_is_an_error() -> None:
    with pytest.raises(RlbookError, match="offered as a lab, but is none"), registered(dict):  # type: ignore[arg-type]
        pass


def test_discovery_happens_once_whatever_the_threads(fresh: pytest.MonkeyPatch) -> None:
    calls = []
    original = registry._of_chapters
    fresh.setattr(registry, "_of_chapters", lambda: calls.append(1) or original())
    found = []
    threads = [threading.Thread(target=lambda: found.append(labs())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all(each == found[0] for each in found)
