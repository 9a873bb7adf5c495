"""Storage options, and the planned chunks, pieces and threads of each matrix, without its file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, isfinite
from numbers import Integral
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ndx_simulation_output.choices import DEFAULT_MEMORY, Access, Compression
from ndx_simulation_output.errors import LayoutError, UnitError
from ndx_simulation_output.recording import Unit, parse_unit
from ndx_simulation_output.system import processors

ChunkShape = Literal["contiguous"] | tuple[int, int]
Codec = Literal["gzip", "zstd"]

_CODECS: dict[str | None, Codec] = {"gzip": "gzip", "zstd": "zstd"}
_CHUNK_BYTES = 2**19
_LONG_CHUNK_BYTES = 2**20
_CELL_COLUMNS = (64, 1024)
# Few large writes are fastest; pieces to be compressed should fit into the processor's cache.
_PIECE_BYTES: dict[Codec | None, int] = {None: 2**23, "gzip": 2**21, "zstd": 2**23}
_MOST_WORKERS = 8
"""With more threads, memory bandwidth limits the speed."""
_WRITERS = 2
"""One thread writes to a file at a time; another gathers the next values."""
_THREAD_BYTES = 2**22
"""Processing less than this takes less time than starting a thread."""


def default_workers(sharing: int = 1) -> int:
    """Return the default number of threads: one per CPU, at most 8; none for a single CPU.

    ``sharing`` is the number of processes that share the CPUs.
    """
    own = len(processors()) // sharing
    return min(own, _MOST_WORKERS) if own > 1 else 0


def useful_workers(n_bytes: int, workers: int, least: int | None = None) -> int:
    """Return ``workers``, or 0 if there are not more bytes than pay off: ``least``."""
    return workers if n_bytes > (_THREAD_BYTES if least is None else least) else 0


@dataclass(frozen=True, kw_only=True)
class StorageOptions:
    """How the data of reports, potentials and network states are stored.

    Conversion, streams, recorders and the NeuroConv interfaces have the same options.

    Parameters
    ----------
    compression
        ``"gzip"``: shuffle and deflate, which every HDF5 library and Zarr can read. ``"zstd"``:
        Zarr only. ``"none"`` or None: no compression. ``"auto"``, the default: the data of
        reports and potentials are not compressed in HDF5 and use ``zstd`` in Zarr; the columns of
        network states use ``gzip`` in HDF5.
    access
        What is read most often. ``"cells"``: all times of one cell. ``"frames"``: all cells at
        one time. ``"balanced"``, the default: both, and time windows.
    chunks
        Time steps and columns of a chunk, or ``"contiguous"`` for a dataset without chunks (HDF5
        only). By default, None, the shape is planned from ``access``.
    memory
        Upper limit, in bytes, of all buffers together: at least 1 MiB, by default 64 MiB.
    link
        True: the values of reports and potentials stay in the source files, and the HDF5 file
        refers to them by relative paths. By default, False, they are copied.
    quantize
        A step such as ``"0.01mV"``: values are rounded to its multiples and stored in two bytes
        each, with an error of at most half a step. It applies to all reports in that unit. A
        mapping such as ``{"v_report": "0.01mV"}`` gives steps for single reports. By default,
        None, values are stored as they are.

    Raises
    ------
    LayoutError
        If a value is not allowed, or if two options cannot be combined.
    UnitError
        If a quantization step is not a number with a unit.

    Example
    -------
    >>> StorageOptions(compression="gzip", access="cells").memory
    67108864

    """

    compression: Compression | None = "auto"
    access: Access = "balanced"
    chunks: ChunkShape | None = None
    memory: int = DEFAULT_MEMORY
    link: bool = False
    quantize: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Check and normalize the values."""
        if self.compression is None:
            object.__setattr__(self, "compression", "none")
        if self.compression not in get_args(Compression):
            msg = f"compression is {self.compression!r}; expected auto, gzip, zstd or none"
            raise LayoutError(msg)
        if self.access not in get_args(Access):
            msg = f"access is {self.access!r}; expected balanced, cells or frames"
            raise LayoutError(msg)
        if self.chunks not in (None, "contiguous"):
            object.__setattr__(self, "chunks", _checked_chunks(self.chunks))
        if self.memory < 2**20:
            msg = f"memory is {self.memory} bytes; expected at least 1 MiB"
            raise LayoutError(msg)
        self._check_quantize()
        self._check_combination()

    def _check_quantize(self) -> None:
        if isinstance(self.quantize, Mapping):
            object.__setattr__(self, "quantize", dict(self.quantize))
            for step in self.quantize.values():
                parse_step(step)
        elif self.quantize is not None:
            parse_step(self.quantize)

    def _check_combination(self) -> None:
        compressed = self.compression in _CODECS
        if self.chunks == "contiguous" and compressed:
            msg = (
                "contiguous data cannot be compressed; expected only one of chunks and compression"
            )
            raise LayoutError(msg)
        if self.link and (self.chunks or compressed):
            msg = "linked data are stored as in the source; expected no chunks and no compression"
            raise LayoutError(msg)
        if self.link and self.quantize:
            msg = "linked data cannot be quantized; expected only one of link and quantize"
            raise LayoutError(msg)


