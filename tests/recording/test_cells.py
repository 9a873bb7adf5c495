"""Tables of cells: rows of lazy columns, with missing values."""

import numpy as np
import pytest

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.recording import Categories, CellTable
from ndx_simulation_output.recording.cells import take_rows

TABLE = CellTable(
    "exc",
    np.array([30, 10, 20]),
    {
        "layer": np.array([5, 2, 4]),
        "e_rev": np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]),
        "mtype": Categories(np.array([1, 9, 0], np.uint8), ("PV", ""), missing=9),
        "note": np.array(["a", "", None], object),
    },
)


def test_cells_that_a_table_lacks_have_no_values():
    chosen = TABLE.select(np.array([20, 7, 30]))

    values = {name: column[:].tolist() for name, column in chosen.columns.items()}
    assert np.array_equal(values["layer"], [4, np.nan, 5], equal_nan=True)
    assert np.array_equal(values["e_rev"][1], [np.nan, np.nan], equal_nan=True)
    assert values["mtype"] == ["PV", None, ""]
    assert values["note"] == [None, None, "a"]
    assert TABLE.select(np.array([10, 20])).columns["layer"].dtype == np.int64


def test_rows_of_several_tables_are_one_column():
    other = Categories(np.array([0, 1]), ("SST", "PV"))
    own = TABLE.columns["mtype"], np.array([2, 1])
    column = take_rows([own, (None, np.array([0])), (other, np.arange(2))])

    assert column.names == ("PV", "", "SST")
    assert column[:].tolist() == ["PV", None, None, "SST", "PV"]
    assert column[1::2].tolist() == [None, "SST"]
    numbers = take_rows([(np.arange(9), np.array([5, 3])), (np.arange(3.0), np.arange(3))])
    assert numbers[1:4:2].tolist() == [3.0, 1.0]


def test_a_code_without_a_name_is_refused():
    with pytest.raises(ShapeMismatchError, match="code 2 is not that of one of 2 names"):
        Categories(np.array([2]), ("a", "b"))[:]
