"""Cut a source into regions that are read once, and pieces of them that a worker takes.

Where any part of a source can be read for the price of that part, a region is only a place. Else,
such as from deflated chunks, it is read into memory; or, where chunks are so wide or long that it
would not fit, into a temporary file.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.engine.layout import Layout
from ndx_simulation_output.recording.arrays import (
    LazyArray,
    chunks_of,
    is_mapped,
    read_block,
    release,
)

__all__ = ["Piece", "Region", "region_shape", "regions"]

_RELEASE_BYTES = 2**28


@dataclass(frozen=True)
class Piece:
    """Some rows and columns of a region, for one worker."""

    region: "Region"
    rows: slice
    columns: slice

    def read(self) -> NDArray[Any]:
        """Give the values, to be used at once: they may still be in the file of the source."""
        return self.region.read(self.rows, self.columns)


@dataclass(frozen=True)
class Region:
    """Rows and columns of a source; ``values`` are those in memory, if they had to be read."""

    source: LazyArray
    rows: slice
    columns: slice
    values: NDArray[Any] | None = None

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Give some values, by their place in the source."""
        if self.values is None:
            return read_block(self.source, rows, columns)
        top, left = self.rows.start, self.columns.start
        return self.values[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]

    def pieces(self, layout: Layout) -> Iterator[Piece]:
        """Cut it into what one worker takes at a time."""
        height, width = layout.piece
        for top in range(self.rows.start, self.rows.stop, height):
            rows = slice(top, min(top + height, self.rows.stop))
            for left in range(self.columns.start, self.columns.stop, width):
                yield Piece(self, rows, slice(left, min(left + width, self.columns.stop)))

    def release(self) -> None:
        """Let go of what was read."""
        release(self.source)


def regions(
    source: LazyArray, layout: Layout, columns: range, directory: Path | None = None
) -> Iterator[Region]:
    """Cut the ``columns`` of a source, shape (time, column), into regions of whole pieces.

    A temporary file, where one is needed, lies in ``directory``.
    """
    if not columns or not source.shape[0]:
        return
    if is_mapped(source):
        row_bytes = source.dtype.itemsize * len(columns)
        height = _up(max(1, _RELEASE_BYTES // row_bytes), layout.piece[0])
        for rows, some in _blocks(source.shape[0], columns, height, len(columns)):
            yield Region(source, rows, some)
        return
    height, width = region_shape(source, layout, len(columns))
    if height * width * source.dtype.itemsize <= layout.memory:
        for rows, some in _blocks(source.shape[0], columns, height, width):
            yield Region(source, rows, some, read_block(source, rows, some))
        return
    with tempfile.TemporaryFile(dir=directory) as file:
        for rows, some in _blocks(source.shape[0], columns, height, width):
            yield Region(source, rows, some, _spooled(source, rows, some, file, layout.memory))


def _blocks(n_rows: int, columns: range, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, n_rows, height):
        for left in range(columns.start, columns.stop, width):
            rows = slice(top, min(top + height, n_rows))
            yield rows, slice(left, min(left + width, columns.stop))


def region_shape(source: LazyArray, layout: Layout, n_columns: int) -> tuple[int, int]:
    """Give rows and columns of a region: whole chunks of the source, and whole pieces."""
    source_height, source_width = chunks_of(source)
    height = min(_up(source_height, layout.piece[0]), _up(source.shape[0], layout.piece[0]))
    step = layout.chunks[1] if layout.chunks else n_columns
    most = layout.memory // (height * source.dtype.itemsize)
    wanted = max(source_width, step)
    width = max(most // wanted * wanted, wanted)
    return height, min(_up(width, step), n_columns)


def _spooled(
    source: LazyArray, rows: slice, columns: slice, file: Any, memory: int
) -> NDArray[Any]:
    """Read a region into a temporary file, some rows at a time."""
    shape = rows.stop - rows.start, columns.stop - columns.start
    values = np.memmap(file, source.dtype.newbyteorder("="), "w+", shape=shape)
    step = chunks_of(source)[0]
    height = max(1, memory // (shape[1] * source.dtype.itemsize) // step) * step
    # From one edge of the source's chunks to another, so that each is read once.
    tops = [rows.start, *range(_up(rows.start + 1, height), rows.stop, height)]
    for top, end in zip(tops, [*tops[1:], rows.stop], strict=True):
        values[top - rows.start : end - rows.start] = read_block(source, slice(top, end), columns)
    return values


def _up(size: int, step: int) -> int:
    return ceil(size / step) * step