def parse_step(text: object) -> Unit:
    """Return a quantization step such as ``0.01mV`` as a unit: a factor and an SI unit."""
    pattern = r"\s*([0-9.eE+-]+?)\s*([^0-9.\s+-].*?)\s*"
    match = re.fullmatch(pattern, text) if isinstance(text, str) else None
    unit = parse_unit(match[2]) if match else None
    try:
        size = float(match[1]) if match else 0.0
    except ValueError:
        size = 0.0
    if unit is None or not unit.known or not (size > 0 and isfinite(size)):
        msg = f"quantization step is {text!r}; expected a number and a unit, such as 0.01mV"
        raise UnitError(msg)
    return Unit(unit.name, size * unit.conversion)


@dataclass(frozen=True)
class Layout:
    """The plan for one matrix; ``shape``, ``chunks`` and ``piece`` are (time, column).

    ``chunks`` is None for contiguous data, ``compression`` is None for uncompressed data.
    ``piece`` is the shape of what one worker processes at a time: adjacent chunks or whole rows.
    ``workers`` is the number of threads, 0 for none.
    """

    shape: tuple[int, int]
    itemsize: int
    chunks: tuple[int, int] | None
    compression: Codec | None
    piece: tuple[int, int]
    memory: int
    workers: int = 0

    def __str__(self) -> str:
        """Return a description in one line."""
        rows, columns = self.shape
        size = _format_bytes(rows * columns * self.itemsize)
        if self.chunks is None:
            how = "contiguous"
        else:
            chunk = _format_bytes(self.chunks[0] * self.chunks[1] * self.itemsize)
            how = f"chunks of {self.chunks[0]} × {self.chunks[1]} ({chunk})"
        stored = self.compression or "uncompressed"
        piece = f"pieces of {self.piece[0]} × {self.piece[1]}"
        workers = "1 worker" if self.workers == 1 else f"{self.workers or 'no'} workers"
        return f"{rows} × {columns} ({size}): {how}, {stored}, {piece}, {workers}"


