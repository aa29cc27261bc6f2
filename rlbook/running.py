"""Runs labs: what is stored is loaded, what is missing is computed and stored, and the two cannot be told apart."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlbook.errors import ParameterError, RlbookError
from rlbook.lab import Context, Lab
from rlbook.parameters import Parameters
from rlbook.provenance import Provenance, provenance, traceable
from rlbook.store import RunKey, RunStore, VerdictKey

if TYPE_CHECKING:
    import xarray as xr

    from rlbook.verdict import Verdict

CHUNK_SECONDS = 0.5
_MOST_GROWTH = 32  # from chunk to chunk: the first seeds may say little of the others, and each chunk is a file
MOST_SEEDS = 1_000_000

Chosen = Mapping[str, Any] | Parameters | None
Seeds = int | Sequence[int] | None


def run_lab(
    lab: Lab[Any, Any],
    parameters: Chosen = None,
    seeds: Seeds = None,
    *,
    store: RunStore | None = None,
    context: Context | None = None,
) -> xr.Dataset:
    """The result of a lab for some seeds, along the dimension "seed", in the order asked.

    parameters: names and values on top of the lab's first canonical set, or a whole parameter object. seeds: a number n
    for 0 to n - 1, or distinct whole numbers >= 0; None for the lab's verdict budget. store: None for the reader's own
    store. context: receives progress over all seeds and the result so far whenever some more seeds are there, and
    cancels between and inside runs; what was finished by then is stored. Each seed's numbers are the same bits,
    computed or loaded, alone or in company. A lab defined in a notebook has no sources that could be followed, so its
    results are not stored.

    Raises ParameterError, Cancelled, StoreError, and RlbookError when the lab breaks its contract.
    """
    chosen, wanted = _parameters(lab, parameters), seed_list(lab, seeds)
    parts: list[xr.Dataset] = []
    keys: dict[int, RunKey] = {}
    if (origin := _provenance(lab)) is not None:
        store = store or RunStore()
        keys = {seed: _run_key(lab, chosen, seed, origin) for seed in wanted}
        parts = store.load(list(keys.values()))
    loaded: set[int] = {seed for part in parts for seed in part["seed"].values.tolist()}
    missing = [seed for seed in wanted if seed not in loaded]
    context = context or Context()
    for chunk, computed in _computed(lab, chosen, missing, len(wanted), context):
        if store is not None and keys:
            computed = store.put_many([keys[seed] for seed in chunk], computed)
        parts.append(computed)
        loaded.update(chunk)
        # What a preview showed before is not taken back.
        if context.on_seeds is not None and lab.preview_seeds < len(loaded) < len(wanted):
            context.on_seeds(_joined(lab, parts, [seed for seed in wanted if seed in loaded]))
    return _joined(lab, parts, wanted)


def judge(
    lab: Lab[Any, Any],
    parameters: Chosen = None,
    seeds: Seeds = None,
    *,
    store: RunStore | None = None,
    context: Context | None = None,
) -> Verdict:
    """The verdict on a lab's claim, from the store where it was reached before; arguments as in `run_lab`.

    With fewer seeds than the lab's verdict budget it is marked as a preview.
    """
    chosen, wanted = _parameters(lab, parameters), seed_list(lab, seeds)
    if (origin := _provenance(lab)) is not None:
        store = store or RunStore()
        if (known := store.get_verdict(_verdict_key(lab, chosen, wanted, origin))) is not None:
            return known
    return run_and_judge(lab, chosen, wanted, store=store, context=context)[1]


def run_and_judge(
    lab: Lab[Any, Any],
    parameters: Chosen = None,
    seeds: Seeds = None,
    *,
    store: RunStore | None = None,
    context: Context | None = None,
) -> tuple[xr.Dataset, Verdict]:
    """A result and the verdict on it, each seed computed at most once even where nothing can be stored.

    Arguments and errors as in `run_lab`, verdict as in `judge`. A cancel between the run and its verdict raises
    Cancelled, too; the seeds are stored by then.
    """
    chosen, wanted = _parameters(lab, parameters), seed_list(lab, seeds)
    context = context or Context()
    key = None
    # Before the run: a verdict must not be kept under sources that were edited in the meantime.
    if (origin := _provenance(lab)) is not None:
        store = store or RunStore()
        key = _verdict_key(lab, chosen, wanted, origin)
    result = run_lab(lab, chosen, wanted, store=store, context=context)
    context.check()
    if store is None or key is None:
        return result, _judged(lab, result)
    verdict = store.get_verdict(key)
    if verdict is None:
        verdict = _judged(lab, result)
        store.put_verdict(key, verdict)
    return result, verdict


def stored_verdict(lab: Lab[Any, Any], parameters: Chosen = None, *, store: RunStore | None = None) -> Verdict | None:
    """The verdict over the lab's whole budget that is stored for the present sources, if any; computes nothing."""
    if (origin := _provenance(lab)) is None:
        return None
    key = _verdict_key(lab, _parameters(lab, parameters), seed_list(lab, None), origin)
    return (store or RunStore()).get_verdict(key)


