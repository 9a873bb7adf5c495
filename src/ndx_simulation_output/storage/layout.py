"""Plan how data are laid out in a file. No file is touched."""

from dataclasses import dataclass, replace
from math import ceil
from numbers import Integral
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ndx_simulation_output.errors import LayoutError

# How data are laid out in a file: pure arithmetic, no file is touched.

Access = Literal["balanced", "cells", "frames"]
Compression = Literal["gzip", "zstd", "none"]
Chunks = Literal["contiguous"] | tuple[int, int]

DEFAULT_MEMORY = 2**26
_CHUNK_BYTES = 2**19
_LONG_CHUNK_BYTES = 2**20
_CELL_COLUMNS = (64, 1024)
_PIECE_BYTES = {None: 2**23, "gzip": 2**21, "zstd": 2**23}
"""Few, large writes were fastest. What is compressed better fits a cache."""


@dataclass(frozen=True)
class Storage:
    """How data are to be stored, where the caller has a wish.

    ``access`` is what is read most: ``cells`` (all times of a cell), ``frames`` (all cells at a
    time), or ``balanced``. ``compression`` is ``gzip``, ``zstd`` or ``none``, or None for what is
    usual in the format; ``chunks`` (rows, columns), or ``contiguous`` for rows one after the
    other; ``memory`` bounds the bytes of all buffers. With ``link`` the data stay in the file of
    the source.

    Raises
    ------
    LayoutError
        If a value is not one of these.

    """

    access: Access = "balanced"
    compression: Compression | None = None
    chunks: Chunks | None = None
    memory: int = DEFAULT_MEMORY
    link: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.access not in get_args(Access):
            msg = f"access is {self.access!r}; expected balanced, cells or frames"
            raise LayoutError(msg)
        if self.compression not in {*get_args(Compression), None}:
            msg = f"compression is {self.compression!r}; expected gzip, zstd or none"
            raise LayoutError(msg)
        if self.chunks not in (None, "contiguous") and not _are_two_lengths(self.chunks):
            msg = f"chunks are {self.chunks!r}; expected two positive numbers, rows and columns"
            raise LayoutError(msg)
        compressed = self.compression not in {None, "none"}
        if self.chunks == "contiguous" and compressed:
            msg = "contiguous data cannot be compressed: leave out one of the two"
            raise LayoutError(msg)
        if self.link and (self.chunks or compressed):
            msg = "linked data stay as they are in the source: leave out chunks and compression"
            raise LayoutError(msg)
        if self.memory < 2**20:
            msg = f"memory is {self.memory} bytes; expected at least 1 MiB"
            raise LayoutError(msg)


@dataclass(frozen=True)
class Layout:
    """The plan for one matrix: ``shape`` and ``chunks`` are (time, column).

    ``chunks`` is None for contiguous data. ``piece`` is what one worker gathers at a time:
    whole chunks beside each other, or whole rows.
    """

    shape: tuple[int, int]
    itemsize: int
    chunks: tuple[int, int] | None
    compression: Compression | None
    piece: tuple[int, int]
    memory: int

    def __str__(self) -> str:
        """Say it in one line."""
        rows, columns = self.shape
        size = _in_words(rows * columns * self.itemsize)
        if self.chunks is None:
            how = "contiguous, a row after the other"
        else:
            chunk = _in_words(self.chunks[0] * self.chunks[1] * self.itemsize)
            how = f"chunks of {self.chunks[0]} × {self.chunks[1]} ({chunk})"
        stored = self.compression or "uncompressed"
        piece = f"pieces of {self.piece[0]} × {self.piece[1]}"
        return f"{rows} × {columns} ({size}): {how}, {stored}, {piece} for each worker"


