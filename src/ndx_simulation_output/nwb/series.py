"""Convert time series and compartment tables of NWB to reports, without reading their data."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import VectorIndex
from hdmf.common.table import EnumData
from hdmf.data_utils import DataIO
from numpy.typing import NDArray
from pynwb import TimeSeries

from ndx_simulation_output.errors import ShapeMismatchError, SourceError, source_errors
from ndx_simulation_output.recording import (
    Categories,
    CompartmentTable,
    LazyArray,
    RegularTimes,
    Report,
    Times,
    Timestamps,
    Unit,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.ids import free_name, repeated_values
from ndx_simulation_output.recording.views import Matrix
from ndx_simulation_output.storage.raw_files import is_hdf5
from ndx_simulation_output.storage.reading import wrap_array

_BLOCK = 2**15
"""Rows that are compared at a time; memory for larger blocks is new each time, which is slower."""


def nwb_name(name: str) -> str:
    """Replace the characters that NWB does not allow in the name of an object."""
    return name.replace("/", "_").replace(":", "_")


def free_nwb_name(name: str, used: Collection[str]) -> str:
    """Return a valid name for an NWB object, with a number if it is ``used``.

    Example
    -------
    >>> free_nwb_name("a:b", ["a_b"])
    'a_b_2'

    """
    # NWB allows a backslash, but nwbinspector does not.
    valid = nwb_name(name).replace("\\", "_").replace("\0", "").strip(".")
    return free_name(valid or "unnamed", used)


def time_arguments(times: Times) -> dict[str, Any]:
    """Return the time arguments of ``TimeSeries``, in seconds."""
    if isinstance(times, RegularTimes):
        return {"starting_time": float(times.start), "rate": float(times.rate)}
    return {"timestamps": np.asarray(times.values[:], np.float64)}


def read_times(series: TimeSeries, count: int) -> Times:
    """Return the times of the ``count`` rows of a series."""
    if series.rate is not None:
        return RegularTimes(float(series.starting_time or 0.0), float(series.rate), count)
    return Timestamps(array_of(series.timestamps, f"timestamps of {series.name!r}"))


def read_series(series: Any) -> Report:
    """Convert a ``CompartmentSeries`` to a report, which is cached if its file is read-only."""
    report: Report | None = getattr(series, "_report", None)
    if report is None:
        report = _read_series(series)
        if _is_read_only(series.data) and _is_read_only(series.compartments.id.data):
            series._report = report  # noqa: SLF001 - a cache
    return report


def _is_read_only(data: Any) -> bool:
    return is_hdf5(data) and bool(data.id.valid) and data.file.mode == "r"


def _read_series(series: Any) -> Report:
    if series.compartments is None:
        msg = f"CompartmentSeries {series.name!r} has no table of compartments"
        raise ShapeMismatchError(msg)
    data = wrap_array(array_of(series.data, f"CompartmentSeries {series.name!r}"))
    if len(data.shape) == 1:
        data = Matrix(data)
    return Report(
        name=series.name,
        data=data,
        times=read_times(series, data.shape[0]),
        compartments=read_table(series.compartments),
        unit=Unit(series.unit, float(series.conversion), float(series.offset), checked=False),
        description=series.description,
    )


def data_shape(series: Any) -> tuple[int | None, ...] | None:
    """Return the shape of the data of a series, or None if it is unknown before writing."""
    data = series.fields.get("data")
    if isinstance(data, TimeSeries):
        return data_shape(data)
    data = data.data if isinstance(data, DataIO) and data.data is not None else data
    shape = getattr(data, "maxshape", None) if not hasattr(data, "shape") else data.shape
    if shape is None and isinstance(data, DataIO):
        shape = getattr(data, "_dataset_shape", None)
    if shape is None and hasattr(data, "__len__"):
        shape = np.shape(data)
    return None if shape is None else tuple(shape)


def read_table(table: Any) -> CompartmentTable:
    """Convert a ``Compartments`` table; columns that do not fit its rows are left out."""
    uneven = uneven_columns(table)
    flat = [name for name in table.colnames if not isinstance(table[name], VectorIndex)]
    ragged = {
        name: column_values(table, name)
        for name in table.colnames
        if name not in flat and name not in uneven
    }
    where, population = f"table {table.name!r}", table.population or "unknown"
    ids = array_of(table.id.data, where)
    node_sets = node_sets_of(getattr(table.parent, "circuit", None))
    if not isinstance(table["number"], VectorIndex):
        # Without an index, every column has one value for each cell: its one compartment.
        rows = np.arange(1, len(table) + 1)
        columns = {name: column_values(table, name) for name in flat}
        return CompartmentTable(population, ids, rows, columns, node_sets=node_sets)
    ends = array_of(table["number"].data, where)
    properties = read_properties(table, flat)
    return CompartmentTable(population, ids, ends, ragged, properties, node_sets)


def node_sets_of(circuit: Any) -> dict[str, Any]:
    """Return the node sets of a ``CircuitDescription`` or None."""
    if circuit is None or not circuit.node_sets:
        return {}
    where = "general/simulation/circuit/node_sets"
    with source_errors(f"{where} is not JSON", SourceError):
        node_sets = json.loads(circuit.node_sets)
    if not isinstance(node_sets, dict):
        msg = f"{where} is a {type(node_sets).__name__} in JSON; expected node sets by name"
        raise SourceError(msg)
    return node_sets


def column_names(columns: Iterable[Any]) -> list[str]:
    """Return the names of columns, without those of indices and of the texts of an enum."""
    columns = list(columns)
    elements = {column.elements.name for column in columns if isinstance(column, EnumData)}
    return [
        column.name
        for column in columns
        if not isinstance(column, VectorIndex) and column.name not in elements
    ]


def column_values(table: Any, name: str) -> LazyArray:
    """Return the values of a column, without its index if it is ragged, or text of codes."""
    column = table[name]
    column = column.target if isinstance(column, VectorIndex) else column
    values = array_of(column.data, f"column {name!r} of table {table.name!r}")
    texts = column.elements.data if isinstance(column, EnumData) else None
    texts = getattr(column, "categories", texts)  # of a CategoryData
    if texts is None:
        return values
    if values.dtype.kind not in "iu":
        msg = f"column {name!r} of table {table.name!r} has codes of type {values.dtype}; expected "
        raise ShapeMismatchError(msg + "integers")
    names = [_text(text) for text in np.asarray(texts[:]).tolist()]
    if names and not names[-1]:
        return Categories(values, tuple(names[:-1]), len(names) - 1)
    return Categories(values, tuple(names))


_JSON_TEXT = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_DESCRIPTION = re.compile(
    rf"Property (?P<name>{_JSON_TEXT}) of each cell"
    rf"(?:, in [^;]*)?(?:; missing: (?P<missing>{_JSON_TEXT}))?"
)


def describe_property(name: str, column: str, unit: str = "", missing: str | None = None) -> str:
    """Return the description of a column with a property of cells, from which it is read.

    Example
    -------
    >>> describe_property("x", "soma_x", "micrometers")
    'Property "x" of each cell, in micrometers'
    >>> describe_property("layer", "layer")
    'layer'

    """
    if name == column and not unit and missing is None:
        return name
    text = f"Property {json.dumps(name, ensure_ascii=False)} of each cell"
    text += f", in {unit}" if unit else ""
    return text if missing is None else f"{text}; missing: {json.dumps(missing)}"


def read_property(table: Any, column: str) -> tuple[str, LazyArray]:
    """Return the name of a property of cells before it was stored in NWB, and its values."""
    values = column_values(table, column)
    match = _DESCRIPTION.fullmatch(table[column].description or "")
    name = json.loads(match["name"]) if match else column
    if values.dtype.kind in "OSU" and not isinstance(values, Categories):
        missing = json.loads(match["missing"]) if match and match["missing"] else None
        values = _Text(values, missing)
    return name, values


def read_properties(table: Any, columns: Iterable[str]) -> dict[str, LazyArray]:
    """Return the properties of cells in ``columns``, by the names that they had before NWB."""
    found: dict[str, LazyArray] = {}
    for column in columns:
        name, values = read_property(table, column)
        found[column if name in found else name] = values
    return found


@dataclass(frozen=True)
class _Text(LazyArrayBase):
    """Text of a column, or None where it is ``missing``."""

    array: LazyArray
    missing: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of text in memory."""
        return np.dtype(object)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        read = np.asarray(self.array[slices])
        texts = np.array([_text(text) for text in read.ravel().tolist()], object)
        if self.missing is not None:
            texts[texts == self.missing] = None
        return texts.reshape(read.shape)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def table_size(table: Any) -> int:
    """Return the number of compartments of a table without reading its columns."""
    if not len(table):
        return 0
    number = table["number"]
    return int(number.data[-1]) if isinstance(number, VectorIndex) else len(number.data)


