"""Ids as people type them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.recording.ids import (
    MOST_IDS,
    count_distinct,
    format_ids,
    parse_ids,
    runs_of,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" , ", []),
        ("7", [7]),
        ("0-3, 9", [0, 1, 2, 3, 9]),
        (" 9 ,2 - 4", [9, 2, 3, 4]),
        ("5-5", [5]),
    ],
)
def test_ids_and_ranges_are_read_in_their_order(text, expected):
    assert parse_ids(text).tolist() == expected


@pytest.mark.parametrize("text", ["a", "3-1", "-4", "1-2-3", "1.5", "0x10", "1 2", "9" * 30])
def test_what_is_no_id_is_refused_by_its_text(text):
    with pytest.raises(SelectionError, match="neither a number nor a range"):
        parse_ids(text)


def test_more_ids_than_fit_into_memory_are_refused_before_they_are_made():
    with pytest.raises(SelectionError, match=f"at most {MOST_IDS:,}"):
        parse_ids("0-99999999999")


@given(st.lists(st.integers(0, 2**40), max_size=20) | st.lists(st.integers(0, 9), max_size=20))
def test_ids_that_are_written_are_read_as_they_were(ids):
    assert parse_ids(format_ids(ids)).tolist() == ids
    assert [one for run in runs_of(ids) for one in run] == ids


def test_a_million_neighbours_are_one_range():
    assert format_ids(np.arange(1_000_000)) == "0-999999"


@given(
    st.lists(st.integers(0, 2**63), max_size=20) | st.lists(st.integers(0, 9), max_size=20),
    st.sampled_from(["u8", "i8", "u1", "f8"]),
)
def test_ids_that_differ_are_counted_however_far_apart(ids, dtype):
    found = np.asarray([one % 200 if dtype == "u1" else one // 2 for one in ids], dtype)

    assert count_distinct(found) == len(set(found.tolist()))
