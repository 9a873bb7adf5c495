"""Series and tables of NWB as reports and compartments; data are not read."""

from typing import Any

import h5py
import numpy as np
from hdmf.common import VectorIndex
from hdmf.data_utils import DataIO
from pynwb import TimeSeries

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording import (
    CompartmentTable,
    LazyArray,
    RegularTimes,
    Report,
    Times,
    Timestamps,
    Unit,
)
from ndx_simulation_output.recording.compartments import repeated_values
from ndx_simulation_output.recording.views import Matrix
from ndx_simulation_output.storage.reading import as_array

# What every series of NWB is made with: a name that NWB allows, and times.


def nwb_name(name: str) -> str:
    """Replace the characters that NWB does not allow in the name of an object."""
    return name.replace("/", "_").replace(":", "_")


def time_arguments(times: Times) -> dict[str, Any]:
    """Give the arguments of a ``TimeSeries`` that say when its rows were recorded, in seconds."""
    if isinstance(times, RegularTimes):
        return {"starting_time": float(times.start), "rate": float(times.rate)}
    return {"timestamps": np.asarray(times.values[:], np.float64)}


# NWB objects in the neutral description; their data stay where they are.


def table_size(table: Any) -> int:
    """Count the compartments of a ``Compartments`` table without reading its columns."""
    if not len(table):
        return 0
    number = table["number"]
    return int(number.data[-1]) if isinstance(number, VectorIndex) else len(number.data)


def data_shape(series: Any) -> tuple[int | None, ...] | None:
    """Shape of the data of a series, or None where it is not known before writing."""
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


def describe_table(table: Any) -> CompartmentTable:
    """Describe a ``Compartments`` table.

    Raises
    ------
    ShapeMismatchError
        If its columns do not have the same number of compartments for each cell.

    """
    ragged, flat = {}, {}
    undescribed = undescribed_columns(table)
    for name in table.colnames:
        column = table[name]
        if not isinstance(column, VectorIndex):
            flat[name] = _array(column.data)
        elif name not in undescribed:
            ragged[name] = _array(column.target.data)
    ids, population = _array(table.id.data), table.population or "unknown"
    if not isinstance(table["number"], VectorIndex):
        # Without an index, every column has one value for each cell: its one compartment.
        return CompartmentTable(population, ids, np.arange(1, len(table) + 1), flat)
    return CompartmentTable(population, ids, _array(table["number"].data), ragged, flat)


def undescribed_columns(table: Any) -> list[str]:
    """Names of ragged columns that do not have one value for each compartment of each cell."""
    if "number" not in table.colnames or not isinstance(table["number"], VectorIndex):
        return []
    ends = np.asarray(table["number"].data[:])
    return [
        name
        for name in table.colnames
        if isinstance(column := table[name], VectorIndex)
        and not (
            len(column.target.data) == table_size(table)
            and (name == "number" or np.array_equal(column.data[:], ends))
            and not isinstance(column.target, VectorIndex)
        )
    ]


def uneven_columns(table: Any) -> list[str]:
    """Names of columns of the schema that do not have one value for each compartment.

    Columns that users add may have other numbers of values for each cell.
    """
    own = {column["name"] for column in type(table).__columns__}
    return [name for name in undescribed_columns(table) if name in own]


def repeated_ids(table: Any) -> list[int]:
    """Ids of cells that stand in more than one row."""
    repeated: list[int] = repeated_values(np.asarray(table.id[:])).tolist()
    return repeated


def describe_times(series: Any, count: int) -> Times:
    """Describe when the ``count`` rows of a ``TimeSeries`` were taken."""
    if series.rate is not None:
        return RegularTimes(float(series.starting_time or 0.0), float(series.rate), count)
    return Timestamps(_array(series.timestamps))


def describe_series(series: Any) -> Report:
    """Describe a ``CompartmentSeries`` that has a table; once if both lie in a file that is read.

    Raises
    ------
    ShapeMismatchError
        If it has no table, or one that does not fit its data.

    """
    described: Report | None = getattr(series, "_described", None)
    if described is None:
        described = _describe_series(series)
        if _stays(series.data) and _stays(series.compartments.id.data):
            series._described = described  # noqa: SLF001 - nothing else knows about it
    return described


def _stays(data: Any) -> bool:
    """Whether data cannot change: they are in a file that is open for reading."""
    return isinstance(data, h5py.Dataset) and bool(data.id.valid) and data.file.mode == "r"


def _describe_series(series: Any) -> Report:
    if series.compartments is None:
        msg = f"CompartmentSeries {series.name!r} has no table that says what its columns are"
        raise ShapeMismatchError(msg)
    data = as_array(_array(series.data))
    if not data.shape:
        msg = f"the data of CompartmentSeries {series.name!r} are not there before it is written"
        raise ShapeMismatchError(msg)
    if len(data.shape) == 1:
        data = Matrix(data)
    return Report(
        name=series.name,
        report=series.name,
        data=data,
        times=describe_times(series, data.shape[0]),
        compartments=describe_table(series.compartments),
        unit=Unit(series.unit, float(series.conversion), float(series.offset)),
        description=series.description,
    )


def _array(data: Any) -> LazyArray:
    if isinstance(data, DataIO):
        data = data.data
    array: LazyArray = (
        data if hasattr(data, "dtype") and hasattr(data, "shape") else np.asarray(data)
    )
    return array
