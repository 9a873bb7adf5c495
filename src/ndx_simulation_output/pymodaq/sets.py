"""Sets of data in memory, with the names and arguments of PyMoDAQ's."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from ndx_simulation_output.pymodaq.choices import DataDim
from ndx_simulation_output.pymodaq.data import DataWithAxes
from ndx_simulation_output.pymodaq.genuine import pymodaq_data

__all__ = ["DataToExport"]


class DataToExport:
    """Data of any shapes that belong together.

    Example
    -------
    >>> import numpy as np
    >>> from ndx_simulation_output.pymodaq import DataRaw
    >>> DataToExport("all", [DataRaw("temperature", data=[np.array([21.5])], units="degC")])
    DataToExport: all <len:1>
        * <DataRaw, temperature, (|1)>

    """

    def __init__(
        self, name: str, data: Iterable[Any] = (), *, timestamp: float | None = None
    ) -> None:
        """Make a set of data, which are not changed."""
        self.name, self.data = name, [DataWithAxes.of(some) for some in data]
        self.timestamp = time.time() if timestamp is None else float(timestamp)

    @classmethod
    def of(cls, export: Any) -> "DataToExport":
        """Return a set of this class, from one of PyMoDAQ for instance."""
        if isinstance(export, cls):
            return export
        return cls(export.name, export.data, timestamp=export.timestamp)

    def append(self, data: Any) -> None:
        """Add data, or all data of a set. Data of the same name are kept."""
        added = data.data if isinstance(data, DataToExport) else [DataWithAxes.of(data)]
        self.data.extend(added)

    def get_data_from_dim(self, dim: Any) -> "DataToExport":
        """Return the data of a dimension."""
        found = [data for data in self.data if data.dim == DataDim.of(dim)]
        return DataToExport(self.name, found, timestamp=self.timestamp)

    def get_data_from_name(self, name: str) -> DataWithAxes | None:
        """Return the first data of a name, or None."""
        return next((data for data in self.data if data.name == name), None)

    def get_full_names(self) -> list[str]:
        """Return the names as ``origin/name``."""
        return [f"{data.origin}/{data.name}" for data in self.data]

    def get_names(self) -> list[str]:
        """Return the names."""
        return [data.name for data in self.data]

    def to_pymodaq(self) -> Any:
        """Return a set of ``pymodaq_data`` (extra ``pymodaq``).

        Its name becomes the origin of data without one.
        """
        made = pymodaq_data().DataToExport(
            self.name, data=[data.to_pymodaq() for data in self.data]
        )
        made.timestamp = self.timestamp
        return made

    def __getitem__(self, index: int) -> DataWithAxes:
        """Return the data at an index."""
        return self.data[index]

    def __iter__(self) -> Iterator[DataWithAxes]:
        """Iterate over the data."""
        return iter(self.data)

    def __len__(self) -> int:
        """Return the number of data."""
        return len(self.data)

    def __repr__(self) -> str:
        """Return the text that PyMoDAQ shows."""
        lines = "".join(f"\n    * {data}" for data in self.data)
        return f"DataToExport: {self.name} <len:{len(self)}>{lines}"
