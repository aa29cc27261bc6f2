"""Running labs: stored and computed results cannot be told apart, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import xarray as xr

from rlbook.errors import Cancelled, ParameterError, RlbookError
from rlbook.lab import Context
from rlbook.provenance import Provenance
from rlbook.running import judge, preview, run_and_judge, run_lab, seed_list, stored_verdict
from rlbook.store import RunStore, StoreWarning

from .fake_lab import DrawsParameters, Raising, UniformMean

LAB = UniformMean()
EDITED = Provenance("edited", "v", "d")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    UniformMean.asked.clear()
    return RunStore(tmp_path)


def asked() -> list[int]:
    return [seed for chunk in UniformMean.asked for seed in chunk]


def test_only_missing_seeds_are_computed(store: RunStore) -> None:
    run_lab(LAB, seeds=8, store=store)
    assert asked() == list(range(8))
    UniformMean.asked.clear()
    result = run_lab(LAB, seeds=20, store=store)
    assert asked() == list(range(8, 20))
    assert result["seed"].values.tolist() == list(range(20))
    UniformMean.asked.clear()
    run_lab(LAB, seeds=[3, 30, 1], store=store)
    assert asked() == [30]


def test_chunks_grow_while_they_are_quick(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a file for every few seeds of a lab that takes no time, whose writing then takes longer than the lab."""
    monkeypatch.setattr("rlbook.running.CHUNK_SECONDS", 1000.0)
    run_lab(LAB, seeds=50, store=store)
    assert [len(chunk) for chunk in UniformMean.asked] == [1, 32, 17]