def plan_layout(
    shape: tuple[int, int],
    itemsize: int,
    cell_widths: ArrayLike = 1,
    storage: Storage = Storage(),
    workers: int = 0,
) -> Layout:
    """Plan how a matrix of ``shape`` (time, column) is stored.

    ``cell_widths`` is how many columns each cell has. Chunks are about half a MiB and one cell
    wide for ``balanced``: measured on membrane potentials, they serve whole cells and time
    windows within 1.5 times the best chunks for either. All edges are balanced, so that the last
    chunk is as full as the others.

    Example
    -------
    >>> plan_layout((2000, 40000), itemsize=4, cell_widths=200).chunks
    (500, 200)
    >>> plan_layout((2000, 40000), 4, 200, Storage(access="frames")).chunks
    (6, 40000)

    """
    chunks = storage.chunks
    if chunks is None:
        chunks = _chunks(shape, itemsize, _width(cell_widths), storage.access)
    elif chunks != "contiguous":
        chunks = min(chunks[0], max(shape[0], 1)), min(chunks[1], max(shape[1], 1))
    # HDF5 has no chunks of nothing: cells without any compartment make no columns.
    chunks = None if chunks == "contiguous" or not shape[1] else chunks
    compression = None if chunks is None or storage.compression == "none" else storage.compression
    bytes_of_piece = min(_PIECE_BYTES[compression], storage.memory // (2 * max(workers, 1)))
    if chunks is None:
        rows = max(1, bytes_of_piece // (itemsize * max(shape[1], 1)))
        piece = min(rows, max(shape[0], 1)), shape[1]
    else:
        beside = max(1, bytes_of_piece // (itemsize * chunks[0] * chunks[1]))
        piece = chunks[0], min(beside, ceil(shape[1] / chunks[1])) * chunks[1]
    return Layout(shape, itemsize, chunks, compression, piece, storage.memory)


def _are_two_lengths(chunks: object) -> bool:
    if not isinstance(chunks, tuple | list) or len(chunks) != 2:
        return False
    return all(isinstance(length, Integral) and int(length) > 0 for length in chunks)


def plan_stream(
    columns: int,
    itemsize: int,
    cell_widths: ArrayLike = 1,
    storage: Storage = Storage(),
    *,
    steps: int | None = None,
    row_bytes: int | None = None,
) -> Layout:
    """Plan how a matrix is stored whose rows come one after the other, about ``steps`` of them.

    A row of chunks is in memory before it is written: chunks have only so many rows that these,
    ``row_bytes`` each (by default those of all columns), fit into the memory.

    Raises
    ------
    LayoutError
        If data that grow should be contiguous, or chunks are asked for that do not fit.

    Example
    -------
    >>> plan_stream(40000, itemsize=4, cell_widths=200).chunks
    (419, 200)
    >>> plan_stream(40000, itemsize=4, cell_widths=200, steps=100).chunks
    (100, 1291)

    """
    row_bytes = max(1, columns * itemsize if row_bytes is None else row_bytes)
    most = max(1, storage.memory // row_bytes)
    if storage.chunks == "contiguous" or storage.link:
        msg = "data that grow in time cannot be contiguous nor linked; expected chunks"
        raise LayoutError(msg)
    if storage.chunks is not None and storage.chunks[0] > most:
        msg = (
            f"chunks of {storage.chunks[0]} rows need {storage.chunks[0] * row_bytes} bytes before "
            f"they are written; expected at most the memory, {storage.memory} bytes"
        )
        raise LayoutError(msg)
    rows = most if steps is None else min(max(steps, 1), most)
    if storage.chunks is not None:
        rows = max(rows, storage.chunks[0])
    layout = plan_layout((rows, columns), itemsize, cell_widths, storage)
    return replace(layout, shape=(0, columns))


def _width(cell_widths: ArrayLike) -> int:
    widths = np.atleast_1d(np.asarray(cell_widths))
    return int(np.median(widths)) if widths.size else 1


def _chunks(
    shape: tuple[int, int], itemsize: int, cell_width: int, access: Access
) -> tuple[int, int]:
    times, columns = shape
    if access == "frames":
        width = _balanced(columns, _LONG_CHUNK_BYTES // itemsize)
        return _balanced(times, _LONG_CHUNK_BYTES // (itemsize * width)), width
    if access == "cells":
        height = _balanced(times, _LONG_CHUNK_BYTES // itemsize)
        wanted = min(max(cell_width, 1), max(1, _LONG_CHUNK_BYTES // (itemsize * height)))
        # A few long columns are better than one that is cut: cells up to 1 MiB stay whole.
        return height, _balanced(columns, max(wanted, _CHUNK_BYTES // (itemsize * height)))
    lowest, highest = _CELL_COLUMNS
    width = min(max(cell_width, lowest), highest, max(columns, 1))
    height = _balanced(times, _CHUNK_BYTES // (itemsize * width))
    if 2 * height * width * itemsize < _CHUNK_BYTES:
        # A short recording has wider chunks: a file of a million tiny ones is slow to open.
        width = _CHUNK_BYTES // (itemsize * height)
    return height, _balanced(columns, width)


def _balanced(length: int, size: int) -> int:
    """Give the size, at most ``size``, that cuts ``length`` into the fewest and fullest pieces."""
    pieces = max(1, ceil(length / max(size, 1)))
    return max(1, ceil(length / pieces))


def _in_words(n_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.4g} TiB"
