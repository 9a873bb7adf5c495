"""Write compartment reports."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError, SourceError
from ndx_simulation_output.files import AtomicFile
from ndx_simulation_output.recording import (
    CompartmentTable,
    LazyArray,
    RegularTimes,
    Report,
    Unit,
    parse_unit,
    unit_symbol,
)
from ndx_simulation_output.recording.views import Columns, Scaled
from ndx_simulation_output.sonata.files import attributes_from_json, regular_times
from ndx_simulation_output.storage.layout import StorageOptions, plan_layout
from ndx_simulation_output.storage.writing import create_dataset, write_matrix

# Write compartment reports.

_POINTERS = {"allen": "index_pointer", "bbp": "index_pointers"}
_DTYPES = {
    "allen": {"node_ids": "<u8", "element_ids": "<u8", "pointers": "<u8"},
    "bbp": {"node_ids": "<u8", "element_ids": "<u4", "pointers": "<u8"},
}
_OWN_COLUMNS = {"number", "position", "source_column"}


def write_report(
    file: AtomicFile,
    report: Report,
    dialect: str,
    dtype: str | None,
    left_out: list[str],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write the report of one population; append to ``left_out`` what the format cannot say.

    Raises
    ------
    ExportError
        If the population has no name that HDF5 can have.

    """
    if not report.population or "/" in report.population:
        msg = f"report {report.name}: population {report.population!r} cannot name an HDF5 group"
        raise ExportError(msg)
    facts = report.provenance if report.provenance.get("format") == "SONATA" else {}
    group = file.create_group(f"{facts.get('root', 'report')}/{report.population}")
    mapping = group.create_group("mapping")
    order = _write_mapping(mapping, report, dialect, left_out)
    write_time(mapping, report.times, facts, "mapping/time", stated=dialect == "bbp")
    data = report.data if order is None else Columns(report.data, order)
    stored = write_data(
        group, data, report.unit, facts, left_out, file.path, dtype, dialect, progress
    )
    attributes = facts.get("attributes", {})
    attributes_from_json(group.parent, attributes.get("..", {}))
    attributes_from_json(group, attributes.get(".", {}))
    attributes_from_json(mapping, attributes.get("mapping", {}))
    for name, node in mapping.items():
        if name != "time":
            attributes_from_json(node, _attributes_of(name, attributes))
    restore_units(stored, report.unit, attributes.get("data", {}))
    if (
        dialect == "allen"
        and report.variable
        and not {"variable", "variable_name"} & set(stored.attrs)
    ):
        stored.attrs["variable"] = report.variable
    if dialect == "bbp" and (stored.dtype != np.float32 or "units" not in stored.attrs):
        left_out.append(
            f"report {report.name}: libsonata reads only float32 with units; this is "
            f"{stored.dtype} with {'units' if 'units' in stored.attrs else 'no units'}"
        )


def write_data(
    group: h5py.Group,
    data: LazyArray,
    unit: Unit,
    facts: Mapping[str, Any],
    left_out: list[str],
    path: Path,
    dtype: str | None = None,
    dialect: str = "allen",
    progress: Callable[[int], object] | None = None,
) -> h5py.Dataset:
    """Write ``data`` (time, column) with its unit as text to the file at ``path``, in blocks.

    Values of a unit that has no symbol are multiplied to the SI unit.
    """
    if unit.known and unit_symbol(unit) is None and (unit.conversion, unit.offset) != (1.0, 0.0):
        left_out.append(f"{group.name}: values were scaled to {unit.name}")
        data = Scaled(data, unit.conversion, unit.offset)
        facts = {}
    stated = np.dtype(facts.get("dtypes", {}).get("data", data.dtype))
    # The source may have had the other byte order. Data that were changed since keep their type.
    same = stated.newbyteorder("=") == data.dtype.newbyteorder("=")
    chosen = np.dtype(dtype or (stated if same else data.dtype))
    shape = data.shape[0], data.shape[1]
    if dialect == "allen" and all(shape):
        stored = group.create_dataset("data", shape, chosen, chunks=True)
        layout = plan_layout(shape, chosen.itemsize, storage=StorageOptions(chunks=stored.chunks))
    else:
        layout = plan_layout(shape, chosen.itemsize, storage=StorageOptions(chunks="contiguous"))
        stored = create_dataset(group, "data", layout, chosen)
    write_matrix(data, stored, layout, path=path, progress=progress)
    return stored


