"""Selections of a report: traces in memory, and as dask arrays."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import (
    LazyArray,
    LazyArrayBase,
    chunks_of,
    detached,
    plan_blocks,
    read_columns,
)
from ndx_simulation_output.recording.units import Unit

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class Traces:
    """Values of some compartments, with the time of each row and the cell of each column.

    ``values`` has shape (time, compartment) and is in the unit ``unit``; ``times`` (s) has shape
    (time,); ``cells`` and each of ``columns`` have shape (compartment,). A column named ``cell``,
    ``time`` or ``compartment`` has the prefix ``compartment_`` here.
    """

    name: str
    unit: str
    values: NDArray[Any]
    times: NDArray[np.float64]
    cells: NDArray[Any]
    columns: dict[str, NDArray[Any]]

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a frame indexed by time (s) with a column level for the cell and each column."""
        import pandas as pd

        levels = {"cell": self.cells, **self.columns}
        columns = pd.MultiIndex.from_arrays(list(levels.values()), names=list(levels))
        return pd.DataFrame(self.values, index=pd.Index(self.times, name="time"), columns=columns)

    def to_xarray(self) -> "xr.DataArray":
        """Return an array (time, compartment) with coordinates time (s), cell and each column.

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
        coordinates |= {name: ("compartment", values) for name, values in self.columns.items()}
        return xr.DataArray(
            self.values,
            dims=("time", "compartment"),
            coords=coordinates,
            name=self.name,
            attrs={"units": self.unit},
        )


def dtype_in_unit(dtype: np.dtype[Any], unit: Unit) -> np.dtype[Any]:
    """Return the type that ``read_in_unit`` returns for values of type ``dtype``."""
    as_stored = dtype.kind == "f" or (unit.conversion == 1.0 and unit.offset == 0.0)
    return dtype.newbyteorder("=") if as_stored else np.dtype(np.float64)


def read_in_unit(
    data: LazyArray, rows: slice, columns: NDArray[np.intp] | None, unit: Unit
) -> NDArray[Any]:
    """Read rows and columns (None for all) in ``unit.name``; shape (time, compartment).

    Floating-point values keep their type, others become float64 where the unit has a factor or an
    offset.
    """
    if unit.conversion == 1.0 and unit.offset == 0.0:
        return read_columns(data, rows, columns)
    if data.dtype.kind != "f":
        values = read_columns(data, rows, columns).astype(np.float64)
        _put_in_unit(values, values, unit)
        return values
    return read_columns(data, rows, columns, partial(_put_in_unit, unit=unit))


def _put_in_unit(target: NDArray[Any], values: Any, unit: Unit) -> None:
    np.multiply(values, target.dtype.type(unit.conversion), out=target)
    if unit.offset:
        target += target.dtype.type(unit.offset)


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
