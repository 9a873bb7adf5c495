"""The table of compartments, built from arrays and from rows."""

import numpy as np
import pandas as pd
import pynwb
import pytest
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorData
from pynwb import NWBHDF5IO

from ndx_simulation_output import Compartments
from ndx_simulation_output.errors import ShapeMismatchError


def small_table(**columns) -> Compartments:
    return Compartments.from_arrays(number=[0, 1, 0], counts=[2, 1], id=[7, 3], **columns)


def rows(table: Compartments, name: str) -> list[list]:
    return [list(row) for row in table[name][:]]


def test_flat_arrays_become_ragged_rows():
    table = small_table(position=[0.1, 0.9, 0.5], label=["soma", "dend", "soma"])

    assert list(table.id[:]) == [7, 3]
    assert rows(table, "number") == [[0, 1], [0]]
    assert rows(table, "position") == [[0.1, 0.9], [0.5]]
    assert rows(table, "label") == [["soma", "dend"], ["soma"]]


def test_cells_are_counted_from_zero_without_ids():
    table = Compartments.from_arrays(number=[4, 5, 6], counts=[1, 0, 2])

    assert list(table.id[:]) == [0, 1, 2]
    assert rows(table, "number") == [[4], [], [5, 6]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": [0, 1], "counts": [1, 2]}, r"'number' of table 'compartments' has 2.* 3"),
        ({"number": [0], "counts": [1], "id": [1, 2]}, r"'id' .* has 2 values; expected 1"),
        (
            {"number": [0, 1], "counts": [2], "position": [0.5]},
            r"'position' .* has 1 values; expected 2",
        ),
        (
            {"number": [0, 1], "counts": [2], "name": "t", "label": ["a", "b", "c"]},
            r"'label' of table 't' has 3 values; expected 2",
        ),
        (
            {"number": [0, 1], "counts": [2], "cell_columns": {"kind": ["a", "b"]}},
            r"'kind' .* has 2 values; expected 1",
        ),
        ({"number": [0, 1], "counts": [1, 1], "id": [5, 5]}, "has a cell id more than once"),
    ],
)
def test_arrays_of_wrong_lengths_are_an_error(arguments, message):
    with pytest.raises(ShapeMismatchError, match=message):
        Compartments.from_arrays(**arguments)


def test_negative_counts_are_refused():
    with pytest.raises(ShapeMismatchError, match="counts"):
        Compartments.from_arrays(number=[1, 2], counts=[3, -1])


def test_numbers_of_two_dimensions_are_refused():
    with pytest.raises(ShapeMismatchError, match="number"):
        Compartments.from_arrays(number=np.zeros((2, 2), int), counts=[2])


def test_every_column_reads_back(write_nwb):
    coordinates = {axis: np.array([1.0, 2.0, 3.0]) + shift for shift, axis in enumerate("xyz")}
    table = small_table(
        position=[0.0, np.nan, 1.0],
        label=["soma", "dend µ", "soma"],
        diameter=np.array([20, 2, 18], np.float32),
        excitability=np.array([1, 2, 3]),
        cell_columns={"kind": ["pyramidal", "basket"], "layer": np.array([5, 2])},
        population="cortex",
        description="two cells",
        name="recorded",
        **coordinates,
    )

    path = write_nwb(table)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["recorded"]
        assert type(found) is Compartments
        assert (found.population, found.description) == ("cortex", "two cells")
        assert found.colnames == table.colnames
        assert list(found.id[:]) == [7, 3]
        for name in table.colnames:
            ours, theirs = table.to_dataframe()[name], found.to_dataframe()[name]
            for left, right in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(left, right)
    assert pynwb.validate(path=str(path)) == []


@pytest.mark.parametrize("label", [["a", "µ"], np.array(["a", "µ"]), np.array(["a", "µ"], object)])
def test_labels_may_be_lists_or_arrays(label, write_nwb):
    path = write_nwb(Compartments.from_arrays(number=[0, 1], counts=[2], label=label))

    with NWBHDF5IO(str(path), "r") as io:
        assert rows(io.read().acquisition["compartments"], "label") == [["a", "µ"]]


@pytest.mark.parametrize("kind", [np.uint8, np.uint32, np.uint64])
@pytest.mark.filterwarnings("error")
def test_unsigned_ids_and_numbers_are_written_without_a_warning(kind, write_nwb):
    ids, number = np.array([7, 3], kind), np.array([0, 1, 0], kind)
    table = Compartments.from_arrays(number=number, counts=[2, 1], id=ids)

    with NWBHDF5IO(str(write_nwb(table)), "r") as io:
        found = io.read().acquisition["compartments"]
        assert list(found.id[:]) == [7, 3]
        assert rows(found, "number") == [[0, 1], [0]]


def test_labels_of_bytes_are_found_as_text():
    table = small_table(label=np.array([b"soma", b"dend", b"soma"]))

    assert table.find_compartments(7, compartment_labels="dend").tolist() == [1]


def test_rows_make_the_same_table_as_arrays(write_nwb):
    table = Compartments(name="rows")
    table.add_row(id=7, number=[0, 1], position=[0.1, 0.9], label=["soma", "dend"])
    table.add_row(id=3, number=[0], position=[np.nan], label=["soma"])
    arrays = small_table(position=[0.1, 0.9, np.nan], label=["soma", "dend", "soma"])

    path = write_nwb(table, arrays)

    with NWBHDF5IO(str(path), "r") as io:
        acquisition = io.read().acquisition
        left = acquisition["rows"].to_dataframe()
        right = acquisition["compartments"].to_dataframe()
        assert left.astype(str).equals(right.astype(str))
    assert pynwb.validate(path=str(path)) == []


