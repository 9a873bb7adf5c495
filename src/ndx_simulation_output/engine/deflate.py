"""HDF5's filters shuffle and deflate, outside HDF5, so that many chunks go at the same time.

Shuffled bytes lie in planes: first the first byte of every value, then the second, and so on. The
low bytes of a measured number are noise that no compressor shortens: such planes are stored as
they are. The planes that shrink most come last in little-endian numbers: they are worth a better
compressor. Together that is one plain zlib stream to every reader (RFC 1950, RFC 1951).
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["deflate", "inflate", "shuffle", "unshuffle"]

_fast: Any = zlib
_libdeflate: Any = None
with suppress(ImportError):
    from isal import isal_zlib as _fast
_errors: tuple[type[Exception], ...] = (zlib.error, ValueError)
with suppress(ImportError):
    import deflate as _libdeflate

    _errors = (*_errors, _libdeflate.DeflateError)

_LEVEL = 4 if _fast is zlib else 2
_TAIL_LEVEL = 2
_HEADER = b"\x78\x01"
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
_STORED_BYTES = 2**16 - 1
_SAMPLE_BYTES = 2**13
_NOISE = 0.98
_SMOOTH = 0.5
"""A plane whose sample keeps more than this is stored, less is worth a better compressor."""

_Bytes = bytes | memoryview


def shuffle(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Give the byte planes of ``values``: shape (byte of a value, value).

    Source: the HDF5 filter ``H5Z_FILTER_SHUFFLE``.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    return np.ascontiguousarray(flat.view(np.uint8).reshape(flat.size, -1).T)


def unshuffle(
    planes: NDArray[np.uint8],
    dtype: np.dtype[Any],
    chunk: tuple[int, int],
    part: tuple[slice, slice | NDArray[np.intp]],
    out: NDArray[Any],
) -> None:
    """Put the rows and columns ``part`` of a shuffled ``chunk`` of ``dtype`` into ``out``."""
    wanted = planes.reshape(dtype.itemsize, *chunk)[(slice(None), *part)]
    values = np.empty((*out.shape, dtype.itemsize), np.uint8)
    for byte, plane in enumerate(wanted):
        values[..., byte] = plane
    out[...] = values.view(dtype)[..., 0]


def deflate(planes: NDArray[np.uint8]) -> bytes:
    """Compress byte planes, shape (plane, byte), to one zlib stream.

    Example
    -------
    >>> import zlib
    >>> values = np.arange(1000, dtype="<u4")
    >>> zlib.decompress(deflate(shuffle(values))) == shuffle(values).tobytes()
    True

    """
    kept = [_kept(plane) for plane in planes]
    tail = len(planes)
    while _libdeflate is not None and tail and kept[tail - 1] < _SMOOTH:
        tail -= 1
    parts: list[_Bytes] = [_HEADER]
    for plane, size in zip(planes[:tail], kept, strict=False):
        parts += _stored(plane) if size > _NOISE else _compressed(plane)
    parts.append(_finished(planes[tail:]))
    return b"".join([*parts, zlib.adler32(planes.data).to_bytes(4, "big")])


def inflate(stream: _Bytes, n_bytes: int) -> NDArray[np.uint8]:
    """Decompress a zlib stream of ``n_bytes``.

    Raises
    ------
    ValueError
        If the stream is damaged or of another length.

    """
    try:
        if _libdeflate is not None:
            raw = _libdeflate.zlib_decompress(stream, n_bytes)
        else:
            raw = _fast.decompress(stream, zlib.MAX_WBITS, n_bytes)
    except (*_errors, _fast.error) as error:
        raise ValueError(str(error) or "not a zlib stream") from error
    if len(raw) != n_bytes:
        msg = f"{len(raw)} bytes where {n_bytes} are expected"
        raise ValueError(msg)
    return np.frombuffer(raw, np.uint8)


def _compressor() -> Any:
    return _fast.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _kept(plane: NDArray[np.uint8]) -> float:
    """Give the part of its size that a sample of a plane keeps when it is compressed."""
    middle = max(0, (plane.size - _SAMPLE_BYTES) // 2)
    sample = plane[middle : middle + _SAMPLE_BYTES]
    compressor = _compressor()
    size = len(compressor.compress(sample.data)) + len(compressor.flush())
    return size / max(1, sample.size)


def _compressed(plane: NDArray[np.uint8]) -> list[bytes]:
    """Compress a plane to blocks that end on a whole byte, so that others can follow."""
    compressor = _compressor()
    return [compressor.compress(plane.data), compressor.flush(zlib.Z_SYNC_FLUSH)]


def _stored(plane: NDArray[np.uint8]) -> Iterator[_Bytes]:
    for start in range(0, plane.size, _STORED_BYTES):
        block = plane[start : start + _STORED_BYTES]
        yield b"\x00" + _two_bytes(block.size) + _two_bytes(~block.size & 0xFFFF)
        yield block.data


def _finished(planes: NDArray[np.uint8]) -> bytes:
    """Compress the last planes to blocks of which the last one says that it is."""
    if not len(planes):
        return _LAST_BLOCK
    return bytes(_libdeflate.deflate_compress(planes.data, _TAIL_LEVEL))


def _two_bytes(number: int) -> bytes:
    return number.to_bytes(2, "little")