def test_slow_chunks_stay_small(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in a long chunk would lose all of it."""
    monkeypatch.setattr("rlbook.running.CHUNK_SECONDS", 0.0)
    run_lab(LAB, seeds=5, store=store)
    assert [len(chunk) for chunk in UniformMean.asked] == [1] * 5


def test_a_seed_gives_the_same_bits_computed_or_loaded_alone_or_in_company(tmp_path: Path) -> None:
    seeds = [5, 2, 11, 0, 7]
    company = run_lab(LAB, seeds=seeds, store=RunStore(tmp_path / "a"))
    loaded = run_lab(LAB, seeds=seeds, store=RunStore(tmp_path / "a"))
    mixed_store = RunStore(tmp_path / "b")
    run_lab(LAB, seeds=[11, 5], store=mixed_store)
    mixed = run_lab(LAB, seeds=seeds, store=mixed_store)
    xr.testing.assert_identical(company, loaded)
    xr.testing.assert_identical(company, mixed)
    assert company["seed"].values.tolist() == seeds
    for place, seed in enumerate(seeds):
        alone = run_lab(LAB, seeds=[seed], store=RunStore(tmp_path / f"alone-{seed}"))
        xr.testing.assert_identical(alone, company.isel(seed=[place]))
        assert {name: alone[name].dtype for name in alone} == {name: company[name].dtype for name in company}


class Noting(UniformMean):
    name = "noting"

    def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        return super().run(parameters, seeds, context).assign_attrs(levels=[1, 2], depth=3)


def test_attributes_have_the_types_of_loaded_ones_from_the_start(store: RunStore) -> None:
    """A file turns a list into an array: a figure that worked on the computed result broke on the loaded one."""
    computed, loaded = (run_lab(Noting(), seeds=3, store=store) for _ in range(2))
    assert {name: type(value) for name, value in computed.attrs.items()} == {
        name: type(value) for name, value in loaded.attrs.items()
    }
    assert computed.attrs["levels"].tolist() == [1, 2]


def test_other_parameters_are_other_results(store: RunStore) -> None:
    run_lab(LAB, seeds=2, store=store)
    result = run_lab(LAB, {"draws": 9}, seeds=2, store=store)
    assert result.sizes["draw"] == 9
    assert LAB.parameters_of(result) == DrawsParameters(draws=9)
    assert result.attrs["lab"] == "uniform-mean"
    xr.testing.assert_identical(result, run_lab(LAB, DrawsParameters(draws=9), seeds=2, store=store))


def test_defaults_are_the_first_canonical_set_and_the_verdict_budget(store: RunStore) -> None:
    result = run_lab(LAB, store=store)
    assert LAB.parameters_of(result) == LAB.canonical[0]
    assert result["seed"].values.tolist() == list(range(LAB.verdict_seeds))


def test_an_edited_source_computes_anew(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of code that no longer exists must not be served."""
    run_lab(LAB, seeds=2, store=store)
    monkeypatch.setattr("rlbook.running._provenance", lambda lab: EDITED)
    run_lab(LAB, seeds=2, store=store)
    assert asked() == [0, 1, 0, 1]


def test_a_damaged_result_is_computed_again(store: RunStore) -> None:
    before = run_lab(LAB, seeds=1, store=store)
    (path,) = (store.root / "results").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(StoreWarning):
        after = run_lab(LAB, seeds=1, store=store)
    xr.testing.assert_identical(before, after)
    assert asked() == [0, 0]


def test_a_cancelled_run_keeps_what_was_finished(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlbook.running.CHUNK_SECONDS", 0.0)
    context = Context(on_progress=lambda fraction, message: fraction >= 0.3 and context.cancel())
    with pytest.raises(Cancelled):
        run_lab(LAB, seeds=10, store=store, context=context)
    assert asked() == [0, 1, 2]
    UniformMean.asked.clear()
    run_lab(LAB, seeds=10, store=store)
    assert asked() == list(range(3, 10))


def test_a_run_that_is_cancelled_inside_stops_there(store: RunStore) -> None:
    context = Context(
        on_progress=lambda fraction, message: message == "drawing" and fraction > 0.5 and context.cancel()
    )
    with pytest.raises(Cancelled):
        run_lab(Publishing(), seeds=30, store=store, context=context)
    stopped = UniformMean.asked[-1]
    UniformMean.asked.clear()
    run_lab(Publishing(), seeds=30, store=store)
    assert UniformMean.asked[0][0] == stopped[0]


def test_progress_covers_all_seeds_and_counts_the_stored_ones(store: RunStore) -> None:
    run_lab(LAB, seeds=5, store=store)
    seen: list[tuple[float, str]] = []
    run_lab(LAB, seeds=10, store=store, context=Context(on_progress=lambda *each: seen.append(each)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == pytest.approx(0.55)
    assert fractions[-1] == 1.0
    assert "drawing" in {message for _, message in seen}


class Publishing(UniformMean):
    name = "publishing"

    def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
        result = super().run(parameters, seeds, context)
        context.publish(result)
        return result


def test_partial_results_say_where_they_come_from(store: RunStore) -> None:
    """A live figure asks the partial result for its parameters."""
    shown: list[xr.Dataset] = []
    run_lab(Publishing(), {"draws": 4}, seeds=2, store=store, context=Context(on_partial=shown.append))
    assert [Publishing().parameters_of(partial).draws for partial in shown] == [4, 4]


def test_replicates_are_shown_as_they_come(store: RunStore) -> None:
    """Prevents a long verdict that shows nothing until its last seed, or that takes back seeds of the preview."""
    shown: list[xr.Dataset] = []
    whole = run_lab(LAB, seeds=60, store=store, context=Context(on_seeds=shown.append))
    sizes = [part.sizes["seed"] for part in shown]
    assert sizes == sorted(set(sizes))
    assert LAB.preview_seeds < sizes[0]
    assert sizes[-1] < 60
    for part in shown:
        xr.testing.assert_identical(part, whole.isel(seed=range(part.sizes["seed"])))


@pytest.mark.parametrize(
    ("seeds", "meant"), [(None, list(range(12))), (3, [0, 1, 2]), ([4, 2], [4, 2]), (range(2), [0, 1])]
)
def test_seeds_can_be_a_number_or_a_list(seeds: int | Sequence[int] | None, meant: list[int]) -> None:
    assert seed_list(LAB, seeds) == meant


@pytest.mark.parametrize("seeds", [0, -1, [], [-1], [1, 1], [0.5]])
def test_bad_seeds_are_a_sentence(store: RunStore, seeds: int | list[int]) -> None:
    with pytest.raises(ParameterError, match=r"^seeds is .*; give "):
        run_lab(LAB, seeds=seeds, store=store)


def test_parameters_of_another_lab_are_a_sentence(store: RunStore) -> None:
    from rlbook.parameters import Parameters

    with pytest.raises(ParameterError, match="belong to another lab"):
        run_lab(LAB, Parameters(), store=store)


BROKEN = {
    "not an xarray Dataset": lambda result: result["mean"].values,
    'must have a dimension "seed"': lambda result: result.isel(seed=0),
    "with one place per seed": lambda result: result.isel(seed=[0, *range(result.sizes["seed"])]),
    "its result must keep their order": lambda result: result.assign_coords(seed=result["seed"].values + 1),
    "do not fit together": lambda result: result.assign(centre=float(result["mean"][0])),
    "must follow from the parameters alone": lambda result: result.isel(draw=slice(0, 3 + int(result["seed"][0]))),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_lab_that_breaks_its_contract_is_named(store: RunStore, message: str) -> None:
    class Broken(UniformMean):
        name = "broken"

        def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
            return BROKEN[message](super().run(parameters, seeds, context))  # type: ignore[no-any-return]

    with pytest.raises(RlbookError, match=f"lab 'broken' .*{message}"):
        run_lab(Broken(), seeds=3, store=store)


def test_a_result_without_seed_coordinate_gets_it(store: RunStore) -> None:
    class Bare(UniformMean):
        name = "bare"

        def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
            return super().run(parameters, seeds, context).drop_vars("seed")

    assert run_lab(Bare(), seeds=[4, 1], store=store)["seed"].values.tolist() == [4, 1]


def test_a_lab_of_a_notebook_runs_and_is_not_stored(store: RunStore) -> None:
    """Its sources cannot be followed, so an edited cell would be answered with the old result."""

    class Mine(UniformMean):
        name = "mine"

    Mine.__module__ = "__main__"
    assert run_lab(Mine(), seeds=3, store=store).sizes["seed"] == 3
    assert judge(Mine(), seeds=3, store=store).n == 3
    assert stored_verdict(Mine(), store=store) is None
    assert not list(store.root.iterdir())


def test_a_verdict_is_reached_once(store: RunStore) -> None:
    assert stored_verdict(LAB, store=store) is None
    verdict = judge(LAB, store=store)
    assert (verdict.status, verdict.n, verdict.preview) == ("holds", 12, False)
    assert stored_verdict(LAB, store=store) == verdict
    UniformMean.asked.clear()
    assert judge(LAB, store=store) == verdict
    assert asked() == []


def test_run_and_judge_gives_what_the_two_give(store: RunStore, tmp_path: Path) -> None:
    result, verdict = run_and_judge(LAB, store=store)
    assert asked() == list(range(12))
    assert stored_verdict(LAB, store=store) == verdict == judge(LAB, store=RunStore(tmp_path / "other"))
    xr.testing.assert_identical(result, run_lab(LAB, store=store))
    assert run_and_judge(LAB, seeds=3, store=store)[1].preview


def test_judging_a_lab_of_a_notebook_computes_once(store: RunStore) -> None:
    """Defect: a run that cannot be stored is computed again for its verdict."""

    class Mine(UniformMean):
        name = "mine"

    Mine.__module__ = "__main__"
    result, verdict = run_and_judge(Mine(), seeds=5, store=store)
    assert asked() == list(range(5))
    assert (result.sizes["seed"], verdict.n, verdict.preview) == (5, 5, True)
    assert not list(store.root.iterdir())


def test_a_verdict_keeps_to_the_sources_that_its_run_began_with(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect: an edit during a long run, and the old code's verdict is stored as that of the new."""

    class Edited(UniformMean):
        name = "edited"

        def run(self, parameters: DrawsParameters, seeds: Sequence[int], context: Context) -> xr.Dataset:
            monkeypatch.setattr("rlbook.running._provenance", lambda lab: EDITED)
            return super().run(parameters, seeds, context)

    run_and_judge(Edited(), store=store)
    assert stored_verdict(Edited(), store=store) is None


def test_a_cancel_reaches_the_run_of_a_verdict(store: RunStore) -> None:
    """Defect: a verdict on its way that nothing stops."""
    cancelled = Context()
    cancelled.cancel()
    with pytest.raises(Cancelled):
        run_and_judge(LAB, store=store, context=cancelled)
    assert asked() == []
    run_lab(LAB, store=store)
    with pytest.raises(Cancelled):
        run_and_judge(LAB, store=store, context=cancelled)
    assert stored_verdict(LAB, store=store) is None


def test_a_verdict_over_few_seeds_says_preview_and_does_not_count(store: RunStore) -> None:
    verdict = judge(LAB, seeds=4, store=store)
    assert verdict.preview
    assert stored_verdict(LAB, store=store) is None


def test_the_control_fails(store: RunStore) -> None:
    assert judge(LAB, LAB.controls[0], store=store).status == "fails"


def test_a_preview_is_not_stored(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLBOOK_HOME", str(store.root))
    result = preview(LAB, {"draws": 3})
    assert result.sizes["seed"] == LAB.preview_seeds
    assert LAB.parameters_of(result).draws == 3
    assert not list(store.root.iterdir())
    cancelled = Context()
    cancelled.cancel()
    with pytest.raises(Cancelled):
        preview(LAB, context=cancelled)


def test_without_a_store_the_readers_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLBOOK_HOME", str(tmp_path / "home"))
    run_lab(LAB, seeds=1)
    assert list((tmp_path / "home" / "results").iterdir())


def test_what_a_lab_raises_comes_through(store: RunStore) -> None:
    with pytest.raises(ZeroDivisionError):
        run_lab(Raising(), store=store)


def test_a_part_of_a_run_moves_the_whole_and_is_cancelled_with_it() -> None:
    """Prevents progress that jumps back at each part, partial results of another layout, and parts that run on."""
    seen: list[float] = []
    shown: list[xr.Dataset] = []
    whole = Context(on_progress=lambda fraction, _: seen.append(fraction), on_partial=shown.append)
    for first, last in ((0.0, 0.25), (0.25, 1.0)):
        part = whole.part(first, last)
        part.progress(0.5)
        part.publish(xr.Dataset({"other": 1}))
    assert seen == [0.125, 0.625]
    assert shown == []
    whole.part(publish=shown.append).publish(xr.Dataset())
    assert len(shown) == 1
    whole.cancel()
    with pytest.raises(Cancelled):
        whole.part().check()
