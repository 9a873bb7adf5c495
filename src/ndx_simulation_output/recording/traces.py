"""A selection of a report: the traces of some compartments in some time window."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording.arrays import LazyArray, read_columns
from ndx_simulation_output.recording.units import Unit

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Traces", "dtype_in_unit", "read_in_unit"]


@dataclass(frozen=True)
class Traces:
    """Values of some compartments, with what each row and column is.

    ``values`` has shape (time, compartment) and is in the unit ``unit``; ``times`` (s) has shape
    (time,); ``cells`` and each of ``columns`` have shape (compartment,). A column of the table
    named like one of the labels gets the prefix ``compartment_``.
    """

    name: str
    unit: str
    values: NDArray[Any]
    times: NDArray[np.float64]
    cells: NDArray[Any]
    columns: dict[str, NDArray[Any]]

    def to_dataframe(self) -> "pd.DataFrame":
        """Frame with the time (s) as index and a column level for the cell and each property."""
        import pandas as pd

        levels = {"cell": self.cells, **self.columns}
        columns = pd.MultiIndex.from_arrays(list(levels.values()), names=list(levels))
        return pd.DataFrame(self.values, index=pd.Index(self.times, name="time"), columns=columns)

    def to_xarray(self) -> "xr.DataArray":
        """Array (time, compartment) with coordinates time (s), cell and each property.

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
    """Give the type of what ``read_in_unit`` gives for values of type ``dtype``."""
    as_stored = dtype.kind == "f" or (unit.conversion == 1.0 and unit.offset == 0.0)
    return dtype.newbyteorder("=") if as_stored else np.dtype(np.float64)


def read_in_unit(
    data: LazyArray, rows: slice, columns: NDArray[np.intp] | None, unit: Unit
) -> NDArray[Any]:
    """Read columns, all if None, of some rows in the unit ``unit.name``: shape (time, compartment).

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