def write_time(
    group: h5py.Group, times: Any, facts: Mapping[str, Any], path: str, *, stated: bool
) -> h5py.Dataset:
    """Write the triple (start, stop, step): that of the source where it still holds, else in ms.

    ``path`` is where ``facts`` have the time of the source.
    """
    attributes = facts.get("attributes", {}).get(path, {})
    triple = facts.get("time")
    if triple is not None and _still_holds(triple, attributes, times, facts.get("rows")):
        dtype = facts.get("dtypes", {}).get(path, "<f8")
        dataset = group.create_dataset("time", data=np.asarray(triple), dtype=dtype)
        attributes_from_json(dataset, attributes)
        return dataset
    step = round(1000.0 / times.rate, 12)
    start = round(times.start * 1000.0, 9)
    stop = round(start + times.count * step, 9)
    dataset = group.create_dataset("time", data=np.asarray([start, stop, step]))
    if stated or "time" in facts or not facts:
        dataset.attrs["units"] = "ms"
    others = {name: value for name, value in attributes.items() if name not in {"unit", "units"}}
    attributes_from_json(dataset, others)
    return dataset


def _still_holds(
    triple: list[float], attributes: Mapping[str, Any], times: RegularTimes, rows: int | None
) -> bool:
    unit = parse_unit(str(attributes.get("units", attributes.get("unit", "ms"))))
    seconds = unit.conversion if unit is not None and unit.name == "seconds" else 1e-3
    try:
        return times == regular_times(triple[0], triple[2], rows or 0, seconds, "time")
    except SourceError:
        return False


def _write_mapping(
    mapping: h5py.Group, report: Report, dialect: str, left_out: list[str]
) -> NDArray[np.intp] | None:
    """Write the mapping; give the order of the columns where it is not that of the table."""
    table, facts = report.compartments, report.provenance
    order = None
    cells, counts = np.asarray(table.cell_ids[:]), table.counts()
    if facts.get("repeated_ids"):
        if "source_column" in table.columns:
            order = np.argsort(np.asarray(table.columns["source_column"][:]), kind="stable")
        entries = facts.get("entries") or {}
        cells = table.column_cells() if order is None else table.column_cells()[order]
        cells = np.asarray(entries.get("node_ids", cells))
        counts = np.asarray(entries.get("counts", np.ones(len(cells), np.int64)))
    pointers = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    dtypes = _dtypes(facts, dialect)
    create_ids(mapping, "node_ids", cells, dtypes["node_ids"])
    create_ids(mapping, _POINTERS[dialect], pointers, dtypes["pointers"])
    numbers = np.asarray(table.columns["number"][:])
    create_ids(mapping, "element_ids", _taken(numbers, order), dtypes["element_ids"])
    _write_positions(mapping, report, order, dialect, left_out)
    _write_extras(mapping, table, facts, order)
    return order


def _write_positions(
    mapping: h5py.Group,
    report: Report,
    order: NDArray[np.intp] | None,
    dialect: str,
    left_out: list[str],
) -> None:
    table, facts = report.compartments, report.provenance
    computed = facts.get("positions") == "computed"
    if "position" in table.columns and not (computed and dialect == "bbp"):
        positions = np.asarray(table.columns["position"][:])
        dtype = facts.get("dtypes", {}).get("mapping/element_pos", positions.dtype)
        mapping.create_dataset("element_pos", data=_taken(positions, order), dtype=dtype)
    elif dialect == "allen" == facts.get("dialect"):
        left_out.append(f"report {report.name}: the source has no element_pos; bmtk needs one")
    elif dialect == "allen":
        left_out.append(f"report {report.name}: positions are unknown, element_pos is NaN")
        mapping.create_dataset("element_pos", data=np.full(table.n_compartments, np.nan))


