"""Pieces of bytes one after the other in a file, of which a reader can tell which are whole."""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["FRAME_BYTES", "append_frame", "read_frames", "write_at"]

_HEAD = struct.Struct("<4sQI")
"""What marks a frame, the number of its bytes, and their checksum (CRC-32)."""
_MARK = b"NDXF"
FRAME_BYTES = _HEAD.size
"""Length of a frame that holds nothing."""


def write_at(number: int, data: bytes | bytearray | memoryview, place: int) -> None:
    """Write all of ``data`` to the open file ``number``, from byte ``place`` on.

    Raises
    ------
    OSError
        If the system refuses to.

    """
    left = memoryview(data)
    while left:
        written = os.pwrite(number, left, place)
        left, place = left[written:], place + written


def append_frame(number: int, place: int, parts: Iterable[bytes | bytearray]) -> int:
    """Write ``parts`` as one frame at byte ``place``, and give where it ends.

    A crash on the way leaves a frame that is not whole, which :func:`read_frames` does not give.

    Raises
    ------
    OSError
        If the system refuses to write.

    """
    payload = b"".join(parts)
    head = _HEAD.pack(_MARK, len(payload), zlib.crc32(payload))
    write_at(number, head + payload, place)
    return place + len(head) + len(payload)


def read_frames(path: Path) -> Iterator[bytes]:
    """Give what each whole frame of a file holds, up to the first that is not whole.

    Raises
    ------
    OSError
        If the file cannot be read.

    """
    with path.open("rb") as file:
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            mark, length, checksum = _HEAD.unpack(head)
            # What is no frame may claim any length.
            if mark != _MARK or length > path.stat().st_size:
                return
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield payload
