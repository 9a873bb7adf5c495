"""Fingerprints of recordings, by which the ranks of an MPI job see whether they read the same."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from math import ceil, prod
from typing import Any

import numpy as np

from ndx_simulation_output.recording.arrays import LazyArray, read_block
from ndx_simulation_output.recording.cells import Categories
from ndx_simulation_output.recording.output import SimulationOutput

_SAMPLED_BYTES = 2**23
"""Largest number of bytes that are read of an array: all of a small one, else some blocks."""
_BLOCKS = 64
_LEAST_BLOCKS = 5
_NOT_COMPARED = {"provenance", "notes", "close"}
"""Fields with paths, which may differ between copies of a source, and without recorded values."""


def fingerprint(output: SimulationOutput) -> dict[str, Any]:
    """Return a comparable value for each field of an output, by a name such as ``run.seed``.

    Arrays are compared by shape, type and a checksum of at most 8 MiB: all values of a small array,
    and otherwise rows at fixed positions, with the first, the middle and the last.

    Example
    -------
    >>> fingerprint(SimulationOutput())["run.time_step"] is None
    True

    """
    return dict(_described("", output))


def _described(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Categories):
        yield name, (_checksum(value.codes), value.names, value.missing)
    elif is_dataclass(value) and not hasattr(value, "dtype"):
        for field in fields(value):
            path = f"{name}.{field.name}" if name else field.name
            if field.name not in _NOT_COMPARED and path != "source":
                yield from _described(path, getattr(value, field.name))
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        yield name, _checksum(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _described(f"{name}[{key!r}]", item)
    elif isinstance(value, tuple) and any(map(is_dataclass, value)):
        for number, item in enumerate(value):
            key = getattr(item, "name", getattr(item, "population", number))
            yield from _described(f"{name}[{key!r}]", item)
    else:
        yield name, value


def _checksum(array: LazyArray) -> str:
    """Return shape, type and a checksum of blocks of rows at fixed positions."""
    shape = tuple(map(int, array.shape))
    checksum = hashlib.blake2b(digest_size=8)
    for key in _blocks(array):
        values = read_block(array, *key) if len(key) == 2 else np.asarray(array[key or ()])
        if values.dtype.kind == "O":
            checksum.update(repr(values.tolist()).encode())
        else:
            checksum.update(np.ascontiguousarray(values).tobytes())
    return f"{array.dtype.str} of shape {shape}, checksum {checksum.hexdigest()}"


def _blocks(array: LazyArray) -> Iterator[tuple[slice, ...]]:
    """Yield whole rows of chunks while they are few bytes, otherwise some of their columns."""
    shape = tuple(map(int, array.shape))
    if not shape or not prod(shape):
        yield ()
        return
    chunks = getattr(array, "chunks", None) or (1,) * len(shape)
    row_bytes = max(1, prod(shape[1:]) * array.dtype.itemsize)
    height = max(chunks[0], _SAMPLED_BYTES // _BLOCKS // row_bytes)
    count = ceil(shape[0] / height)
    most = max(_LEAST_BLOCKS, _SAMPLED_BYTES // (height * row_bytes) // 2 * 2 + 1)
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    columns = shape[1] if len(shape) > 1 else 1
    width = columns
    if len(chosen) * height * row_bytes > 2 * _SAMPLED_BYTES:
        width = max(chunks[1], _SAMPLED_BYTES * columns // (_LEAST_BLOCKS * height * row_bytes))
        width = min(width, columns)
    for number, block in enumerate(chosen.tolist()):
        rows = slice(block * height, min((block + 1) * height, shape[0]))
        # Multiples of the golden ratio spread the columns of few blocks evenly.
        first = int(number * 0.618 % 1.0 * (columns - width + 1))
        yield (rows, slice(first, first + width)) if len(shape) > 1 else (rows,)