def uneven_columns(table: Any) -> list[str]:
    """Return the names of ragged columns without exactly one value for each compartment."""
    if "number" not in table.colnames or not isinstance(table["number"], VectorIndex):
        return []
    size, ends = table_size(table), table["number"].data
    return [
        name
        for name in table.colnames
        if isinstance(column := table[name], VectorIndex)
        and not (
            len(column.target.data) == size
            and (name == "number" or _are_equal(column.data, ends))
            and not isinstance(column.target, VectorIndex)
        )
    ]


def _are_equal(one: Any, other: Any) -> bool:
    """Return True if two columns have equal values; they are read in blocks."""
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(one), _BLOCK))
    return len(one) == len(other) and all(
        np.array_equal(one[block], other[block]) for block in blocks
    )


def uneven_schema_columns(table: Any) -> list[str]:
    """Return the ``uneven_columns`` of the schema, without those that users added."""
    in_schema = {column["name"] for column in type(table).__columns__}
    return [name for name in uneven_columns(table) if name in in_schema]


def repeated_ids(table: Any) -> list[int]:
    """Return the ids that occur more than once."""
    repeated: list[int] = repeated_values(np.asarray(table.id[:])).tolist()
    return repeated


def array_of(data: Any, where: str) -> LazyArray:
    """Return the data of an object of pynwb as an array, not yet read if they are in a file.

    Raises ShapeMismatchError, with the name of the object, for an iterator over data.
    """
    if isinstance(data, DataIO):
        data = data.data
    if not (hasattr(data, "dtype") and hasattr(data, "shape")):
        found = np.asarray(data)
        if found.dtype.kind == "O" and not found.shape:
            msg = f"{where} has no data yet; write its file first"
            raise ShapeMismatchError(msg)
        return found
    return wrap_array(data)
