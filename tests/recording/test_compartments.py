"""The table of compartments finds what a plain loop finds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ndx_simulation_output.errors import (
    CellNotFoundError,
    CompartmentNotFoundError,
    ShapeMismatchError,
)
from ndx_simulation_output.recording import CompartmentTable

LABELS = ["soma", "dend", "apic", "axon"]
IDS = st.integers(0, 40)
NUMBERS = st.integers(0, 4)


@st.composite
def tables(draw: st.DrawFn) -> CompartmentTable:
    ids = draw(st.lists(IDS, unique=True, max_size=8))
    counts = draw(st.lists(st.integers(0, 5), min_size=len(ids), max_size=len(ids)))
    total = sum(counts)
    numbers = draw(st.lists(NUMBERS, min_size=total, max_size=total))
    labels = draw(st.lists(st.sampled_from(LABELS), min_size=total, max_size=total))
    ids_dtype = draw(st.sampled_from([np.int64, np.uint64, np.uint8]))
    columns = {"number": np.array(numbers, np.int32), "label": np.array(labels, object)}
    return CompartmentTable.from_counts(
        "cortex", np.array(ids, ids_dtype), np.array(counts, np.int64), columns
    )


def loop(
    table: CompartmentTable,
    cells: list[int] | None,
    numbers: list[int] | None,
    labels: list[str] | None,
) -> list[int]:
    """Find columns as one would by hand; LookupError where something is not there."""
    ends = table.ends.tolist()
    starts = [0, *ends][: len(ends)]
    ranges = {
        int(cell): range(start, end)
        for cell, start, end in zip(table.cell_ids, starts, ends, strict=True)
    }
    chosen = [ranges[cell] for cell in (ranges if cells is None else cells)]
    found = []
    for wanted, name in ((numbers, "number"), (labels, "label")):
        present = {table.columns[name][column] for columns in chosen for column in columns}
        if wanted is not None and not set(wanted) <= present:
            raise LookupError(name)
    for columns in chosen:
        kept = [
            column
            for column in columns
            if numbers is None or table.columns["number"][column] in numbers
            if labels is None or table.columns["label"][column] in labels
        ]
        kept.sort(
            key=lambda column: (
                0 if numbers is None else numbers.index(table.columns["number"][column]),
                0 if labels is None else labels.index(table.columns["label"][column]),
            )
        )
        found += kept
    return found


def outcome(function: Any, *arguments: Any) -> list[int] | None:
    try:
        return [int(column) for column in function(*arguments)]
    except LookupError:
        return None


@given(
    table=tables(),
    cells=st.none() | st.lists(IDS, max_size=4),
    numbers=st.none() | st.lists(NUMBERS, max_size=3),
    labels=st.none() | st.lists(st.sampled_from(LABELS), max_size=3),
)
def test_find_agrees_with_a_plain_loop(table, cells, numbers, labels):
    expected = outcome(loop, table, cells, numbers, labels)

    assert outcome(table.find, cells, numbers, labels) == expected


@given(table=tables(), data=st.data())
def test_find_agrees_with_a_plain_loop_on_existing_compartments(table, data):
    assume(table.n_compartments)
    ids = sorted({int(cell) for cell in table.column_cells()})
    cells = data.draw(st.none() | st.lists(st.sampled_from(ids), min_size=1))
    columns = table.find(cells)
    numbers, labels = (
        data.draw(st.none() | st.lists(st.sampled_from(sorted(set(table.columns[name][columns])))))
        for name in ("number", "label")
    )

    found = table.find(cells, numbers, labels)

    assert found.tolist() == loop(table, cells, numbers, labels)


@given(table=tables())
def test_every_compartment_belongs_to_its_cell(table):
    columns = table.find()

    assert columns.tolist() == list(range(table.n_compartments))
    np.testing.assert_array_equal(table.cells_of(columns), table.column_cells())
    assert table.counts().sum() == table.n_compartments


@given(table=tables(), data=st.data())
def test_values_agree_with_fancy_indexing(table, data):
    assume(table.n_compartments)
    columns = data.draw(st.lists(st.integers(0, table.n_compartments - 1)))
    columns = np.array(columns, np.intp)

    for name, array in table.columns.items():
        np.testing.assert_array_equal(table.values(name, columns), array[columns])


def test_one_cell_and_several_cells_are_found_by_the_same_rules():
    table = CompartmentTable.from_counts(
        "cortex", np.array([5, 2, 9]), np.array([2, 0, 3]), {"number": np.zeros(5, int)}
    )

    for cell in (5, 2, 9):
        alone = table.find(cell)
        np.testing.assert_array_equal(table.find([cell, cell]), np.tile(alone, 2))
    assert table.rows_of([9, 5]).tolist() == [2, 0]


def test_bytes_are_decoded():
    labels = np.array([b"soma", "µ".encode()], object)
    table = CompartmentTable.from_counts(
        "cortex", np.array([1]), np.array([2]), {"number": np.arange(2), "label": labels}
    )

    assert table.values("label", np.array([1])).tolist() == ["µ"]
    assert table.find(labels="µ").tolist() == [1]


@pytest.mark.parametrize(
    ("columns", "cell_columns", "message"),
    [
        ({"number": np.zeros(4)}, {}, "number of population 'cortex' has 4 values; expected 3"),
        ({"number": np.zeros(3), "x": np.zeros(2)}, {}, "x of .* has 2 values; expected 3"),
        ({"number": np.zeros(3)}, {"kind": np.zeros(3)}, "kind of .* has 3 values; expected 2"),
    ],
)
def test_columns_of_another_length_are_refused(columns, cell_columns, message):
    ids, counts = np.array([1, 2]), np.array([2, 1])

    with pytest.raises(ShapeMismatchError, match=message):
        CompartmentTable.from_counts("cortex", ids, counts, columns, cell_columns)


def test_ends_of_another_length_than_the_cells_are_refused():
    with pytest.raises(ShapeMismatchError, match="ends of population 'cortex' has 3 values"):
        CompartmentTable("cortex", np.array([1, 2]), np.array([1, 2, 3]), {"number": np.zeros(2)})


def test_messages_list_only_the_first_ids():
    table = CompartmentTable.from_counts(
        "cortex", np.arange(100), np.ones(100, int), {"number": np.arange(100)}
    )

    with pytest.raises(CellNotFoundError, match=r"cell 100 .* \(ids 0, 1, 2, 3, 4, …\)"):
        table.find(100)
    with pytest.raises(CompartmentNotFoundError, match=r"number 100, 101, 102, 103, 104, … is"):
        table.find(numbers=range(100, 110))
