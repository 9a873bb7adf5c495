"""Read and write compartment reports.

Reports of sections, somata, synapses, sums and contributions to an LFP have the same structure, but
their element ids have different meanings.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.files import AtomicFile
from ndx_simulation_output.recording import LazyArray, Report, parse_unit
from ndx_simulation_output.recording.ids import repeated_values
from ndx_simulation_output.recording.sorting import row_blocks
from ndx_simulation_output.recording.views import ColumnRange, Columns, Matrix, Transposed
from ndx_simulation_output.sonata.config import ReportConfig
from ndx_simulation_output.sonata.hdf5 import (
    attribute_text,
    attributes_from_json,
    base_name,
    child,
    child_group,
    describe_group,
    first_dataset,
    groups_in,
    location,
    note_unknown,
    sonata_provenance,
)
from ndx_simulation_output.sonata.mapping import (
    NODE_IDS,
    CellColumns,
    ComputePositions,
    attributes_in_mapping,
    center_positions,
    read_table,
    segment_positions,
    set_positions,
    write_table,
)
from ndx_simulation_output.sonata.series import (
    implied_rows,
    read_times,
    write_data,
    write_times,
    write_unit,
)
from ndx_simulation_output.sonata.units import ReadOptions
from ndx_simulation_output.storage.reading import wrap_array

ROOTS = ("report", "reports")

_MOST_ELEMENTS = 2**32 - 1  # libsonata reads element ids as uint32.


@dataclass(frozen=True)
class _ReportParts:
    """The groups and datasets of the report of one population."""

    group: h5py.Group
    data: h5py.Dataset
    mapping: h5py.Group
    population: str
    variable: str | None = None


def read_reports(
    file: h5py.File, config: ReportConfig, options: ReadOptions, notes: list[str]
) -> list[Report]:
    """Read the report of each population of a file."""
    groups = _populations(file, notes)
    reports = []
    for group in groups:
        population = base_name(group)
        name = config.name if len(groups) == 1 else f"{config.name}_{population}"
        note_unknown(group, ("data", "mapping"), notes)
        mapping = child_group(group, "mapping")
        parts = _ReportParts(group, first_dataset(group, "data"), mapping, population)
        reports.append(_read_report(parts, name, config, options, notes))
    return reports


def read_old_reports(
    file: h5py.File, config: ReportConfig, options: ReadOptions, notes: list[str]
) -> list[Report]:
    """Read a file older than SONATA: ``/<variable>/data`` and ``/mapping``, without population."""
    groups = [group for group in groups_in(file, notes) if "data" in group]
    population = options.population or "unknown"
    reports = []
    for group in groups:
        variable = base_name(group)
        name = config.name if len(groups) == 1 else f"{config.name}_{variable}"
        data, mapping = first_dataset(group, "data"), child_group(file, "mapping")
        parts = _ReportParts(group, data, mapping, population, variable)
        reports.append(_read_report(parts, name, config, options, notes))
    return reports


def _populations(file: h5py.File, notes: list[str]) -> list[h5py.Group]:
    groups = []
    for root in ROOTS:
        for group in groups_in(child_group(file, root), notes) if root in file else []:
            mapping = child_group(group, "mapping") if "mapping" in group else None
            if mapping is not None and not first_dataset(mapping, *NODE_IDS).size:
                notes.append(f"{location(group)} has no cells and was left out")
            else:
                groups.append(group)
    return groups


def _read_report(
    parts: _ReportParts, name: str, config: ReportConfig, options: ReadOptions, notes: list[str]
) -> Report:
    where = location(parts.data)
    table = read_table(
        parts.mapping, parts.population, _positions(config, parts.population, options, where, notes)
    )
    data = _as_time_by_compartment(parts, table.n_columns)
    rows = data.shape[0]
    stated_variable = attribute_text(parts.data, "variable", "variable_name") or parts.variable
    variable, remark = _variable(config, stated_variable)
    if remark:
        notes.append(f"{where}: {remark}")
    dialect = "bbp" if "index_pointers" in parts.mapping else "allen"
    names = (name, config.name)
    times, triple = read_times(
        parts.mapping,
        rows,
        names,
        options,
        unit_expected=dialect == "bbp",
        one_per_row=isinstance(data, Transposed),
    )
    if triple.get("implied_rows") not in {None, rows}:
        notes.append(
            f"{where} has {rows} rows where its time implies "
            f"{triple['implied_rows']}; all rows were read"
        )
    stated = config.unit or attribute_text(parts.data, "units", "unit")
    doubt = "which may be that of another of its variables" if _is_doubtful(config) else ""
    kind = f" ({config.kind} report)" if config.kind else ""
    return Report(
        name=name,
        report=config.name,
        data=_in_table_order(data, table.cell_columns),
        times=times,
        compartments=table.compartments,
        unit=options.data_unit(names, stated, variable, where, doubtful=doubt),
        variable=variable,
        description=(
            f"{variable or config.name} of the recorded compartments of population "
            f"{parts.population}{kind}{f'; {remark}' if remark else ''}"
        ),
        provenance={
            **_described(parts.group, variable, stated_variable),
            "dialect": dialect,
            "root": parts.group.name.split("/")[1] if parts.variable is None else "report",
            "kind": config.kind,
            **table.provenance,
            **triple,
            "rows": rows,
        },
    )


def _variable(config: ReportConfig, stated: str | None) -> tuple[str | None, str]:
    """Return the variable of the values, if it is known, and a remark if several were possible.

    ``stated`` is the variable that the file names.
    """
    names = config.variables
    if len(names) < 2 or config.is_sum:
        known = stated or ", ".join(names) or None
        if not names or known == ", ".join(names):
            return known, ""
        return (
            known,
            f"the variable is {stated} in the file, {', '.join(names)} in the configuration",
        )
    joined = f"reports {', '.join(config.joined)} name this file; " if config.joined else ""
    several = (
        f"{joined}the configuration names {len(names)} variables in one file, {', '.join(names)}"
    )
    if config.keeps_last and stated in {names[0], names[-1]}:
        return names[-1], (
            f"{several}: bmtk stores the values of the last, {names[-1]}, under the name of the "
            f"first"
        )
    return None, f"{several}: it is not known of which the values are"


def _is_doubtful(config: ReportConfig) -> bool:
    """Return True if the stated unit may be that of another variable than the values."""
    several = len(config.variables) > 1 and not config.is_sum
    return several and not (config.joined and config.keeps_last and config.unit)


def _described(group: h5py.Group, variable: str | None, stated: str | None) -> dict[str, Any]:
    """Return the provenance of a group, without the ``stated`` variable if it is a wrong one."""
    described = describe_group(group)
    if variable != stated:
        attributes = described["attributes"].get("data", {})
        kept = {key: text for key, text in attributes.items() if not key.startswith("variable")}
        described["attributes"] = {**described["attributes"], "data": kept}
    return described


def _positions(
    config: ReportConfig, population: str, options: ReadOptions, where: str, notes: list[str]
) -> ComputePositions | None:
    """Return the function that computes the positions that a file does not have, if it can."""
    stated = options.compartments.get(config.name, config.compartments)
    if stated not in {"all", "center"} and config.compartment_set is None:
        return None

    def compute(
        cells: NDArray[np.int64], counts: NDArray[np.int64], sections: NDArray[np.int64]
    ) -> NDArray[np.float64] | None:
        found, reason = None, ""
        if stated == "all":
            found = segment_positions(sections, counts)
            reason = "the segments of a section are not adjacent"
        elif stated == "center":
            found = center_positions(cells, counts, sections)
            reason = (
                "a section has several compartments, and the configuration does not say "
                f"compartments: all (--compartments {config.name}=all if it has every segment)"
            )
        elif config.compartment_set is not None:
            of, listed = config.compartment_set
            if of in {None, population}:
                found = set_positions(cells, counts, sections, listed)
            reason = "the compartment set has other compartments"
        if found is None and reason:
            notes.append(f"{where}: positions are unknown, as {reason}")
        return found

    return compute


def _as_time_by_compartment(parts: _ReportParts, n_elements: int) -> LazyArray:
    data = parts.data
    if data.dtype.kind not in "iuf" or data.ndim not in {1, 2}:
        msg = (
            f"{location(data)} has type {data.dtype} and shape {data.shape}; expected numbers "
            "(time, compartment)"
        )
        raise ShapeMismatchError(msg)
    if data.ndim == 1 and n_elements == 1:
        return Matrix(wrap_array(data))
    if data.ndim == 2 and data.shape[1] == n_elements:
        return wrap_array(data)
    if data.ndim == 2 and data.shape[0] == n_elements and _n_times(parts) == data.shape[1]:
        # arbor-sonata stores compartment × time, with one time for each value.
        return Transposed(wrap_array(data))
    found = f"{data.shape[1]} columns" if data.ndim == 2 else "one dimension"
    msg = f"{location(data)} has {found} but the mapping describes {n_elements} compartments"
    raise ShapeMismatchError(msg)


def _n_times(parts: _ReportParts) -> int | None:
    time = child(parts.mapping, "time") if "time" in parts.mapping else None
    return int(time.size) if isinstance(time, h5py.Dataset) else None


def _in_table_order(data: LazyArray, cell_columns: CellColumns | None) -> LazyArray:
    if cell_columns is None:
        return data
    columns = cell_columns.columns
    if len(columns) and np.array_equal(columns, np.arange(columns[0], columns[0] + len(columns))):
        if len(columns) == data.shape[1]:
            return data
        return ColumnRange(data, int(columns[0]), int(columns[0]) + len(columns))
    return Columns(data, columns)


def write_report(
    file: AtomicFile,
    report: Report,
    *,
    dialect: str,
    conform: bool,
    dtype: str | None,
    left_out: list[str],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write the report of one population; append to ``left_out`` what SONATA cannot store.

    With ``conform`` the reader of the dialect opens the file, whatever the source was; otherwise
    all is written as in the source.
    """
    provenance = sonata_provenance(report.provenance)
    root = "report" if conform else provenance.get("root", "report")
    group = file.create_group(f"{root}/{report.population}")
    mapping = group.create_group("mapping")
    order = write_table(mapping, report, provenance, dialect, left_out, conform=conform)
    bbp = dialect == "bbp"
    write_times(
        mapping, report.times, provenance, "mapping/time", unit_expected=bbp, conform=conform
    )
    stored = write_data(
        file,
        group,
        report.data if order is None else Columns(report.data, order),
        report.unit,
        provenance,
        left_out,
        dialect=dialect,
        dtype=dtype,
        progress=progress,
    )
    attributes: Mapping[str, Any] = provenance.get("attributes", {})
    attributes_from_json(group.parent, attributes.get("..", {}))
    attributes_from_json(group, attributes.get(".", {}))
    attributes_from_json(mapping, attributes.get("mapping", {}))
    for name, node in mapping.items():
        if name != "time":
            attributes_from_json(node, attributes_in_mapping(name, attributes))
    write_unit(stored, report.unit, attributes.get("data", {}))
    named = {"variable", "variable_name"} & set(stored.attrs)
    if dialect == "allen" and report.variable and not named:
        stored.attrs["variable"] = report.variable
    limits = _limits_of_libsonata(group) if bbp else _limits_of_bmtk(group)
    left_out += [f"report {report.name}: {limit}" for limit in limits]


