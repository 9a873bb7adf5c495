"""Spikes in every layout that was found: by population, without one, in NWB 1 files, as text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.sonata.hdf5 import (
    attribute_text,
    child_group,
    describe_group,
    first_dataset,
    first_name,
    groups_in,
    note_others,
    place,
    read_ids,
    read_numbers,
)
from ndx_simulation_output.adapters.sonata.options import ReadOptions
from ndx_simulation_output.adapters.sonata.text import (
    float_column,
    integer_column,
    read_text_table,
)
from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import Spikes

__all__ = [
    "ROUNDING",
    "from_source_times",
    "read_nwb1_spikes",
    "read_spikes",
    "read_text_spikes",
]

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
