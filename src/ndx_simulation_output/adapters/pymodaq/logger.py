"""The lines of a log: rows that are pickles of one text each, taken apart without unpickling."""

import struct

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["log_lines"]

_SHORT, _LONG = 0x8C, 0x58
_FRAME = 0x95


def log_lines(dataset: h5py.Dataset) -> NDArray[np.object_]:
    """Give the rows of a log as texts, shape (line,); a row that is none is given as it looks."""
    return np.array([_text(_bytes(row)) for row in dataset[()]], dtype=object)


def _bytes(row: object) -> bytes:
    if isinstance(row, str):
        return row.encode()
    return row if isinstance(row, bytes) else np.asarray(row, np.uint8).tobytes()


def _text(row: bytes) -> str:
    text = _pickled(row)
    return row.decode(errors="replace") if text is None else text


def _pickled(row: bytes) -> str | None:
    """Give the text that a row pickles; None if it is anything else.

    A row is a protocol, perhaps a frame, the text with its length, a note to remember it, an end.
    """
    if row[:1] != b"\x80" or row[-1:] != b".":
        return None
    at = 2
    if row[at : at + 1] == bytes([_FRAME]):
        at += 9
    code = row[at] if at < len(row) else 0
    if code == _SHORT and at + 1 < len(row):
        start, length = at + 2, row[at + 1]
    elif code == _LONG and at + 5 <= len(row):
        start, length = at + 5, struct.unpack("<I", row[at + 1 : at + 5])[0]
    else:
        return None
    if start + length >= len(row):
        return None
    return row[start : start + length].decode(errors="replace")
