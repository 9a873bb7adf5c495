"""Read and write spikes in HDF5: with and without populations, and those of NWB 1 files."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import Spikes, Unit, parse_unit, unit_symbol
from ndx_simulation_output.recording.spikes import SpikeBlock
from ndx_simulation_output.recording.stored_spikes import (
    NOT_FINITE,
    ROUNDING,
    StoredSpikes,
    spikes_from_source,
)
from ndx_simulation_output.sonata.hdf5 import (
    attribute_text,
    attributes_from_json,
    base_name,
    child_group,
    describe_group,
    first_dataset,
    groups_in,
    lazy_numbers,
    location,
    note_unknown,
    read_ids,
    read_numbers,
    read_vector,
    sonata_provenance,
    type_of_ids,
)
from ndx_simulation_output.sonata.mapping import NODE_IDS
from ndx_simulation_output.sonata.units import ReadOptions

UNKNOWN_POPULATION = "unknown"

_BLOCK = 2**20
_MS_PER_S = 1000.0
_SORTING = {"none": 0, "by_id": 1, "by_time": 2}
_OLD_SORTING = {"by_gid": "by_id", "time": "by_time"}


def read_spikes(file: h5py.File, options: ReadOptions, notes: list[str]) -> list[Spikes]:
    """Read ``/spikes``: a group for each population, or ids and times of an unnamed one."""
    root = child_group(file, "spikes")
    if any(name in root for name in NODE_IDS):
        return [_read_population(root, options.population or UNKNOWN_POPULATION, options, notes)]
    if not len(root):
        notes.append(f"{location(root)} has no populations: the run had no spikes")
    return [
        _read_population(group, base_name(group), options, notes)
        for group in groups_in(root, notes)
    ]


def read_nwb1_spikes(file: h5py.File, options: ReadOptions) -> list[Spikes]:
    """Read ``/processing/<trial>/spike_train/<id>/data`` of NWB 1, a population for each trial."""
    processing = child_group(file, "processing")
    trials = [trial for trial in groups_in(processing, []) if "spike_train" in trial]
    if not trials:
        found = ", ".join(processing)
        msg = f"{location(processing)} has no group with a spike_train; found: {found}"
        raise SourceError(msg)
    if len(trials) == 1:
        return [_read_trial(trials[0], options.population or UNKNOWN_POPULATION, options)]
    return [_read_trial(trial, base_name(trial), options) for trial in trials]


def is_of_bmtk(file: h5py.File) -> bool:
    """Return True if bmtk has written the spikes of an NWB file."""
    text = file["session_description"][()] if "session_description" in file else b""
    return "units" in file and isinstance(text, bytes) and text.startswith(b"BMTK")


def read_bmtk_spikes(file: h5py.File, options: ReadOptions, notes: list[str]) -> list[Spikes]:
    """Read ``/units`` that bmtk wrote: milliseconds, where NWB has seconds."""
    units = child_group(file, "units")
    times = read_numbers(first_dataset(units, "spike_times"))
    ends = read_ids(first_dataset(units, "spike_times_index"))
    ids = read_ids(first_dataset(units, "node_id", "id"))
    default = options.population or UNKNOWN_POPULATION
    names = np.full(len(ids), default, object)
    if "population" in units:
        names = read_vector(first_dataset(units, "population"))
    counts = np.diff(ends, prepend=0)
    if not len(ends) == len(ids) == len(names) or (counts < 0).any() or counts.sum() != len(times):
        msg = f"{location(units)} has {len(times)} spikes that do not fit its {len(ids)} units"
        raise ShapeMismatchError(msg)
    seconds = options.seconds(("spikes",), "ms", location(units), expected=True)
    if "spikes" not in options.time_units:
        notes.append(f"{location(units)} was read as ms, which bmtk writes where NWB has seconds")
    provenance = {"format": "SONATA", "dialect": "allen", "file": Path(file.filename).name}
    spikes = []
    for name in dict.fromkeys(names):
        rows = np.repeat(names == name, counts)
        of_cells = np.repeat(ids, counts)[rows]
        spikes.append(spikes_from_source(str(name), of_cells, times[rows], seconds, provenance))
    return spikes


class _LeftOut:
    """The spikes of a provenance that ``spikes_from_source`` took out."""

    def __init__(self, provenance: Mapping[str, Any]) -> None:
        found = provenance.get(NOT_FINITE, {"positions": [], "node_ids": [], "bits": []})
        positions = np.asarray(found["positions"], np.int64)
        self.ids = np.asarray(found["node_ids"], np.int64)
        self._times = np.asarray(found["bits"], np.int64).view(np.float64)
        # np.insert counts positions among the values that are kept.
        self._places = positions - np.arange(len(positions))

    def insert(
        self, start: int, stop: int | None, ids: NDArray[Any], times: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Insert them among the kept ones ``[start, stop)``; None is the end of all."""
        chosen = self._places >= start
        if stop is not None:
            chosen &= self._places < stop
        if not chosen.any():
            return ids, times
        places = np.minimum(self._places[chosen] - start, len(times))
        return np.insert(ids, places, self.ids[chosen]), np.insert(
            times, places, self._times[chosen]
        )