def preview(lab: Lab[Any, Any], parameters: Chosen = None, context: Context | None = None) -> xr.Dataset:
    """The result for the lab's preview seeds, computed at once and not stored; raises like `run_lab`."""
    chosen, seeds = _parameters(lab, parameters), list(range(lab.preview_seeds))
    context = context or Context()
    context.check()
    return _checked(lab, chosen, lab.run(chosen, seeds, context), seeds)


def seed_list(lab: Lab[Any, Any], seeds: Seeds = None) -> list[int]:
    """The seeds meant by `run_lab`'s argument; raises ParameterError when they are not distinct whole numbers >= 0."""
    if seeds is None:
        return list(range(lab.verdict_seeds))
    if isinstance(seeds, int):
        if seeds < 1:
            raise ParameterError(f"seeds is {seeds}, but at least one seed is needed; give a whole number >= 1")
        if seeds > MOST_SEEDS:
            raise ParameterError(f"seeds is {seeds}, more than the {MOST_SEEDS} that one result can hold; give fewer")
        return list(range(seeds))
    chosen = [int(seed) for seed in seeds]
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen) or chosen != list(seeds):
        raise ParameterError(f"seeds is {list(seeds)}; give a number of seeds, or distinct whole numbers >= 0")
    return chosen


def _judged(lab: Lab[Any, Any], result: xr.Dataset) -> Verdict:
    few = result.sizes["seed"] < lab.verdict_seeds
    return lab.verdict(result).model_copy(update={"preview": few})


def _parameters(lab: Lab[Any, Any], parameters: Chosen) -> Parameters:
    if isinstance(parameters, Parameters):
        if not isinstance(parameters, lab.Parameters):
            raise ParameterError(
                f"{lab.name}: these parameters belong to another lab ({type(parameters).__qualname__}); "
                "give names and values instead"
            )
        return parameters
    return lab.parse(parameters)  # type: ignore[no-any-return]


def _provenance(lab: Lab[Any, Any]) -> Provenance | None:
    module = type(lab).__module__
    return provenance(module) if traceable(module) else None


def _run_key(lab: Lab[Any, Any], parameters: Parameters, seed: int, origin: Provenance) -> RunKey:
    return RunKey(lab.name, parameters.canonical_json(), seed, origin.sources, origin.versions, origin.device)


def _verdict_key(lab: Lab[Any, Any], parameters: Parameters, seeds: Sequence[int], origin: Provenance) -> VerdictKey:
    return VerdictKey(
        lab.name, parameters.canonical_json(), tuple(seeds), origin.sources, origin.versions, origin.device
    )


def _computed(
    lab: Lab[Any, Any], parameters: Parameters, missing: Sequence[int], total: int, context: Context
) -> Iterator[tuple[list[int], xr.Dataset]]:
    """The missing seeds and their results, in chunks that grow while they are quick, so that a kill costs little."""
    start, size = 0, lab.preview_seeds  # whose time every slider move costs, too
    while start < len(missing):
        context.check()
        chunk = list(missing[start : start + size])
        began = time.perf_counter()
        done = total - len(missing) + start
        inner = context.part(
            done / total, (done + len(chunk)) / total, lambda partial: context.publish(lab.stamp(partial, parameters))
        )
        result = _checked(lab, parameters, lab.run(parameters, chunk, inner), chunk)
        took = time.perf_counter() - began
        if took < CHUNK_SECONDS:
            size = int(size * min(max(CHUNK_SECONDS / took, 2), _MOST_GROWTH))
        yield chunk, result
        start += len(chunk)
        context.progress((done + len(chunk)) / total)


def _checked(lab: Lab[Any, Any], parameters: Parameters, result: object, seeds: Sequence[int]) -> xr.Dataset:
    """Hold a result against the lab's contract and write on it where it comes from."""
    import xarray as xr

    if not isinstance(result, xr.Dataset):
        raise RlbookError(f"lab {lab.name!r} returned {type(result).__name__} from run, not an xarray Dataset")
    if result.sizes.get("seed") != len(seeds):
        raise RlbookError(
            f"lab {lab.name!r} returned dimensions {dict(result.sizes)} for {len(seeds)} seeds; "
            'its result must have a dimension "seed" with one place per seed'
        )
    if "seed" not in result.coords:
        result = result.assign_coords(seed=list(seeds))
    elif result["seed"].values.tolist() != list(seeds):
        raise RlbookError(
            f"lab {lab.name!r} returned seeds {result['seed'].values.tolist()}, but was asked for {list(seeds)}; "
            "its result must keep their order"
        )
    return lab.stamp(result, parameters)


def _joined(lab: Lab[Any, Any], parts: Sequence[xr.Dataset], wanted: Sequence[int]) -> xr.Dataset:
    """Put parts together in the order wanted; what has no seed dimension must be the same in all of them."""
    import xarray as xr

    try:
        joined = xr.concat(
            parts,
            dim="seed",
            data_vars="minimal",
            coords="minimal",
            compat="equals",
            join="exact",
            combine_attrs="drop_conflicts",
        )
    except ValueError as error:
        raise RlbookError(
            f"lab {lab.name!r} gives different seeds results that do not fit together ({error}); its shapes, and "
            "what has no seed dimension, must follow from the parameters alone"
        ) from error
    place_of = {seed: place for place, seed in enumerate(joined["seed"].values.tolist())}
    return joined.isel(seed=[place_of[seed] for seed in wanted])
