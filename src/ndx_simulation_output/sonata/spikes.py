"""Read and write spikes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import Spikes, Unit, parse_unit, unit_symbol
from ndx_simulation_output.sonata.files import (
    attribute_text,
    attributes_from_json,
    child_group,
    describe_group,
    first_dataset,
    first_name,
    float_column,
    groups_in,
    integer_column,
    note_others,
    place,
    read_ids,
    read_numbers,
    read_text_table,
)
from ndx_simulation_output.sonata.options import ReadOptions
from ndx_simulation_output.sonata.write_reports import create_ids

# Spikes in every layout that was found: by population, without one, in NWB 1 files, as text.

ROUNDING = "source_rounding"
"""Column of spikes: units in the last place from ``times * 1000`` to the source's number."""

_IDS = ("node_ids", "gids")
_UNKNOWN = "unknown"


def read_spikes(file: h5py.File, options: ReadOptions) -> tuple[list[Spikes], list[str]]:
    """Read ``/spikes``: a group for each population, or the ids and times of one without a name.

    Raises
    ------
    SourceError
        If a population lacks its ids or times.
    ShapeMismatchError
        If there are not as many ids as times.

    """
    root, notes = child_group(file, "spikes"), list[str]()
    if first_name(root, *_IDS):
        population = options.population or _UNKNOWN
        return [_read_population(root, population, options, notes)], notes
    spikes = [
        _read_population(group, group.name.rsplit("/", 1)[-1], options, notes)
        for group in groups_in(root, notes)
    ]
    if not len(root):
        notes.append(f"{place(root)} has no populations: the run had no spikes")
    return spikes, notes


def read_nwb1_spikes(file: h5py.File, options: ReadOptions) -> list[Spikes]:
    """Read ``/processing/<trial>/spike_train/<id>/data`` of NWB 1; a population for each trial.

    Raises
    ------
    SourceError
        If a train is not named by an integer id.

    """
    processing = child_group(file, "processing")
    trials = [trial for trial in groups_in(processing, []) if "spike_train" in trial]
    if not trials:
        msg = f"{place(processing)} has no group with a spike_train; found: {', '.join(processing)}"
        raise SourceError(msg)
    single = options.population or _UNKNOWN
    return [
        _read_trial(trial, single if len(trials) == 1 else trial.name.rsplit("/", 1)[-1], options)
        for trial in trials
    ]


def read_text_spikes(path: Path, options: ReadOptions) -> list[Spikes]:
    """Read a text file with a header ``timestamps population node_ids`` (SONATA's CSV form).

    Raises
    ------
    SourceError
        If it cannot be parsed.

    """
    try:
        frame = read_text_table(path)
        times = float_column(frame, "timestamps")
        ids = integer_column(frame, "node_ids")
    except (ValueError, KeyError) as error:
        msg = f"{path} cannot be read as spikes (timestamps population node_ids): {error}"
        raise SourceError(msg) from error
    default = options.population or _UNKNOWN
    names = frame["population"].to_numpy(dtype=object) if "population" in frame else None
    names = np.full(len(ids), default) if names is None else np.where(names == "", default, names)
    seconds = options.seconds(("spikes",), "ms", path.name, expected=True)
    spikes = []
    for population in dict.fromkeys(names):
        chosen = names == population
        facts = {"format": "SONATA", "dialect": "allen", "file": path.name, "text": True}
        spikes.append(
            from_source_times(str(population), ids[chosen], times[chosen], seconds, facts)
        )
    return spikes


def from_source_times(
    population: str,
    ids: NDArray[Any],
    times: NDArray[Any],
    seconds: float,
    provenance: dict[str, Any],
) -> Spikes:
    """Make spikes of times in units of ``seconds``, such that the very numbers can be given back.

    Dividing by 1000 loses the last bit of about one number in a hundred; where any was lost, the
    difference is kept in units in the last place in the column ``source_rounding`` (spike,).
    """
    source = np.asarray(times, np.float64)
    per_second = round(1 / seconds, 9)
    in_seconds = source / per_second if per_second != 1 else source
    lost = source.view(np.int64) - (in_seconds * per_second).view(np.int64)
    small = not len(lost) or np.abs(lost).max() <= np.iinfo(np.int8).max
    columns = {ROUNDING: lost.astype(np.int8 if small else np.int64)} if lost.any() else {}
    return Spikes(population, ids, in_seconds, columns, {**provenance, "per_second": per_second})


def _read_population(
    group: h5py.Group, population: str, options: ReadOptions, notes: list[str]
) -> Spikes:
    ids_dataset = first_dataset(group, *_IDS)
    times_dataset = first_dataset(group, "timestamps")
    note_others(group, (*_IDS, "timestamps"), notes)
    ids, times = read_ids(ids_dataset), read_numbers(times_dataset)
    if len(ids) != len(times):
        msg = f"{place(group)} has {len(ids)} node ids but {len(times)} timestamps"
        raise ShapeMismatchError(msg)
    stated = attribute_text(times_dataset, "units", "unit")
    seconds = options.seconds(("spikes",), stated, place(times_dataset), expected=True)
    facts = {
        **describe_group(group),
        "dialect": "bbp" if _has_enum_sorting(group) else "allen",
        "named": group.name != "/spikes",
    }
    return from_source_times(population, ids, times, seconds, facts)


