"""A selection of a report: the traces of some compartments in some time window."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import MissingDependencyError
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.units import Unit

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Traces", "read_columns"]


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
        try:
            import xarray as xr
        except ImportError as error:
            msg = "to_xarray needs xarray: pip install 'ndx-simulation-output[xarray]'"
            raise MissingDependencyError(msg) from error
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


def read_columns(
    data: LazyArray, rows: slice, columns: NDArray[np.intp], unit: Unit
) -> NDArray[Any]:
    """Read ``columns`` of the ``rows`` of ``data`` (time, column), in the unit ``unit.name``.

    Adjacent columns are read together; no other column is read. Floating-point data keep their
    type, other data become float64 where the unit has a factor or an offset.
    """
    sorted_columns, places = np.unique(columns, return_inverse=True)
    breaks = np.flatnonzero(np.diff(sorted_columns) != 1) + 1
    n_rows = len(range(*rows.indices(data.shape[0])))
    values = np.empty((n_rows, len(sorted_columns)), data.dtype.newbyteorder("="))
    for run in np.split(np.arange(len(sorted_columns)), breaks):
        if len(run) and n_rows:
            wanted = slice(int(sorted_columns[run[0]]), int(sorted_columns[run[-1]]) + 1)
            values[:, run[0] : run[-1] + 1] = data[rows, wanted]
    if not np.array_equal(places, np.arange(len(sorted_columns))):
        values = values[:, places]
    return _in_unit(values, unit)


def _in_unit(values: NDArray[Any], unit: Unit) -> NDArray[Any]:
    if unit.conversion == 1.0 and unit.offset == 0.0:
        return values
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    values *= values.dtype.type(unit.conversion)
    values += values.dtype.type(unit.offset)
    return values
