"""Tasks with pynwb alone, locally and over a network."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from hdmf.common import DynamicTable, VectorData, VectorIndex
from inputs.cells import flat_arrays
from inputs.session import make_file
from pynwb import NWBHDF5IO, TimeSeries

__all__ = ["open_file", "read_remote_columns", "write_contiguous", "write_empty", "write_table"]

Work = Callable[[], object]


def write_empty(target: str) -> Work:
    """Write a file of nothing but a session."""

    def work() -> None:
        with NWBHDF5IO(target, "w") as io:
            io.write(make_file())

    return work


def write_table(target: str, *, cells: int, compartments: int) -> Work:
    """Write a table of so many cells with columns that cannot grow, which nothing checks."""
    ids, counts, columns = flat_arrays(cells, compartments)

    def work() -> None:
        ends = np.cumsum(counts, dtype=np.uint32)
        vectors = []
        for name, values in columns.items():
            data = VectorData(name=name, description=name, data=values)
            vectors += [data, VectorIndex(name=f"{name}_index", data=ends, target=data)]
        table = DynamicTable(
            name="compartments",
            description="cells",
            id=ids,
            columns=vectors,
            colnames=list(columns),
        )
        nwbfile = make_file()
        nwbfile.add_acquisition(table)
        with NWBHDF5IO(target, "w") as io:
            io.write(nwbfile, expandable=())

    return work


def open_file(source: str) -> Work:
    """Open a file and read its objects, without data."""

    def work() -> None:
        with NWBHDF5IO(source, "r") as io:
            io.read()

    return work


def write_contiguous(source: str, target: str) -> Work:
    """Write the recording of a SONATA report as pynwb does unless told otherwise."""

    def work() -> None:
        with h5py.File(source) as file:
            (population,) = file["report"].values()
            data = population["data"][:]
        nwbfile = make_file()
        nwbfile.add_acquisition(TimeSeries("v", data=data, unit="mV", rate=10_000.0))
        with NWBHDF5IO(target, "w") as io:
            io.write(nwbfile)

    return work


def read_remote_columns(*, url: str, client: str, columns: tuple[int, int]) -> Work:
    """Open a file on a server and read some adjacent columns."""
    connect = {"remfile": _remfile, "read-ahead": _read_ahead, "blocks": _blocks}[client]

    def work() -> None:
        with h5py.File(connect(url)) as file, NWBHDF5IO(file=file, mode="r") as io:
            np.asarray(io.read().acquisition["v"].data[:, slice(*columns)])

    return work


def _remfile(url: str) -> Any:
    """Connect as pynwb's documentation recommends."""
    import remfile  # noqa: PLC0415 - optional

    return remfile.File(url)


def _read_ahead(url: str) -> Any:
    """Connect with fsspec as it comes: each request fetches 5 MiB more."""
    import fsspec  # noqa: PLC0415 - optional

    return fsspec.open(url, "rb").open()


def _blocks(url: str) -> Any:
    """Connect with fsspec and blocks of 1 MiB that are kept."""
    import fsspec  # noqa: PLC0415 - optional

    options = {"cache_type": "blockcache", "block_size": 2**20}
    return fsspec.filesystem("http").open(url, "rb", **options)