def plan_layout(
    shape: tuple[int, int],
    itemsize: int,
    cell_widths: ArrayLike = 1,
    storage: StorageOptions = StorageOptions(),
    workers: int | None = None,
) -> Layout:
    """Return the layout of a matrix of ``shape`` (time, column).

    Without ``workers``, their number is what shortens the time: one per CPU that compresses, two
    for data that are not compressed, none for a few MiB, and never more than pieces.

    ``cell_widths`` are the numbers of columns of the cells. ``balanced`` chunks have about half a
    MiB and are one cell wide: measured on membrane potentials, whole cells and time windows are
    read within 1.5 times the time of the best chunks for either. Edges are balanced, so that the
    last chunk is as full as the others.

    Example
    -------
    >>> plan_layout((2000, 40000), itemsize=4, cell_widths=200).chunks
    (500, 200)
    >>> plan_layout((2000, 40000), 4, 200, StorageOptions(access="frames")).chunks
    (6, 40000)

    """
    chunks = storage.chunks
    if chunks is None:
        chunks = _plan_chunks(shape, itemsize, _median_width(cell_widths), storage.access)
    elif chunks != "contiguous":
        chunks = min(chunks[0], max(shape[0], 1)), min(chunks[1], max(shape[1], 1))
    # HDF5 does not allow chunks of zero columns, as for cells without compartments.
    chunks = None if chunks == "contiguous" or not shape[1] else chunks
    compression = None if chunks is None else _CODECS.get(storage.compression)
    most = default_workers() if workers is None else workers
    if workers is None and compression is None:
        most = min(most, _WRITERS)
    piece_bytes = min(_PIECE_BYTES[compression], storage.memory // (2 * max(most, 1)))
    if chunks is None:
        rows = max(1, piece_bytes // (itemsize * max(shape[1], 1)))
        piece = min(rows, max(shape[0], 1)), shape[1]
    else:
        count = max(1, piece_bytes // (itemsize * chunks[0] * chunks[1]))
        piece = chunks[0], min(count, ceil(shape[1] / chunks[1])) * chunks[1]
    if workers is None:
        n_pieces = ceil(shape[0] / piece[0]) * ceil(shape[1] / max(piece[1], 1))
        n_bytes = shape[0] * shape[1] * itemsize
        most = useful_workers(n_bytes, min(most, n_pieces)) if n_pieces > 1 else 0
    return Layout(shape, itemsize, chunks, compression, piece, storage.memory, most)


def plan_growing(
    columns: int,
    itemsize: int,
    cell_widths: ArrayLike = 1,
    storage: StorageOptions = StorageOptions(),
    *,
    steps: int | None = None,
    row_bytes: int | None = None,
) -> Layout:
    """Return the layout of a matrix in HDF5 to which rows are appended, about ``steps`` of them.

    A row of chunks is buffered before it is written. Its number of time steps is therefore
    limited by the memory; ``row_bytes`` is the size of a time step of all buffered matrices, by
    default of this one alone.

    Example
    -------
    >>> plan_growing(40000, itemsize=4, cell_widths=200).chunks
    (419, 200)
    >>> plan_growing(40000, itemsize=4, cell_widths=200, steps=100).chunks
    (100, 1291)

    """
    if storage.chunks == "contiguous" or storage.link or storage.quantize:
        msg = (
            "streamed data cannot be contiguous, linked or quantized; expected a chunk shape or "
            "none, no link and no quantize"
        )
        raise LayoutError(msg)
    if storage.compression == "zstd":
        msg = "streams are HDF5 files, which not every reader can read with zstd; expected gzip"
        raise LayoutError(msg)
    row_bytes = max(1, columns * itemsize if row_bytes is None else row_bytes)
    most = max(1, storage.memory // row_bytes)
    if storage.chunks is not None and storage.chunks[0] > most:
        msg = (
            f"chunks of {storage.chunks[0]} rows need a buffer of {storage.chunks[0] * row_bytes} "
            f"bytes; expected at most the memory, {storage.memory} bytes"
        )
        raise LayoutError(msg)
    rows = most if steps is None else _balanced(steps, most)
    if storage.chunks is not None:
        rows = max(rows, storage.chunks[0])
    layout = plan_layout((rows, columns), itemsize, cell_widths, storage)
    return replace(layout, shape=(0, columns))


def _checked_chunks(chunks: object) -> tuple[int, int]:
    """Return ``chunks`` as Python integers: small numpy integers overflow in products."""
    if (
        isinstance(chunks, tuple | list)
        and len(chunks) == 2
        and all(isinstance(length, Integral) and int(length) > 0 for length in chunks)
    ):
        return int(chunks[0]), int(chunks[1])
    msg = f"chunks are {chunks!r}; expected two positive numbers, rows and columns, or contiguous"
    raise LayoutError(msg)


def _median_width(cell_widths: ArrayLike) -> int:
    widths = np.atleast_1d(np.asarray(cell_widths))
    return int(np.median(widths)) if widths.size else 1


def _plan_chunks(
    shape: tuple[int, int], itemsize: int, cell_width: int, access: Access
) -> tuple[int, int]:
    times, columns = shape
    if access == "frames":
        width = _balanced(columns, _LONG_CHUNK_BYTES // itemsize)
        return _balanced(times, _LONG_CHUNK_BYTES // (itemsize * width)), width
    if access == "cells":
        height = _balanced(times, _LONG_CHUNK_BYTES // itemsize)
        wanted = min(max(cell_width, 1), max(1, _LONG_CHUNK_BYTES // (itemsize * height)))
        # Not splitting a cell of up to 1 MiB is more important than the size of the chunk.
        return height, _balanced(columns, max(wanted, _CHUNK_BYTES // (itemsize * height)))
    lowest, highest = _CELL_COLUMNS
    width = min(max(cell_width, lowest), highest, max(columns, 1))
    height = _balanced(times, _CHUNK_BYTES // (itemsize * width))
    if 2 * height * width * itemsize < _CHUNK_BYTES:
        # Short recordings get wider chunks: a file with a million tiny chunks is slow to open.
        width = _CHUNK_BYTES // (itemsize * height)
    return height, _balanced(columns, width)


def _balanced(length: int, size: int) -> int:
    """Return the size, at most ``size``, that cuts ``length`` into the fewest and fullest parts."""
    parts = max(1, ceil(length / max(size, 1)))
    return max(1, ceil(length / parts))


def _format_bytes(n_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.4g} TiB"