def _limits_of_libsonata(group: h5py.Group) -> Iterator[str]:
    """Yield what in a written report libsonata refuses, or reads otherwise than it is."""
    data, mapping = group["data"], group["mapping"]
    if data.dtype.newbyteorder("=") != np.float32 or "units" not in data.attrs:
        units = "units" if "units" in data.attrs else "no units, which convert --unit sets"
        option = "" if data.dtype == np.float32 else " (export --dtype float32)"
        yield f"libsonata reads only float32 with units; this is {data.dtype} with {units}{option}"
    if group.parent.name != "/report":
        yield f"libsonata reads only /report; this is {group.parent.name}, as in the source"
    if "units" not in mapping["time"].attrs:
        yield "libsonata reads only times with units; these have none, as in the source"
    yield from _limits_of_rows(group, "libsonata")
    if not data.shape[0]:
        yield "libsonata refuses the frames, of which there are none"
    if mapping["time"][0] < 0:
        yield "libsonata refuses the frames, which start before 0"
    if mapping["element_ids"].size and _largest(mapping["element_ids"]) > _MOST_ELEMENTS:
        yield f"libsonata reads element ids above {_MOST_ELEMENTS} and below 0 as {_MOST_ELEMENTS}"
    if len(repeated_values(mapping["node_ids"][:])):
        yield "cells are listed repeatedly; libsonata selects one compartment of each"


