"""HDF5's shuffle and deflate filters without HDF5's global lock, for use in threads.

Shuffled bytes lie in planes: the first byte of every value, then the second, and so on. The low
bytes of measured numbers are noise that does not compress; such planes are stored in the deflate
stream uncompressed, which also makes reading faster. The result is a standard zlib stream (RFC
1950, RFC 1951). ISA-L is used where it is installed, else zlib; :func:`_clear_registers` is called
after each use of it.
"""

import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

_zlib: Any = zlib
with suppress(ImportError):
    from isal import isal_zlib as _zlib

_LEVEL = 4 if _zlib is zlib else 2
_HEADER = b"\x78\x01"
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
_STORED_BYTES = 2**16 - 1
_SAMPLE_BYTES = 2**13
_NOISE = 0.98
"""A plane is stored uncompressed if this fraction of a sample remains when compressed."""
_VECTOR = np.ones(64)
_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}

_buffers = threading.local()
_Bytes = bytes | memoryview


def shuffle(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the byte planes of ``values``, shape (byte of a value, value), as HDF5's filter does.

    The result is a buffer of the thread, which the next call overwrites.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    size = flat.dtype.itemsize
    planes = _buffer("planes", flat.nbytes).reshape(size, -1)
    words = _WORDS.get(size)
    if words is None or sys.byteorder != "little":
        planes[...] = flat.view(np.uint8).reshape(-1, size).T
        return planes
    # Shifting whole words is faster than copying single bytes.
    numbers = flat.view(words)
    shifted = _buffer("shifted", flat.nbytes).view(words)
    for byte, plane in enumerate(planes):
        np.right_shift(numbers, words.type(8 * byte), out=shifted)
        np.copyto(plane, shifted, casting="unsafe")
    return planes


def _buffer(name: str, n_bytes: int) -> NDArray[np.uint8]:
    """Return a buffer that the thread reuses: the first access to new memory is slow."""
    buffer: NDArray[np.uint8] | None = getattr(_buffers, name, None)
    if buffer is None or buffer.size < n_bytes:
        buffer = np.empty(n_bytes, np.uint8)
        setattr(_buffers, name, buffer)
    return buffer[:n_bytes]


def unshuffle(
    planes: NDArray[np.uint8],
    dtype: np.dtype[Any],
    chunk: tuple[int, int],
    part: tuple[slice, slice | NDArray[np.intp]] = (slice(None), slice(None)),
) -> NDArray[Any]:
    """Return the rows and columns ``part`` of a shuffled chunk of shape ``chunk``.

    The result may be a buffer of the thread, which the next call overwrites.
    """
    size = dtype.itemsize
    selected = planes.reshape(size, *chunk)[(slice(None), *part)]
    if size not in _WORDS or sys.byteorder != "little":
        values = np.empty((*selected.shape[1:], size), np.uint8)
        for byte, plane in enumerate(selected):
            values[..., byte] = plane
        return values.view(dtype)[..., 0]
    # Joining bytes to words of 2, then of 4 and of 8, is faster than copying single bytes.
    words: NDArray[Any] = selected if size > 1 else np.ascontiguousarray(selected)
    for width in takewhile(lambda width: width <= size, (2, 4, 8)):
        word, shape = _WORDS[width], (len(words) // 2, *words.shape[1:])
        joined = _buffer(f"joined {width}", prod(shape) * width).view(word).reshape(shape)
        np.multiply(words[1::2], word.type(1 << 4 * width), out=joined, dtype=word)
        words = np.add(joined, words[::2], out=joined)
    joined_values: NDArray[Any] = words[0].view(dtype)
    return joined_values


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
    _clear_registers()
    return b"".join([*parts, _LAST_BLOCK, checksum.to_bytes(4, "big")])


def inflate(stream: _Bytes, n_bytes: int) -> NDArray[np.uint8]:
    """Decompress a zlib stream of ``n_bytes``; ValueError if it is damaged or of another length.

    No more than ``n_bytes`` and one are decompressed.
    """
    inflater = _zlib.decompressobj()
    try:
        raw = inflater.decompress(stream, n_bytes + 1)
    except (zlib.error, _zlib.error) as error:
        raise ValueError(str(error)) from error
    finally:
        _clear_registers()
    if len(raw) <= n_bytes and not inflater.eof:
        msg = "incomplete or truncated stream"
        raise ValueError(msg)
    if len(raw) != n_bytes:
        found = f"more than {n_bytes}" if len(raw) > n_bytes else len(raw)
        msg = f"the stream has {found} bytes; expected {n_bytes}"
        raise ValueError(msg)
    return np.frombuffer(raw, np.uint8)


def exceeds(stream: _Bytes, n_bytes: int) -> bool:
    """Return True if a zlib stream has more than ``n_bytes``; only so many are decompressed."""
    try:
        return len(_zlib.decompressobj().decompress(stream, n_bytes + 1)) > n_bytes
    except (zlib.error, _zlib.error):
        return False  # HDF5 tells of the damage.
    finally:
        _clear_registers()


def _clear_registers() -> None:
    """Clear the upper halves of the vector registers of the thread, which ISA-L leaves in use.

    Code for SSE that runs in the thread afterwards, such as that of NEURON, would take three times
    as long. Loops of numpy over whole vectors end with the instruction that clears them.
    """
    np.add(_VECTOR, _VECTOR)


def _compressor() -> Any:
    return _zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _is_noise(plane: NDArray[np.uint8]) -> bool:
    """Return True if a sample of the plane hardly compresses."""
    middle = max(0, (plane.size - _SAMPLE_BYTES) // 2)
    sample = plane[middle : middle + _SAMPLE_BYTES]
    compressor = _compressor()
    size = len(compressor.compress(sample.data)) + len(compressor.flush())
    return bool(size > _NOISE * sample.size)


def _compressed(plane: NDArray[np.uint8]) -> list[bytes]:
    """Return compressed blocks that end on a whole byte, so that more blocks can follow."""
    compressor = _compressor()
    return [compressor.compress(plane.data), compressor.flush(zlib.Z_SYNC_FLUSH)]


def _stored(plane: NDArray[np.uint8]) -> Iterator[_Bytes]:
    """Yield stored blocks: a zero byte, the length and its complement, and the bytes."""
    for start in range(0, plane.size, _STORED_BYTES):
        block = plane[start : start + _STORED_BYTES]
        length = block.size.to_bytes(2, "little")
        yield b"\x00" + length + (~block.size & 0xFFFF).to_bytes(2, "little")
        yield block.data
