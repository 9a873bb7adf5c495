"""Columns of the data are found by cell id, compartment number and label."""

import numpy as np
import pytest

from ndx_simulation_output import Compartments, CompartmentSeries
from ndx_simulation_output.errors import (
    CellNotFoundError,
    CompartmentNotFoundError,
    SelectionError,
    SimulationOutputError,
)


@pytest.fixture
def table() -> Compartments:
    """Cells 7 (columns 0, 1, 2), 3 (no column) and 9 (columns 3, 4)."""
    return Compartments.from_arrays(
        number=[0, 1, 1, 0, 5],
        counts=[3, 0, 2],
        id=[7, 3, 9],
        label=["soma", "dend", "apic", "soma", "dend"],
        population="cortex",
    )


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (7, [0, 1, 2]),
        (9, [3, 4]),
        (3, []),
        ([9, 7], [3, 4, 0, 1, 2]),
        ((9, 3), [3, 4]),
        ([9, 9], [3, 4, 3, 4]),
        ([], []),
        (np.int64(9), [3, 4]),
        (np.uint8(9), [3, 4]),
        (np.array([9, 7], np.uint64), [3, 4, 0, 1, 2]),
        (range(7, 8), [0, 1, 2]),
        ({9}, [3, 4]),
        ((cell for cell in (9, 7)), [3, 4, 0, 1, 2]),
    ],
)
def test_cells_are_found_by_id_and_not_by_row(table, cell, expected):
    assert table.find_compartments(cell).tolist() == expected


@pytest.mark.parametrize(
    ("cell", "numbers", "labels", "expected"),
    [
        (7, 1, None, [1, 2]),
        (7, [1, 0], None, [1, 2, 0]),
        ([9, 7], 0, None, [3, 0]),
        ([7, 9], [5, 0], None, [0, 4, 3]),
        (7, np.int32(0), None, [0]),
        (7, range(2), None, [0, 1, 2]),
        (7, [1, 1], None, [1, 2]),
        (7, [], None, []),
        (7, None, "apic", [2]),
        ([7, 9], None, ["dend", "soma"], [1, 0, 4, 3]),
        (7, None, np.array(["soma"]), [0]),
        (7, None, (label for label in ["soma", "apic"]), [0, 2]),
        (7, None, [], []),
        (7, 1, "apic", [2]),
        (7, [0, 1], ["apic", "soma"], [0, 2]),
        (7, 0, "apic", []),
    ],
)
def test_numbers_and_labels_select_within_the_cells(table, cell, numbers, labels, expected):
    assert table.find_compartments(cell, numbers, labels).tolist() == expected


def test_the_columns_found_are_an_index_array(table):
    assert table.find_compartments(7).dtype == np.intp
    assert table.find_compartments([]).dtype == np.intp
    assert table.find_compartments([], compartment_numbers=[]).dtype == np.intp


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([4], CellNotFoundError, r"cell 4 is not among the 3 .* 'cortex' \(ids 7, 3, 9\)"),
        ([[7, 4, 5]], CellNotFoundError, "cell 4, 5 is not among"),
        ([-1], CellNotFoundError, "cell -1"),
        ([7, 5], CompartmentNotFoundError, r"number 5 is not among .*\(numbers 0, 1\)"),
        ([3, 0], CompartmentNotFoundError, "number 0 is not among"),
        ([7, None, "axon"], CompartmentNotFoundError, r"label axon .*\(labels apic, dend, soma\)"),
        ([9, None, ["soma", "apic"]], CompartmentNotFoundError, "label apic"),
    ],
)
def test_unknown_cells_numbers_and_labels_are_an_error(table, arguments, error, message):
    with pytest.raises(error, match=message):
        table.find_compartments(*arguments)


def test_the_errors_are_lookup_errors(table):
    with pytest.raises(LookupError) as caught:
        table.find_compartments(4)

    assert isinstance(caught.value, SimulationOutputError)


@pytest.mark.parametrize("cell", [True, 7.0, np.float64(7), [7.0], [True], [None], ["7"]])
def test_ids_that_are_not_integers_are_refused(table, cell):
    with pytest.raises(TypeError, match=r"have the type .*; expected integers"):
        table.find_compartments(cell)


def test_text_is_the_name_of_a_node_set(table):
    with pytest.raises(SelectionError, match="has no node set '7'; there are: none"):
        table.find_compartments("7")


@pytest.mark.parametrize("number", [True, 1.0, "1", [0.0], [False]])
def test_numbers_that_are_not_integers_are_refused(table, number):
    with pytest.raises(TypeError, match=r"have the type .*; expected integers"):
        table.find_compartments(7, number)


def test_labels_of_a_table_without_labels_are_an_error():
    table = Compartments.from_arrays(number=[0], counts=[1], population="cortex")

    with pytest.raises(CompartmentNotFoundError, match="'cortex' have no labels"):
        table.find_compartments(0, compartment_labels="soma")


def test_an_empty_table_has_no_cell():
    with pytest.raises(CellNotFoundError, match="cell 1 is not among the 0"):
        Compartments().find_compartments(1)


def test_a_zero_dimensional_array_is_one_cell(table):
    assert table.find_compartments(np.array(9)).tolist() == [3, 4]


def test_ids_beyond_double_precision_are_distinguished():
    ids = np.array([2**53, 2**53 + 1, 2**62])
    table = Compartments.from_arrays(number=[0, 0, 0], counts=[1, 1, 1], id=ids)

    assert table.find_compartments([2**53 + 1, 2**62, 2**53]).tolist() == [1, 2, 0]


def test_a_series_finds_compartments_as_in_0_2_6(table):
    series = CompartmentSeries("v", np.zeros((2, 5)), compartments=table, unit="volts", rate=1.0)

    assert series.find_compartments(9).tolist() == [3, 4]
    assert series.find_compartments(7, compartment_labels="apic").tolist() == [2]
