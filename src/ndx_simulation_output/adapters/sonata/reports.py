"""Compartment reports: of sections, somas, synapses, sums and contributions to an LFP.

Nothing in such a file says which of these it is; they differ in what the element ids count.
"""

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.adapters.sonata.config import ReportConfig
from ndx_simulation_output.adapters.sonata.hdf5 import (
    attribute_text,
    child,
    child_group,
    describe_group,
    first_dataset,
    groups_in,
    note_others,
    place,
)
from ndx_simulation_output.adapters.sonata.mapping import Layout
from ndx_simulation_output.adapters.sonata.options import ReadOptions
from ndx_simulation_output.adapters.sonata.table import CELLS, read_table
from ndx_simulation_output.adapters.sonata.times import (
    TRIPLE,
    implied_rows,
    read_times,
    regular_times,
)
from ndx_simulation_output.engine.reading import as_array
from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import LazyArray, Report, Times
from ndx_simulation_output.recording.views import ColumnRange, Columns, Matrix, Transposed

__all__ = ["ROOTS", "read_old_report", "read_reports"]

ROOTS = ("report", "reports")


def read_reports(
    file: h5py.File, config: ReportConfig, options: ReadOptions
) -> tuple[list[Report], list[str]]:
    """Describe every population of a report file; also say what was left out.

    Raises
    ------
    SourceError
        If a population contradicts the format.
    ShapeMismatchError
        If its mapping does not fit its data.

    """
    notes: list[str] = []
    groups = _populations(file, notes)
    reports = []
    for group in groups:
        population = group.name.rsplit("/", 1)[-1]
        name = config.name if len(groups) == 1 else f"{config.name}_{population}"
        note_others(group, ("data", "mapping"), notes)
        mapping = child_group(group, "mapping")
        parts = _Parts(group, first_dataset(group, "data"), mapping, population)
        reports.append(_read_report(parts, name, config, options, notes))
    return reports, notes


def read_old_report(
    file: h5py.File, config: ReportConfig, options: ReadOptions
) -> tuple[list[Report], list[str]]:
    """Describe a file older than SONATA: ``/<variable>/data`` beside ``/mapping``, no population.

    Raises
    ------
    SourceError
        If it has no time and the caller gave no time step.

    """
    notes: list[str] = []
    groups = [group for group in groups_in(file, notes) if "data" in group]
    reports = []
    for group in groups:
        variable, population = group.name.strip("/"), options.population or "unknown"
        name = config.name if len(groups) == 1 else f"{config.name}_{variable}"
        data = first_dataset(group, "data")
        parts = _Parts(group, data, child_group(file, "mapping"), population, variable)
        reports.append(_read_report(parts, name, config, options, notes))
    return reports, notes


@dataclass(frozen=True)
class _Parts:
    """Where the parts of the report of one population are."""

    group: h5py.Group
    data: h5py.Dataset
    mapping: h5py.Group
    population: str
    variable: str | None = None


def _populations(file: h5py.File, notes: list[str]) -> list[h5py.Group]:
    groups = []
    for root in ROOTS:
        for group in groups_in(child_group(file, root), notes) if root in file else []:
            if "mapping" in group and not first_dataset(child_group(group, "mapping"), *CELLS).size:
                notes.append(f"{place(group)} has no cells and was left out")
            else:
                groups.append(group)
    return groups


def _read_report(
    parts: _Parts, name: str, config: ReportConfig, options: ReadOptions, notes: list[str]
) -> Report:
    complete = options.compartments.get(config.name, config.compartments) == "all"
    table = read_table(parts.mapping, parts.population, every_segment=complete)
    data = _as_time_by_compartment(parts, table.n_columns)
    variable = attribute_text(parts.data, "variable", "variable_name")
    variable = variable or parts.variable or config.variable
    times, time_facts = _times(parts, data, (name, config.name), options)
    if time_facts.get("implied_rows") not in {None, data.shape[0]}:
        notes.append(
            f"{place(parts.data)} has {data.shape[0]} rows where its time implies "
            f"{time_facts['implied_rows']}; all rows were kept"
        )
    stated = config.unit or attribute_text(parts.data, "units", "unit")
    return Report(
        name=name,
        report=config.name,
        data=_ordered(data, table.layout),
        times=times,
        compartments=table.compartments,
        unit=options.data_unit((name, config.name), stated, variable, place(parts.data)),
        variable=variable,
        description=_description(config, variable, parts.population),
        provenance={
            **describe_group(parts.group),
            "dialect": "bbp" if "index_pointers" in parts.mapping else "allen",
            "root": parts.group.name.split("/")[1] if parts.variable is None else "report",
            "kind": config.kind,
            **table.facts,
            **time_facts,
            "rows": data.shape[0],
        },
    )


def _as_time_by_compartment(parts: _Parts, n_elements: int) -> LazyArray:
    data = parts.data
    if data.dtype.kind not in "iuf" or data.ndim not in {1, 2}:
        msg = f"{place(data)} has type {data.dtype} and shape {data.shape}; expected a matrix"
        raise ShapeMismatchError(msg)
    if data.ndim == 1 and n_elements == 1:
        return Matrix(as_array(data))
    if data.ndim == 2 and data.shape[1] == n_elements:
        return as_array(data)
    if data.ndim == 2 and data.shape[0] == n_elements and _n_times(parts) == data.shape[1]:
        # arbor-sonata stores values × time, with a time for each value.
        return Transposed(as_array(data))
    found = f"{data.shape[1]} columns" if data.ndim == 2 else "one dimension"
    msg = f"{place(data)} has {found} but the mapping describes {n_elements} compartments"
    raise ShapeMismatchError(msg)


def _n_times(parts: _Parts) -> int | None:
    time = child(parts.mapping, "time") if "time" in parts.mapping else None
    return int(time.size) if isinstance(time, h5py.Dataset) else None


def _ordered(data: LazyArray, layout: Layout) -> LazyArray:
    columns = layout.columns
    if len(columns) and np.array_equal(columns, np.arange(columns[0], columns[0] + len(columns))):
        if len(columns) == data.shape[1]:
            return data
        return ColumnRange(data, int(columns[0]), int(columns[0]) + len(columns))
    return Columns(data, columns)


def _times(
    parts: _Parts, data: LazyArray, names: tuple[str, ...], options: ReadOptions
) -> tuple[Times, dict[str, Any]]:
    rows = data.shape[0]
    if "time" not in parts.mapping:
        if options.dt is None:
            msg = f"{place(parts.mapping)} has no time; set the time step in ms with --dt (dt=…)"
            raise SourceError(msg)
        return regular_times(0.0, options.dt, rows, 1e-3, place(parts.data)), {}
    time = first_dataset(parts.mapping, "time")
    allen = "index_pointers" not in parts.mapping
    stated = attribute_text(time, "units", "unit")
    seconds = options.seconds(names, stated, place(time), expected=not allen)
    vector = isinstance(data, Transposed)
    times = read_times(time, rows, seconds, vector=vector)
    if len(time) != TRIPLE or vector:
        return times, {}
    triple = [float(value) for value in time[:]]
    return times, {"time": triple, "implied_rows": implied_rows(triple)}


def _description(config: ReportConfig, variable: str | None, population: str) -> str:
    what = variable or config.name
    kind = f" ({config.kind} report)" if config.kind else ""
    return f"{what} of the recorded compartments of population {population}{kind}"
