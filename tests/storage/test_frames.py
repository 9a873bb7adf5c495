"""Only complete frames are read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.journal import EMPTY_FRAME_BYTES, append_frame, read_frames


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

    assert list(read_frames(path)) == payloads[: sum(end <= length for end in ends)]


@pytest.mark.parametrize("offset", [0, 5, EMPTY_FRAME_BYTES - 1, EMPTY_FRAME_BYTES + 2])
def test_reading_ends_at_a_damaged_frame(offset, tmp_path):
    path = tmp_path / "frames"
    (end, *_) = written(path, [b"first", b"second", b"third"])
    data = bytearray(path.read_bytes())
    data[end + offset] ^= 1
    path.write_bytes(data)

    assert list(read_frames(path)) == [b"first"]
