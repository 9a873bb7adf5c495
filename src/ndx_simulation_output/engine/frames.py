"""Pieces of bytes one after the other in a file, of which a reader can tell which are whole."""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["FRAME_BYTES", "append_frame", "read_frames", "write_at"]

_crc32: Any = zlib.crc32
with suppress(ImportError):
    from isal.isal_zlib import crc32 as _crc32

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


def append_frame(number: int, place: int, parts: Sequence[bytes | bytearray]) -> int:
    """Write ``parts`` as one frame at byte ``place``, and give where it ends.

    A crash on the way leaves a frame that is not whole, which :func:`read_frames` does not give.

    Raises
    ------
    OSError
        If the system refuses to write.

    """
    length = checksum = 0
    for part in parts:
        length, checksum = length + len(part), _crc32(part, checksum)
    frame = b"".join([_HEAD.pack(_MARK, length, checksum), *parts])
    write_at(number, frame, place)
    return place + len(frame)


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
            if len(payload) < length or _crc32(payload) != checksum:
                return
            yield payload
