"""Tasks with h5py alone."""

from collections.abc import Callable, Iterator

import h5py
import numpy as np
from inputs.cells import flat_arrays

__all__ = [
    "copy",
    "copy_columns",
    "copy_compressed",
    "read_chunk_bands",
    "read_columns",
    "write_arrays",
]

Work = Callable[[], object]
BLOCK_BYTES = 32 * 2**20
BLOCK_ROWS = 2**18


def copy(source: str, target: str) -> Work:
    """Copy a contiguous dataset to another in blocks of rows, the plain way."""

    def work() -> None:
        with h5py.File(source) as given, h5py.File(target, "w") as file:
            (population,) = given["report"].values()
            data = population["data"]
            copied = file.create_dataset(data.name, data.shape, data.dtype)
            rows = max(1, BLOCK_BYTES // (data.shape[1] * data.dtype.itemsize))
            for start in range(0, len(data), rows):
                copied[start : start + rows] = data[start : start + rows]

    return work


def copy_compressed(source: str, target: str, *, chunks: tuple[int, int]) -> Work:
    """Copy a dataset to one that HDF5 compresses with shuffle + gzip 4, in blocks of chunks."""

    def work() -> None:
        with h5py.File(source) as given, h5py.File(target, "w") as file:
            (population,) = given["report"].values()
            data = population["data"]
            copied = file.create_dataset(
                data.name,
                data.shape,
                data.dtype,
                chunks=tuple(chunks),
                shuffle=True,
                compression="gzip",
                compression_opts=4,
            )
            for block in _blocks(copied):
                copied[block] = data[block]

    return work


def copy_columns(source: str, target: str) -> Work:
    """Copy all datasets to ones with shuffle and gzip 4, in blocks of rows."""

    def work() -> None:
        with h5py.File(source) as given, h5py.File(target, "w") as file:
            for data in _datasets(given):
                rows = min(len(data), BLOCK_ROWS)
                how = {"shuffle": True, "compression": "gzip", "compression_opts": 4}
                chunks = (rows, *data.shape[1:])
                copied = file.create_dataset(
                    data.name, data.shape, data.dtype, chunks=chunks, **how
                )
                for start in range(0, len(data), rows):
                    copied[start : start + rows] = data[start : start + rows]

    return work


def read_columns(source: str) -> Work:
    """Open a circuit and read the numbers of all columns, in blocks of rows."""

    def work() -> None:
        with h5py.File(source) as file:
            for data in _datasets(file):
                if data.dtype.kind != "O" and "indices" not in data.name:
                    for start in range(0, len(data), BLOCK_ROWS):
                        data[start : start + BLOCK_ROWS]

    return work


def read_chunk_bands(source: str) -> Work:
    """Read the recording of an NWB file in bands of whole chunks of columns."""
    file = h5py.File(source)
    (series,) = file["acquisition"].values()
    data = series["data"]
    width = _width(data, len(data))

    def work() -> None:
        for left in range(0, data.shape[1], width):
            data[:, left : left + width]

    return work


def write_arrays(target: str, *, cells: int, compartments: int) -> Work:
    """Write the arrays that the table of so many cells holds, one after the other."""
    ids, counts, columns = flat_arrays(cells, compartments)

    def work() -> None:
        with h5py.File(target, "w") as file:
            file["id"] = ids
            ends = np.cumsum(counts, dtype=np.uint64)
            for name, values in columns.items():
                file[name] = values
                file[f"{name}_index"] = ends

    return work


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, node: found.append(node) if isinstance(node, h5py.Dataset) else None)
    return found


def _blocks(data: h5py.Dataset) -> Iterator[tuple[slice, slice]]:
    rows = data.chunks[0]
    width = _width(data, rows)
    for top in range(0, data.shape[0], rows):
        for left in range(0, data.shape[1], width):
            yield slice(top, top + rows), slice(left, left + width)


def _width(data: h5py.Dataset, rows: int) -> int:
    """Return the number of columns of whole chunks in a block of this many rows."""
    chunk = data.chunks[1]
    return chunk * max(1, BLOCK_BYTES // (rows * chunk * data.dtype.itemsize))