def _write_extras(
    mapping: h5py.Group,
    table: CompartmentTable,
    facts: Mapping[str, Any],
    order: NDArray[np.intp] | None,
) -> None:
    names = facts.get("columns", {})
    dtypes = facts.get("dtypes", {})
    of_entries = (facts.get("entries") or {}).get("columns", {})
    for column, array in table.columns.items():
        name = names.get(column, column)
        if name in of_entries:
            _create_extra(mapping, name, np.asarray(of_entries[name]), dtypes)
        elif column not in _OWN_COLUMNS:
            _create_extra(mapping, name, _taken(array[:], order), dtypes)
    for column, array in table.cell_columns.items():
        _create_extra(mapping, names.get(column, column), np.asarray(array[:]), dtypes)


def _create_extra(
    mapping: h5py.Group, name: str, values: NDArray[Any], dtypes: Mapping[str, str]
) -> None:
    values = np.asarray(values)
    if values.dtype.kind in "OSU":
        mapping.create_dataset(name, data=values.tolist(), dtype=h5py.string_dtype())
    else:
        dtype = dtypes.get(f"mapping/{name}", values.dtype)
        mapping.create_dataset(name, data=values, dtype=dtype)


def create_ids(group: h5py.Group, name: str, values: NDArray[Any], dtype: str) -> h5py.Dataset:
    """Write ids as ``dtype``, or as uint64 where it does not hold them."""
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and len(values):
        # -1 is what 2**64 - 1 was read as, and goes back to it; anything else must fit.
        limits = np.iinfo(wanted)
        wraps = wanted == np.uint64
        if not wraps and (values.min() < limits.min or values.max() > limits.max):
            wanted = np.dtype(np.uint64)
    return group.create_dataset(name, data=values.astype(np.int64).astype(wanted))


def _dtypes(facts: Mapping[str, Any], dialect: str) -> dict[str, str]:
    chosen = dict(_DTYPES[dialect])
    if facts.get("dialect") == dialect:
        stated = facts.get("dtypes", {})
        names = {
            "node_ids": ("node_ids", "gids"),
            "element_ids": ("element_ids", "element_id"),
            "pointers": ("index_pointers", "index_pointer"),
        }
        for key, spellings in names.items():
            paths = [f"mapping/{name}" for name in spellings]
            chosen[key] = next((stated[path] for path in paths if path in stated), chosen[key])
    return chosen


def _attributes_of(name: str, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the attributes of a mapping dataset, which the source may have spelled otherwise."""
    spellings = {"index_pointer": "index_pointers", "index_pointers": "index_pointer"}
    paths = (f"mapping/{name}", f"mapping/{spellings.get(name, name)}")
    found: Mapping[str, Any] = next((attributes[path] for path in paths if path in attributes), {})
    return found


def restore_units(data: h5py.Dataset, unit: Unit, attributes: dict[str, Any]) -> None:
    """Write the unit: as the source spelled it where that is still the unit."""
    stated = attributes.get("units")
    others = {name: value for name, value in attributes.items() if name != "units"}
    attributes_from_json(data, others)
    if not unit.known:
        attributes_from_json(data, attributes)
    elif isinstance(stated, str) and parse_unit(stated) == unit:
        data.attrs["units"] = stated
    else:
        data.attrs["units"] = unit_symbol(unit) or unit_symbol(Unit(unit.name)) or unit.name


def _taken(values: Any, order: NDArray[np.intp] | None) -> NDArray[Any]:
    array = np.asarray(values)
    return array if order is None else array[order]
