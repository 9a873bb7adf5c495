"""Ids are parsed, formatted and counted."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ndx_simulation_output import Compartments
from ndx_simulation_output.errors import SelectionError, ShapeMismatchError
from ndx_simulation_output.recording import (
    CompartmentTable,
    ExtracellularPotential,
    RegularTimes,
    Spikes,
    Unit,
)
from ndx_simulation_output.recording.ids import (
    MOST_IDS,
    count_distinct,
    distinct_ids,
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
    assert distinct_ids(found).tolist() == sorted(set(found.tolist()))
    assert distinct_ids(found).dtype == found.dtype


def test_differences_of_small_integers_do_not_overflow():
    assert count_distinct(np.array([-100, 100, 45, -10], "i1")) == 4


@given(arrays(st.sampled_from(["i8", "u8", "i4", "u1"]), st.integers(0, 20)))
@example(np.array([-(2**63), 2**63 - 1, 3, 3]))
@example(np.array([2**64 - 1, 2**64 - 2, 2**64 - 1], "u8"))
@example(np.array([5, 4, 6, 4]))
def test_repeated_values_are_those_that_occur_more_than_once(values):
    unique, counts = np.unique(values, return_counts=True)

    assert repeated_values(values).tolist() == unique[counts > 1].tolist()


def _cell_table(ids):
    return CompartmentTable.from_cells("exc", ids)


def _nwb_table(ids):
    return Compartments.from_arrays(number=np.zeros(len(ids), int), counts=[1] * len(ids), id=ids)


def _units(ids):
    return Spikes("exc", ids, np.arange(len(ids)) / 10)


def _silent_units(ids):
    return Spikes("exc", np.array([7]), np.array([0.1]), silent=ids)


def _channels(ids):
    data = np.zeros((2, len(ids)))
    return ExtracellularPotential("lfp", data, RegularTimes(0.0, 1.0, 2), ids, Unit("volts"))


@pytest.mark.parametrize("make", [_cell_table, _nwb_table, _units, _silent_units, _channels])
@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        (np.array([3, 2**63], "u8"), ShapeMismatchError, "have the id 9223372036854775808; expect"),
        (np.array([3, 2**64 - 1], "u8"), ShapeMismatchError, "have the id 18446744073709551615;"),
        (np.array([3, -1]), ShapeMismatchError, r"have the id -1; expected ids from 0 to 2\*\*63"),
        (np.array([3.0, 1.0]), TypeError, "are float64; expected integers"),
        (np.array([3, np.nan]), TypeError, "are float64; expected integers"),
        (np.array([True, False]), TypeError, "are bool; expected integers"),
        (np.array([3, 2**70]), TypeError, "are object; expected integers"),
    ],
)
def test_ids_that_nwb_cannot_store_are_refused_everywhere(make, ids, error, match):
    with pytest.raises(error, match=match):
        make(ids)


@pytest.mark.parametrize("make", [_cell_table, _nwb_table, _units, _silent_units, _channels])
@pytest.mark.parametrize("ids", [np.array([0, 2**63 - 1], "u8"), np.array([9], "i1"), np.zeros(0)])
def test_all_other_ids_are_taken(make, ids):
    make(ids)