def _limits_of_bmtk(group: h5py.Group) -> Iterator[str]:
    """Yield what in a written report bmtk refuses, or reads otherwise than it is."""
    mapping = group["mapping"]
    if group.parent.name != "/report":
        yield f"bmtk reads only /report; this is {group.parent.name}, as in the source"
    unit = attribute_text(mapping["time"], "units", "unit") or "ms"
    if parse_unit(unit) != parse_unit("ms"):
        yield f"bmtk reads times as ms; these are in {unit}, as in the source"
    yield from _limits_of_rows(group, "bmtk")
    if len(repeated_values(mapping["node_ids"][:])):
        yield "cells are listed repeatedly; bmtk selects the last entry of each"


def _limits_of_rows(group: h5py.Group, reader: str) -> Iterator[str]:
    """Yield a text if the time triple does not imply the number of rows."""
    rows, implied = group["data"].shape[0], implied_rows(group["mapping"]["time"][:].tolist())
    if implied not in {None, rows}:
        yield f"{reader} expects {implied} rows from the time; there are {rows}, as in the source"


def _largest(ids: h5py.Dataset) -> int:
    """Return the largest id, where negative ones are unsigned integers."""
    return max(int(ids[block].astype(np.uint64).max()) for block in row_blocks(ids.shape[0]))