def test_users_add_columns_to_a_table(write_nwb):
    table = small_table()
    table.add_column(name="kind", description="kind of the cell", data=["a", "b"])
    table.add_column(
        name="area", description="membrane, in um^2", data=[1.0, 2.0, 3.0], index=[2, 3]
    )

    path = write_nwb(table)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["compartments"]
        assert found["kind"][:].tolist() == ["a", "b"]
        assert rows(found, "area") == [[1.0, 2.0], [3.0]]
        assert found.find_compartments(3).tolist() == [2]


def test_an_empty_table_is_written_and_read(write_nwb):
    path = write_nwb(Compartments.from_arrays(number=[], counts=[]))

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["compartments"]
        assert len(found) == 0
        assert found.find_compartments([]).tolist() == []


def test_a_table_without_ragged_index_has_one_compartment_for_each_cell(write_nwb):
    # The schema allows a number without number_index, and so did 0.2.6.
    number = VectorData(name="number", description="all somata", data=np.array([4, 5, 6]))
    table = Compartments(columns=[number], colnames=["number"], id=[10, 20, 30])

    path = write_nwb(table)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["compartments"]
        assert found.find_compartments([30, 10]).tolist() == [2, 0]
        assert found.find_compartments(20, compartment_numbers=5).tolist() == [1]


def test_a_million_cells_with_ten_million_compartments_are_written(write_nwb):
    n_cells = 1_000_000
    ids = np.arange(n_cells)[::-1]
    table = Compartments.from_arrays(
        number=np.tile(np.arange(10), n_cells), counts=np.full(n_cells, 10), id=ids
    )

    path = write_nwb(table)

    with NWBHDF5IO(str(path), "r") as io:
        found = io.read().acquisition["compartments"]
        assert len(found) == n_cells
        assert list(found["number"][n_cells - 1]) == list(range(10))
        assert found.find_compartments(0).tolist() == list(range(9_999_990, 10_000_000))
        wanted = found.find_compartments([1, n_cells - 1], compartment_numbers=3)
        assert wanted.tolist() == [9_999_983, 3]
    assert pynwb.validate(path=str(path)) == []


def test_large_columns_are_contiguous_unless_they_are_to_grow(write_nwb):
    small = 2**18
    table = Compartments.from_arrays(
        number=np.zeros(small + 2, np.int32), counts=[small, 1, 1], position=np.zeros(small + 2)
    )
    table["position"].target.set_data_io(H5DataIO, {"maxshape": (None,)})
    table.add_row(number=[7, 8], position=[0.5, 0.6])  # Before it is written, any table grows.

    path = write_nwb(table)

    with NWBHDF5IO(str(path), "a") as io:
        found = io.read().acquisition["compartments"]
        columns = {name: found[name].target.data for name in found.colnames}
        assert columns["number"].chunks is None
        assert columns["position"].maxshape == found.id.data.maxshape == (None,)
        assert list(found["number"][3]) == [7, 8]
        with pytest.raises(TypeError, match="Only chunked datasets can be resized"):
            found.add_row(number=[1], position=[0.1])
    assert pynwb.validate(path=str(path)) == []


def test_the_first_positional_argument_is_the_name():
    assert Compartments("soma_table").name == "soma_table"
    assert Compartments("soma_table", "of somata").description == "of somata"


@pytest.mark.parametrize(
    "value", ["soma", b"soma", np.str_("soma"), "s", "", 3, 0.5, None, {"a": 1}, {"a", "b"}]
)
@pytest.mark.parametrize("column", ["number", "position", "label", "x", "part"])
def test_a_row_of_a_ragged_column_is_a_list(column, value):
    table = Compartments()
    table.add_column("part", "part of each compartment", index=True)
    row = {"number": [0, 1], "part": ["a", "b"], column: value}

    with pytest.raises(TypeError, match=f"a row of column '{column}' of table 'compartments' is"):
        table.add_row(row)
    with pytest.raises(TypeError, match=f"a row of column '{column}' of table 'compartments' is"):
        table.add_row(**row)

    assert len(table) == 0


def test_lists_are_required_at_each_level_and_in_columns_that_are_added_later():
    table = Compartments()
    table.add_row(number=[0, 1])
    with pytest.raises(TypeError, match="row of column 'part' of table 'compartments' is 'ab'"):
        table.add_column("part", "of each compartment", data=["ab"], index=True)
    with pytest.raises(TypeError, match="row of column 'parts' of table 'compartments' is 'ab'"):
        table.add_column("parts", "of each compartment", data=[["ab", "cd"]], index=2)

    table.add_column("part", "of each compartment", data=[["ab", "cd"]], index=True)

    assert table["part"][0] == ["ab", "cd"]


@pytest.mark.parametrize("column", ["number", "label", "x"])
def test_arrays_of_columns_are_not_text(column):
    columns = {"number": [0, 1, 2, 3], column: "0123"}

    with pytest.raises(ShapeMismatchError, match=f"column '{column}' .* has 0 dimensions"):
        Compartments.from_arrays(counts=[4], **columns)


def test_rows_of_a_dataframe_have_lists():
    frame = pd.DataFrame(
        {"number": [[0, 1], [2]], "label": [["a", "b"], ["c"]], "kind": ["x", "y"]}
    )

    table = Compartments.from_dataframe(frame)

    assert rows(table, "label") == [["a", "b"], ["c"]]
    assert table["kind"][:] == ["x", "y"]
    with pytest.raises(TypeError, match="row of column 'label' of table 't' is 'ab'"):
        Compartments.from_dataframe(frame.assign(label=["ab", "c"]), name="t")