def _read_population(
    group: h5py.Group, population: str, options: ReadOptions, notes: list[str]
) -> Spikes:
    ids_dataset = first_dataset(group, *NODE_IDS)
    times_dataset = first_dataset(group, "timestamps")
    note_unknown(group, (*NODE_IDS, "timestamps"), notes)
    ids, times = lazy_numbers(ids_dataset), lazy_numbers(times_dataset)
    if ids.shape != times.shape:
        msg = f"{location(group)} has {ids.shape[0]} node ids but {times.shape[0]} timestamps"
        raise ShapeMismatchError(msg)
    stated = attribute_text(times_dataset, "units", "unit")
    seconds = options.seconds(("spikes",), stated, location(times_dataset), expected=True)
    is_enum = "sorting" in group.attrs and attribute_text(group, "sorting") is None
    provenance = {
        **describe_group(group),
        "dialect": "bbp" if is_enum else "allen",
        "named": group.name != "/spikes",
    }
    facts = {**provenance, "per_second": (per_second := round(1 / seconds, 9))}
    stored = StoredSpikes(population, location(ids_dataset), ids, times, per_second, facts)
    return Spikes.of_source(population, stored)


def _read_trial(trial: h5py.Group, population: str, options: ReadOptions) -> Spikes:
    trains = dict(_trains(trial))
    ids = np.repeat(np.asarray(list(trains), np.int64), [len(train) for train in trains.values()])
    first = next(iter(trains.values()), None)
    stated = attribute_text(first, "unit", "units") if first is not None else "ms"
    seconds = options.seconds(("spikes",), stated, location(trial), expected=True)
    times = np.concatenate([read_numbers(train) for train in trains.values()] or [np.zeros(0)])
    provenance = {"format": "SONATA", "dialect": "allen", "file": Path(trial.file.filename).name}
    return spikes_from_source(population, ids, times, seconds, provenance)


def _trains(trial: h5py.Group) -> Iterator[tuple[int, h5py.Dataset]]:
    groups = {base_name(group): group for group in groups_in(child_group(trial, "spike_train"), [])}
    wrong = next((name for name in groups if not name.isdigit()), None)
    if wrong is not None:
        msg = f"spike_train in {location(trial)} has the train {wrong!r}; expected an integer id"
        raise SourceError(msg)
    for name in sorted(groups, key=int):
        yield int(name), first_dataset(groups[name], "data")


def write_spikes(
    file: h5py.File,
    spikes: Spikes,
    *,
    dialect: str,
    conform: bool,
    alone: bool,
    left_out: list[str],
) -> None:
    """Write the spikes of one population to ``/spikes/<population>``.

    If the source had no population, ``/spikes/{gids, timestamps}`` are written to the Allen
    dialect, provided that no other population is written (``alone``). With ``conform`` the reader
    of the dialect opens the file, whatever the source was; otherwise all is written as in it.
    """
    provenance = sonata_provenance(spikes.provenance)
    attributes, dtypes = provenance.get("attributes", {}), provenance.get("dtypes", {})
    root = file.require_group("spikes")
    unnamed = provenance.get("named") is False and dialect == "allen" and alone
    group = root if unnamed else root.create_group(spikes.population)
    name = "gids" if unnamed else "node_ids"
    dtype = dtypes.get("node_ids", dtypes.get("gids", "<u8"))
    left_out_spikes = _LeftOut(provenance)
    count = len(spikes) + len(left_out_spikes.ids)
    dtype = type_of_ids(np.concatenate([spikes.spiking_cells, left_out_spikes.ids]), dtype)
    id_dataset = group.create_dataset(name, (count,), dtype)
    time_dataset = group.create_dataset("timestamps", (count,), dtypes.get("timestamps", "<f8"))
    has_negative, sortings = _write_blocks(spikes, left_out_spikes, id_dataset, time_dataset)
    same_dialect = provenance.get("dialect") == dialect
    stated = _stated_sorting(attributes)
    is_true = stated not in {"by_id", "by_time"} or stated in sortings
    if same_dialect:
        own = attributes.get(".", {})
        dropped = {"sorting"} if conform and not is_true else set()
        attributes_from_json(group, {key: own[key] for key in own.keys() - dropped})
    attributes_from_json(root, attributes.get("..", {}))
    attributes_from_json(id_dataset, attributes.get("node_ids", attributes.get("gids", {})))
    attributes_from_json(time_dataset, attributes.get("timestamps", {}))
    is_source = "attributes" in provenance and same_dialect and not conform
    optional = is_source or (dialect == "allen" and "attributes" in provenance)
    _write_unit(time_dataset, spikes.provenance.get("per_second", _MS_PER_S), optional=optional)
    if "sorting" not in group.attrs:
        is_stated = provenance and (is_true or not conform)
        sorting = stated if is_stated else [*sortings, "none"][0]
        _write_sorting(group, sorting, dialect)
    if dialect == "bbp":
        where = f"spikes of {spikes.population}"
        if "units" not in time_dataset.attrs:
            left_out.append(f"{where}: libsonata reads only times with units; these have none")
        if has_negative:
            left_out.append(f"{where}: libsonata refuses them all, as some are before 0")
        if not conform and not is_true:
            left_out.append(
                f"{where}: libsonata may refuse them: they are not sorted as the source states"
            )