def _has_enum_sorting(group: h5py.Group) -> bool:
    return "sorting" in group.attrs and attribute_text(group, "sorting") is None


def _read_trial(trial: h5py.Group, population: str, options: ReadOptions) -> Spikes:
    trains = dict(_trains(trial))
    ids = np.repeat(np.asarray(list(trains), np.int64), [len(train) for train in trains.values()])
    first = next(iter(trains.values()), None)
    stated = attribute_text(first, "unit", "units") if first is not None else "ms"
    seconds = options.seconds(("spikes",), stated, place(trial), expected=True)
    times = np.concatenate([read_numbers(train) for train in trains.values()] or [np.zeros(0)])
    facts = {"format": "SONATA", "dialect": "allen", "file": Path(trial.file.filename).name}
    return from_source_times(population, ids, times, seconds, facts)


def _trains(trial: h5py.Group) -> Iterator[tuple[int, h5py.Dataset]]:
    found = groups_in(child_group(trial, "spike_train"), [])
    groups = {group.name.rsplit("/", 1)[-1]: group for group in found}
    if not all(name.isdigit() for name in groups):
        msg = f"spike_train in {place(trial)} has trains that are not named by an integer id"
        raise SourceError(msg)
    for name in sorted(groups, key=int):
        yield int(name), first_dataset(groups[name], "data")


# Write spikes.

_MS_PER_S = 1000.0
_SORTING = {"none": 0, "by_id": 1, "by_time": 2}
_OLD_SORTING = {"by_gid": "by_id", "time": "by_time"}


def write_spikes(file: h5py.File, spikes: Spikes, dialect: str, *, alone: bool) -> None:
    """Write the spikes of one population to ``/spikes/<population>``.

    Spikes whose source named no population go out without one in the Allen dialect, if they are
    ``alone``: ``/spikes/{gids, timestamps}``.
    """
    facts = spikes.provenance if spikes.provenance.get("format") == "SONATA" else {}
    attributes = facts.get("attributes", {})
    root = file.require_group("spikes")
    unnamed = facts.get("named") is False and dialect == "allen" and alone
    group = root if unnamed else root.create_group(spikes.population)
    dtypes = facts.get("dtypes", {})
    name = "gids" if unnamed else "node_ids"
    stated = dtypes.get("node_ids", dtypes.get("gids", "<u8"))
    id_dataset = create_ids(group, name, spikes.node_ids, stated)
    times = source_times(spikes).astype(dtypes.get("timestamps", "<f8"))
    time_dataset = group.create_dataset("timestamps", data=times)
    same = facts.get("dialect") == dialect
    if same:
        attributes_from_json(group, attributes.get(".", {}))
    attributes_from_json(root, attributes.get("..", {}))
    attributes_from_json(id_dataset, attributes.get("node_ids", attributes.get("gids", {})))
    attributes_from_json(time_dataset, attributes.get("timestamps", {}))
    may_lack = "attributes" in facts and (same or dialect == "allen")
    _write_unit(time_dataset, spikes.provenance.get("per_second", _MS_PER_S), may_lack=may_lack)
    if "sorting" not in group.attrs:
        _write_sorting(group, _sorting(spikes, facts), dialect)


def _write_unit(times: h5py.Dataset, per_second: float, *, may_lack: bool) -> None:
    """Write the unit of the times, unless what the source said (or left out) means the same."""
    stated = parse_unit(attribute_text(times, "units", "unit") or "ms")
    same = stated is not None and round(1 / stated.conversion, 9) == per_second
    if not same or ("units" not in times.attrs and not may_lack):
        times.attrs["units"] = unit_symbol(Unit("seconds", 1 / per_second)) or "ms"


def source_times(spikes: Spikes) -> NDArray[np.float64]:
    """Give the times in the unit and with the very bits of the source; shape (spike,)."""
    per_second = spikes.provenance.get("per_second", _MS_PER_S)
    times = spikes.times * per_second if per_second != 1 else spikes.times.copy()
    if ROUNDING in spikes.columns:
        times = (times.view(np.int64) + spikes.columns[ROUNDING]).view(np.float64)
    return times


def _sorting(spikes: Spikes, facts: Mapping[str, Any]) -> str | None:
    """Give the sorting that the source claimed, in today's word; that of others is seen."""
    if not facts:
        by_time = bool((np.diff(spikes.times) >= 0).all())
        by_id = bool((np.diff(spikes.node_ids.astype(np.int64)) >= 0).all())
        return "by_time" if by_time else "by_id" if by_id else "none"
    attributes = facts.get("attributes", {})
    for name in (".", ".."):
        stated = attributes.get(name, {}).get("sorting")
        if isinstance(stated, dict):
            return next((word for word, code in _SORTING.items() if code == stated["value"]), None)
        if isinstance(stated, str):
            return _OLD_SORTING.get(stated, stated)
    return None


def _write_sorting(group: h5py.Group, sorting: str | None, dialect: str) -> None:
    if sorting is None:
        return
    if dialect == "allen":
        group.attrs["sorting"] = sorting
    elif sorting in _SORTING:
        dtype = h5py.enum_dtype(_SORTING, basetype=np.uint8)
        group.attrs.create("sorting", _SORTING[sorting], dtype=dtype)
