"""HDF5's shuffle and deflate filters, outside HDF5."""

import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

# HDF5's filters shuffle and deflate, outside HDF5, so that many chunks go at the same time.
#
# Shuffled bytes lie in planes: first the first byte of every value, then the second, and so on.
# The low bytes of a measured number are noise that no compressor shortens: such planes are stored
# as they are, which makes reading faster too. Together that is one plain zlib stream to every
# reader (RFC 1950, RFC 1951). ISA-L compresses and inflates where it is installed, else zlib.

_zlib: Any = zlib
with suppress(ImportError):
    from isal import isal_zlib as _zlib

_LEVEL = 4 if _zlib is zlib else 2
_memories = threading.local()
_HEADER = b"\x78\x01"
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
_STORED_BYTES = 2**16 - 1
_SAMPLE_BYTES = 2**13
_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
_NOISE = 0.98
"""A plane whose sample keeps more than this of its size is stored."""

_Bytes = bytes | memoryview


def shuffle(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Give the byte planes of ``values``: shape (byte of a value, value).

    They lie in memory that the thread uses again for the next.

    Source: the HDF5 filter ``H5Z_FILTER_SHUFFLE``.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    size = flat.dtype.itemsize
    planes = _memory("planes", flat.nbytes).reshape(size, -1)
    words = _WORDS.get(size)
    if words is None or sys.byteorder != "little":
        planes[...] = flat.view(np.uint8).reshape(-1, size).T
        return planes
    # Shifting whole words is faster than picking bytes.
    numbers = flat.view(words)
    shifted = _memory("shifted", flat.nbytes).view(words)
    for byte, plane in enumerate(planes):
        np.right_shift(numbers, words.type(8 * byte), out=shifted)
        np.copyto(plane, shifted, casting="unsafe")
    return planes


def _memory(name: str, n_bytes: int) -> NDArray[np.uint8]:
    """Give memory of this thread: new memory is slow to touch."""
    memory: NDArray[np.uint8] | None = getattr(_memories, name, None)
    if memory is None or memory.size < n_bytes:
        memory = np.empty(n_bytes, np.uint8)
        setattr(_memories, name, memory)
    return memory[:n_bytes]


def unshuffle(
    planes: NDArray[np.uint8],
    dtype: np.dtype[Any],
    chunk: tuple[int, int],
    part: tuple[slice, slice | NDArray[np.intp]],
) -> NDArray[Any]:
    """Give the rows and columns ``part`` of a shuffled ``chunk`` of ``dtype``."""
    wanted = planes.reshape(dtype.itemsize, *chunk)[(slice(None), *part)]
    values = np.empty((*wanted.shape[1:], dtype.itemsize), np.uint8)
    for byte, plane in enumerate(wanted):
        values[..., byte] = plane
    return values.view(dtype)[..., 0]


def deflate(planes: NDArray[np.uint8]) -> bytes:
    """Compress byte planes, shape (plane, byte), to one zlib stream.

    Example
    -------
    >>> import zlib
    >>> values = np.arange(1000, dtype="<u4")
    >>> zlib.decompress(deflate(shuffle(values))) == shuffle(values).tobytes()
    True

    """
    parts: list[_Bytes] = [_HEADER]
    for plane in planes:
        parts += _stored(plane) if _is_noise(plane) else _compressed(plane)
    checksum = _zlib.adler32(planes.data)
    return b"".join([*parts, _LAST_BLOCK, checksum.to_bytes(4, "big")])


def inflate(stream: _Bytes, n_bytes: int) -> NDArray[np.uint8]:
    """Decompress a zlib stream of ``n_bytes``.

    Raises
    ------
    ValueError
        If the stream is damaged or of another length.

    """
    try:
        raw = _zlib.decompress(stream, zlib.MAX_WBITS, n_bytes)
    except (zlib.error, _zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(raw) != n_bytes:
        msg = f"{len(raw)} bytes where {n_bytes} are expected"
        raise ValueError(msg)
    return np.frombuffer(raw, np.uint8)


def _compressor() -> Any:
    return _zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _is_noise(plane: NDArray[np.uint8]) -> bool:
    """Whether a sample of a plane stays as long as it is when it is compressed."""
    middle = max(0, (plane.size - _SAMPLE_BYTES) // 2)
    sample = plane[middle : middle + _SAMPLE_BYTES]
    compressor = _compressor()
    size = len(compressor.compress(sample.data)) + len(compressor.flush())
    return bool(size > _NOISE * sample.size)


def _compressed(plane: NDArray[np.uint8]) -> list[bytes]:
    """Compress a plane to blocks that end on a whole byte, so that others can follow."""
    compressor = _compressor()
    return [compressor.compress(plane.data), compressor.flush(zlib.Z_SYNC_FLUSH)]


def _stored(plane: NDArray[np.uint8]) -> Iterator[_Bytes]:
    for start in range(0, plane.size, _STORED_BYTES):
        block = plane[start : start + _STORED_BYTES]
        yield b"\x00" + _two_bytes(block.size) + _two_bytes(~block.size & 0xFFFF)
        yield block.data


def _two_bytes(number: int) -> bytes:
    return number.to_bytes(2, "little")