def _write_blocks(
    spikes: Spikes, left_out: _LeftOut, id_dataset: h5py.Dataset, time_dataset: h5py.Dataset
) -> tuple[bool, list[str]]:
    """Write ids and exact times; return whether any is negative, and how they are sorted."""
    per_second = spikes.provenance.get("per_second", _MS_PER_S)
    has_negative = False
    sorted_by = {"by_time": True, "by_id": True}
    last: dict[str, NDArray[Any]] = {}
    kept = written = 0
    # The empty block at the end is for spikes that were left out at the end.
    ending = SpikeBlock(np.zeros(0, np.int64), np.zeros(0), {})
    for block in chain(spikes.blocks(_BLOCK // 4), [ending]):
        stop = None if block is ending else kept + len(block.times)
        exact = _source_times(block, per_second)
        ids, times = left_out.insert(kept, stop, block.node_ids, exact)
        kept += len(block.times)
        place = slice(written, written + len(ids))
        written = place.stop
        values = {
            "by_time": times.astype(time_dataset.dtype),
            "by_id": ids.astype(np.int64).astype(id_dataset.dtype),
        }
        if not len(ids):
            continue
        time_dataset[place], id_dataset[place] = values.values()
        has_negative = has_negative or bool((values["by_time"] < 0).any())
        for name, some in values.items():
            joined = np.concatenate([last.get(name, some[:0]), some])
            sorted_by[name] = sorted_by[name] and bool((joined[1:] >= joined[:-1]).all())
            last[name] = some[-1:].copy()
    return has_negative, [name for name, is_true in sorted_by.items() if is_true]


def _source_times(block: SpikeBlock, per_second: float) -> NDArray[np.float64]:
    """Return the exact times of the source in its unit; shape (spike,)."""
    times = block.times * per_second if per_second != 1 else block.times.copy()
    if ROUNDING in block.columns:
        times = (times.view(np.int64) + block.columns[ROUNDING]).view(np.float64)
    return times


def _write_unit(times: h5py.Dataset, per_second: float, *, optional: bool) -> None:
    """Write the unit of the times, unless the attribute of the source has the same meaning."""
    stated = parse_unit(attribute_text(times, "units", "unit") or "ms")
    same = stated is not None and round(1 / stated.conversion, 9) == per_second
    if not same or ("units" not in times.attrs and not optional):
        times.attrs["units"] = unit_symbol(Unit("seconds", 1 / per_second)) or "ms"


def _stated_sorting(attributes: Mapping[str, Any]) -> str | None:
    """Return the sorting that the source states in the ``attributes`` of its group or root."""
    for name in (".", ".."):
        stated = attributes.get(name, {}).get("sorting")
        if isinstance(stated, dict):
            return next((word for word, code in _SORTING.items() if code == stated["value"]), None)
        if isinstance(stated, str):
            return _OLD_SORTING.get(stated, stated)
    return None


def _write_sorting(group: h5py.Group, sorting: str | None, dialect: str) -> None:
    if sorting is not None and dialect == "allen":
        group.attrs["sorting"] = sorting
    elif sorting in _SORTING:
        dtype = h5py.enum_dtype(_SORTING, basetype=np.uint8)
        group.attrs.create("sorting", _SORTING[sorting], dtype=dtype)
