"""Where the columns of a state go: into memory, or into a file, which is filled in later."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hdmf.backends.hdf5 import H5DataIO

from ndx_simulation_output.engine.columns import Column, ColumnLayout, plan_column
from ndx_simulation_output.engine.datasets import GZIP_LEVEL
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.arrays import size_in_bytes

__all__ = ["ColumnPlace", "PlacedColumns", "in_memory"]

ColumnPlace = Callable[[LazyArray], Any]
"""Gives what stands for the values of a column, shape (row,): an array, or a place in a file."""

_SMALL = 2**13


def in_memory(values: LazyArray) -> Any:
    """Give the values themselves."""
    return np.asarray(values[:])


class PlacedColumns:
    """Makes places for the columns of an HDF5 file, and knows afterwards what belongs there."""

    def __init__(self) -> None:
        self._placed: list[tuple[H5DataIO, LazyArray, ColumnLayout]] = []

    def place(self, values: LazyArray) -> Any:
        """Give a place for a column, shape (row,), or its values if they are few."""
        if size_in_bytes(values) < _SMALL:
            return in_memory(values)
        layout = plan_column(values)
        made = H5DataIO(
            shape=tuple(values.shape),
            dtype=values.dtype,
            chunks=(layout.chunk,),
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            shuffle=layout.is_shuffled,
        )
        self._placed.append((made, values, layout))
        return made

    def columns(self) -> list[Column]:
        """Give what is to be filled in, once the file has its datasets."""
        return [Column(place.dataset, values, layout) for place, values, layout in self._placed]
