"""Selections of a report: traces in memory, and as dask arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import WrongTypeError
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import (
    ColumnIndices,
    LazyArray,
    LazyArrayBase,
    chunks_of,
    detached,
    plan_blocks,
    read_columns,
    release,
)
from ndx_simulation_output.recording.display import Facts, counted, represent, span_text
from ndx_simulation_output.recording.units import Unit

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class Traces:
    """Values of some compartments, with the time of each row and the cell of each column.

    ``values`` has shape (time, compartment) and is in the unit ``unit``; ``times`` (s) has shape
    (time,); ``cells``, each of ``columns`` and each of ``properties``, those of the cell, have the
    shape (compartment,). A column named ``cell``, ``time`` or ``compartment`` has the prefix
    ``compartment_`` here. Properties ``x``, ``y`` and ``z`` have the prefix ``soma_``, and others
    with the name of a column or dimension the prefix ``node_``. A missing property is NaN, or None
    for text.
    """

    name: str
    unit: str
    values: NDArray[Any]
    times: NDArray[np.float64]
    cells: NDArray[Any]
    columns: dict[str, NDArray[Any]]
    properties: dict[str, NDArray[Any]] = field(default_factory=dict)

    __repr__ = represent

    def _facts(self) -> Facts:
        rows, columns = self.values.shape
        yield self.name
        yield self.unit
        yield f"{counted(rows, 'times')} × {counted(columns, 'compartments')}"
        yield span_text(float(self.times[0]), float(self.times[-1])) if rows else ""

    def to_dataframe(self, properties: Iterable[str] = ()) -> "pd.DataFrame":
        """Return a frame indexed by time (s) with a column level for the cell and each column.

        Each of ``properties`` is a further level.
        """
        import pandas as pd

        levels = {"cell": self.cells, **self.columns}
        levels |= {name: self.properties[name] for name in properties}
        columns = pd.MultiIndex.from_arrays(list(levels.values()), names=list(levels))
        return pd.DataFrame(self.values, index=pd.Index(self.times, name="time"), columns=columns)

    def to_xarray(self) -> "xr.DataArray":
        """Return an array (time, compartment) with coordinates time (s) and those of compartments.

        These are the cell, each column and each property, by which ``groupby`` works.

        Raises
        ------
        MissingDependencyError
            If xarray is not installed.

        """
        xr = import_optional("xarray", "to_xarray", "xarray")
        coordinates = {
            "time": ("time", self.times, {"units": "s"}),
            "cell": ("compartment", self.cells),
        }
        for name, values in {**self.columns, **self.properties}.items():
            coordinates[name] = ("compartment", values)
        return xr.DataArray(
            self.values,
            dims=("time", "compartment"),
            coords=coordinates,
            name=self.name,
            attrs={"units": self.unit},
        )


@dataclass(frozen=True)
class GroupMeans:
    """Mean traces of groups of compartments: ``values`` (time, group) in the unit ``unit``.

    ``groups`` (group,) are the values of the property ``by``, ``times`` (time,) is in seconds.
    ``n_cells`` and ``n_compartments`` (group,) are the numbers of cells and compartments.
    """

    name: str
    unit: str
    by: str
    values: NDArray[np.float64]
    times: NDArray[np.float64]
    groups: NDArray[Any]
    n_cells: NDArray[np.intp]
    n_compartments: NDArray[np.intp]

    __repr__ = represent

    def _facts(self) -> Facts:
        rows, columns = self.values.shape
        yield self.name
        yield self.unit
        yield f"{counted(rows, 'times')} × {counted(columns, 'groups')} by {self.by}"
        yield span_text(float(self.times[0]), float(self.times[-1])) if rows else ""

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a frame indexed by time (s) with a column for each group."""
        import pandas as pd

        columns = pd.Index(self.groups, name=self.by)
        return pd.DataFrame(self.values, index=pd.Index(self.times, name="time"), columns=columns)

    def to_xarray(self) -> "xr.DataArray":
        """Return an array with dimensions time (s) and ``by``.

        Raises
        ------
        MissingDependencyError
            If xarray is not installed.

        """
        xr = import_optional("xarray", "to_xarray", "xarray")
        coordinates = {
            "time": ("time", self.times, {"units": "s"}),
            self.by: (self.by, self.groups),
            "n_cells": (self.by, self.n_cells),
            "n_compartments": (self.by, self.n_compartments),
        }
        dims, units = ("time", self.by), {"units": self.unit}
        return xr.DataArray(self.values, coordinates, dims, self.name, units)


