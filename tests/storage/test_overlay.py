"""An overlay returns the bytes that the file would have."""

from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.journal import Overlay

PUTS = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=20)), max_size=30)


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
