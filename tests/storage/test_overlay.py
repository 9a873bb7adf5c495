"""What is read through an overlay is what would be in the file."""

from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.journal import Overlay

PUTS = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=20)), max_size=30)


@given(PUTS, st.integers(0, 60), st.integers(0, 60))
def test_the_last_put_is_on_top(puts, place, length):
    overlay, expected = Overlay(), bytearray(150)

    for start, data in puts:
        overlay.put(start, data)
        expected[start : start + len(data)] = data
    found = bytearray(length)
    overlay.copy_to(place, memoryview(found))

    assert found == expected[place : place + length]


@given(PUTS)
def test_pieces_are_what_was_put_and_never_overlap(puts):
    overlay, expected, covered = Overlay(), bytearray(100), set()

    for start, data in puts:
        overlay.put(start, data)
        expected[start : start + len(data)] = data
        covered.update(range(start, start + len(data)))

    ends = [place + len(piece) for place, piece in overlay]
    assert all(end <= place for end, (place, _) in zip(ends, list(overlay)[1:], strict=False))
    assert {at for place, piece in overlay for at in range(place, place + len(piece))} == covered
    assert all(piece == expected[place : place + len(piece)] for place, piece in overlay)
    assert bool(overlay) == bool(puts)


@given(PUTS, st.integers(0, 60), st.integers(0, 60))
def test_what_is_dropped_is_what_was_below(puts, place, length):
    overlay, expected = Overlay(), bytearray(b"." * 150)

    for start, data in puts:
        overlay.put(start, data)
        expected[start : start + len(data)] = data
    expected[place : place + length] = b"." * length
    overlay.drop(place, place + length)
    found = bytearray(b"." * 150)
    overlay.copy_to(0, memoryview(found))

    assert found == expected
    assert all(piece for _, piece in overlay)