def mean_of_groups(
    data: LazyArray, rows: slice, columns: NDArray[np.intp], codes: NDArray[np.intp], unit: Unit
) -> NDArray[np.float64]:
    """Return the mean in ``unit`` of the columns of each group, read in blocks; (time, group).

    ``codes`` (column,) are the groups of the ascending ``columns``, each of which occurs. NaN is
    left out, as in pandas and xarray. Raises WrongTypeError for complex values.

    Example
    -------
    >>> mean_of_groups(np.eye(3), slice(0, 2), np.arange(3), np.array([0, 1, 0]), Unit("volts"))
    array([[0.5, 0. ],
           [0. , 1. ]])

    """
    if data.dtype.kind == "c":
        msg = "means of groups of complex values are not supported; expected real values"
        raise WrongTypeError(msg)
    n_groups = int(codes.max(initial=-1)) + 1
    wanted = range(*rows.indices(data.shape[0]))
    sums, counts = np.zeros((2, len(wanted), n_groups))
    height, width = chunks_of(data)
    is_all = np.array_equal(columns, np.arange(data.shape[1]))
    chunks = (max(1, height // wanted.step), width if is_all else 1)
    sorted_codes: dict[int, tuple[NDArray[np.intp], ...]] = {}
    # The first block is shorter, so that all begin with a chunk.
    lead = wanted.start // wanted.step % chunks[0]
    for block_rows, block in plan_blocks(
        (lead + len(wanted), len(columns)), 8, chunks, GROUP_BYTES
    ):
        into = slice(max(0, block_rows.start - lead), block_rows.stop - lead)
        some = wanted[into]
        whole = is_all and block == slice(0, len(columns))
        part = slice(some.start, some.stop, some.step)
        values = read_in_unit(data, part, None if whole else columns[block], unit)
        release(data)
        if block.start not in sorted_codes:
            order = np.argsort(codes[block], kind="stable")
            sorted_codes[block.start] = order, *np.unique(codes[block][order], return_index=True)
        order, present, starts = sorted_codes[block.start]
        with np.errstate(invalid="ignore"):
            _add_groups(sums, counts, (into, present), values[:, order], starts)
    with np.errstate(invalid="ignore"):
        return np.divide(sums, counts, out=sums)


def _add_groups(
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    target: tuple[slice, NDArray[np.intp]],
    values: NDArray[Any],
    starts: NDArray[np.intp],
) -> None:
    """Add the columns of ``values`` that begin at ``starts`` to a group each, without NaN."""
    # Adding float64 is faster than converting while adding.
    added = np.add.reduceat(values.astype(np.float64, copy=False), starts, axis=1)
    number: Any = np.diff(starts, append=values.shape[1])
    if np.isnan(added).any():
        is_nan = np.isnan(values)
        number = number - np.add.reduceat(is_nan, starts, axis=1, dtype=np.intp)
        added = np.add.reduceat(np.where(is_nan, 0, values), starts, axis=1, dtype=np.float64)
    sums[target] += added
    counts[target] += number


def dtype_in_unit(dtype: np.dtype[Any], unit: Unit) -> np.dtype[Any]:
    """Return the type that ``read_in_unit`` returns for values of type ``dtype``."""
    as_stored = dtype.kind == "f" or (unit.conversion == 1.0 and unit.offset == 0.0)
    return dtype.newbyteorder("=") if as_stored else np.dtype(np.float64)


def read_in_unit(
    data: LazyArray, rows: slice, columns: ColumnIndices | None, unit: Unit
) -> NDArray[Any]:
    """Read rows and columns (None for all) in ``unit.name``; shape (time, compartment).

    Floating-point and complex values keep their type, others become float64 where the unit has a
    factor or an offset.
    """
    if unit.conversion == 1.0 and unit.offset == 0.0:
        return read_columns(data, rows, columns)
    if data.dtype.kind not in "fc":
        values = read_columns(data, rows, columns).astype(np.float64)
        _put_in_unit(values, values, unit)
        return values
    if columns is not None and len(columns) and columns[-1] - columns[0] != len(columns) - 1:
        n_values = len(range(*rows.indices(data.shape[0]))) * len(columns)
        if n_values * data.dtype.itemsize <= _SMALL_BYTES:
            values = read_columns(data, rows, columns)
            _put_in_unit(values, values, unit)
            return values
    return read_columns(data, rows, columns, partial(_put_in_unit, unit=unit))


def _put_in_unit(target: NDArray[Any], values: Any, unit: Unit) -> None:
    np.multiply(values, target.dtype.type(unit.conversion), out=target)
    if unit.offset:
        target += target.dtype.type(unit.offset)


_SMALL_BYTES = 2**23
"""Columns of many cells of this size are multiplied at once: they are in the processor's cache."""

GROUP_BYTES = 2**24
"""Size of the blocks that means of groups are computed of, as float64."""

BLOCK_BYTES = 2**26
"""Largest size of a block of dask: the time to locate it is negligible, and it fits into memory."""


def to_dask(
    array: LazyArray,
    unit: Unit,
    *,
    columns: NDArray[np.intp] | None = None,
    chunks: Any = None,
    name: str = "traces",
) -> "da.Array":
    """Return some ``columns`` of an array (time, column) in ``unit``, as a dask array.

    ``chunks`` are those of the dask array, in any form that dask accepts; by default as
    ``block_shape`` plans them.

    Example
    -------
    >>> to_dask(np.ones((4, 3), "f4"), Unit("volts", 1e-3)).sum(axis=0).compute()
    array([0.004, 0.004, 0.004], dtype=float32)

    """
    da = import_optional("dask.array", "to_dask", "dask")
    source = _Values(detached(array), columns, unit)
    if chunks is None:
        # Selected columns are in any order: all columns of a stored chunk must be in one block.
        height, width = chunks_of(array)
        width = width if columns is None else max(1, len(columns))
        chunks = block_shape(source.shape, array.dtype.itemsize, (height, width), BLOCK_BYTES)
    return da.from_array(
        source,
        chunks=chunks,
        name=f"{name}-{uuid4().hex}",
        meta=np.empty((0, 0), source.dtype),
    )


def block_shape(
    shape: tuple[int, int],
    itemsize: int,
    chunks: tuple[int, int] = (1, 1),
    block_bytes: int = BLOCK_BYTES,
) -> tuple[int, int]:
    """Return the shape of blocks of at most ``block_bytes``, or of one chunk if that is larger.

    Blocks consist of whole chunks and are as long in time as possible, so that a trace is in few
    blocks. Without chunks, data are stored row by row, and blocks are as wide as possible.

    Example
    -------
    >>> block_shape((40000, 100_000), itemsize=4, chunks=(500, 200))
    (40000, 400)
    >>> block_shape((40000, 100_000), itemsize=4)
    (167, 100000)

    """
    rows, columns = (max(1, length) for length in shape)
    if chunks == (1, 1):
        block = next(plan_blocks((rows, columns), itemsize, chunks, block_bytes))
        return block[0].stop, block[1].stop
    height, width = chunks
    beside = max(1, block_bytes // (itemsize * width * height))
    tall = min(height * beside, -(-rows // height) * height)
    wide = width * max(1, block_bytes // (itemsize * width * tall))
    return min(tall, rows), min(wide, columns)


@dataclass(frozen=True)
class _Values(LazyArrayBase):
    """Values of columns in a unit, read by dask with slices, integers or lists of indices."""

    array: LazyArray
    columns: NDArray[np.intp] | None
    unit: Unit

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.array.shape
        return rows, columns if self.columns is None else len(self.columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        return dtype_in_unit(self.array.dtype, self.unit)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return self._columns(slices[0], np.arange(self.shape[1])[slices[1]])

    def _columns(self, rows: slice, columns: NDArray[np.intp] | None) -> NDArray[Any]:
        chosen = np.arange(self.shape[1]) if columns is None else columns
        order = chosen if self.columns is None else self.columns[chosen]
        return read_in_unit(self.array, rows, order, self.unit)
