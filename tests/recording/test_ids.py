"""Ids are parsed, formatted and counted."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.recording.ids import (
    MOST_IDS,
    count_distinct,
    format_ids,
    parse_ids,
    repeated_values,
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
def test_ids_and_ranges_are_parsed_in_their_order(text, expected):
    assert parse_ids(text).tolist() == expected


@pytest.mark.parametrize("text", ["a", "3-1", "-4", "1-2-3", "1.5", "0x10", "1 2", "9" * 30])
def test_a_text_that_is_not_an_id_is_refused(text):
    with pytest.raises(SelectionError, match="neither a number nor a range"):
        parse_ids(text)


def test_too_many_ids_are_refused_before_they_are_allocated():
    with pytest.raises(SelectionError, match=f"at most {MOST_IDS:,}"):
        parse_ids("0-99999999999")


@given(st.lists(st.integers(0, 2**40), max_size=20) | st.lists(st.integers(0, 9), max_size=20))
def test_formatted_ids_are_parsed_to_the_same_ids(ids):
    assert parse_ids(format_ids(ids)).tolist() == ids
    assert [one for run in runs_of(ids) for one in run] == ids


def test_a_million_adjacent_ids_are_one_range():
    assert format_ids(np.arange(1_000_000)) == "0-999999"


@given(
    st.lists(st.integers(0, 2**63), max_size=20) | st.lists(st.integers(0, 9), max_size=20),
    st.sampled_from(["u8", "i8", "u1", "f8"]),
)
def test_distinct_ids_are_counted_in_any_range(ids, dtype):
    found = np.asarray([one % 200 if dtype == "u1" else one // 2 for one in ids], dtype)

    assert count_distinct(found) == len(set(found.tolist()))


def test_differences_of_small_integers_do_not_overflow():
    assert count_distinct(np.array([-100, 100, 45, -10], "i1")) == 4


@given(arrays(st.sampled_from(["i8", "u8", "i4", "u1"]), st.integers(0, 20)))
@example(np.array([-(2**63), 2**63 - 1, 3, 3]))
@example(np.array([2**64 - 1, 2**64 - 2, 2**64 - 1], "u8"))
@example(np.array([5, 4, 6, 4]))
def test_repeated_values_are_those_that_occur_more_than_once(values):
    unique, counts = np.unique(values, return_counts=True)

    assert repeated_values(values).tolist() == unique[counts > 1].tolist()
