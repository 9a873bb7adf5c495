"""Only complete frames of a journal are read, and an overlay returns what the file would have."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.journal import (
    EMPTY_FRAME_BYTES,
    Overlay,
    append_frame,
    iter_frames,
)

PUTS = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=20)), max_size=30)


def written(path: Path, payloads: list[bytes]) -> list[int]:
    """Write frames, and return the end of each."""
    number, ends = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), [0]
    for payload in payloads:
        ends.append(append_frame(number, ends[-1], [payload[:3], payload[3:]]))
    os.close(number)
    return ends[1:]


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_a_frame_that_a_crash_cut_is_not_read(tmp_path_factory, payloads, data):
    path = tmp_path_factory.mktemp("frames") / "frames"
    ends = written(path, payloads)
    length = data.draw(st.integers(0, ends[-1] if ends else 0))

    os.truncate(path, length)

    assert list(iter_frames(path)) == payloads[: sum(end <= length for end in ends)]


@pytest.mark.parametrize("offset", [0, 5, EMPTY_FRAME_BYTES - 1, EMPTY_FRAME_BYTES + 2])
def test_reading_ends_at_a_damaged_frame(offset, tmp_path):
    path = tmp_path / "frames"
    (end, *_) = written(path, [b"first", b"second", b"third"])
    data = bytearray(path.read_bytes())
    data[end + offset] ^= 1
    path.write_bytes(data)

    assert list(iter_frames(path)) == [b"first"]


@given(PUTS, st.integers(0, 60), st.integers(0, 60))
def test_the_last_put_wins(puts, offset, length):
    overlay, expected = Overlay(), bytearray(150)

    for start, data in puts:
        overlay.put(start, data)
        expected[start : start + len(data)] = data
    found = bytearray(length)
    overlay.copy_to(offset, memoryview(found))

    assert found == expected[offset : offset + length]


@given(PUTS)
def test_pieces_are_what_was_put_and_never_overlap(puts):
    overlay, expected, covered = Overlay(), bytearray(100), set()

    for start, data in puts:
        overlay.put(start, data)
        expected[start : start + len(data)] = data
        covered.update(range(start, start + len(data)))

    ends = [offset + len(piece) for offset, piece in overlay]
    assert all(end <= offset for end, (offset, _) in zip(ends, list(overlay)[1:], strict=False))
    assert {at for offset, piece in overlay for at in range(offset, offset + len(piece))} == covered
    assert all(piece == expected[offset : offset + len(piece)] for offset, piece in overlay)
    assert bool(overlay) == bool(puts)


@given(PUTS, st.integers(0, 60), st.integers(0, 60))
def test_dropped_bytes_are_those_of_the_file(puts, offset, length):
    overlay, expected = Overlay(), bytearray(b"." * 150)

    for start, data in puts:
        overlay.put(start, data)
        expected[start : start + len(data)] = data
    expected[offset : offset + length] = b"." * length
    overlay.drop(offset, offset + length)
    found = bytearray(b"." * 150)
    overlay.copy_to(0, memoryview(found))

    assert found == expected
    assert all(piece for _, piece in overlay)
