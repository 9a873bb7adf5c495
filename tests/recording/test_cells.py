"""Tables of cells: rows of lazy columns, with missing values, and the choice of cells."""

from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.errors import CellNotFoundError, SelectionError, ShapeMismatchError
from ndx_simulation_output.recording import (
    Categories,
    CellTable,
    CompartmentTable,
    Report,
    Spikes,
    Unit,
)
from ndx_simulation_output.recording import cells as cells_module
from ndx_simulation_output.recording import traces as traces_module
from ndx_simulation_output.recording.cells import parse_cells, take_rows
from ndx_simulation_output.recording.times import RegularTimes

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


NODE_SETS: dict[str, Any] = {
    "L5": {"layer": 5},
    "deep": {"layer": {"$gte": 4}},
    "PC": {"mtype": {"$regex": "PC"}},
    "some": {"node_id": [40, 20, 20, 99]},
    "ids": [30, 10],
    "none": {"node_id": []},
    "all": {},
    "here": {"population": ["exc", "inh"], "layer": 5},
    "there": {"population": "inh", "threshold": 3},
    "both": ["none", "L5", "some", "L5"],
    "nested": ["both", "ids"],
    "other": {"threshold": 3},
    "partly": ["other", "L5"],
    "lost": ["L5", "gone"],
    "circle": ["L5", "back"],
    "back": ["circle"],
    "wrong": 5,
}
NEURONS = CellTable(
    "exc",
    np.array([40, 10, 30, 20], np.uint32),
    {
        "layer": np.array([5, 2, 5, 4], np.int64),
        "depth": np.array([0.1, np.nan, 2.0, 1e30], ">f4"),
        "mtype": Categories(np.array([1, 0, 9, 1], np.uint8), ("L23_PC", "L5_TPC"), missing=9),
        "region": np.array(["NA", "", None, "5"], object),
        "name": np.array([b"a", b"b", b"c", b"d"]),
        "is_cut": np.array([True, False, True, False]),
        "big": np.array([2**53, 2**53 + 1, 0, 2**63], np.uint64),
        "tau": np.zeros((4, 2)),
    },
    node_sets=NODE_SETS,
)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("L5", [40, 30]),
        ("deep", [40, 30, 20]),
        ("PC", [40, 10, 20]),
        ("some", [40, 20]),
        ("ids", [10, 30]),
        ("none", []),
        ("all", [40, 10, 30, 20]),
        ("exc", [40, 10, 30, 20]),
        ("here", [40, 30]),
        ("there", []),
        ("both", [40, 30, 20]),
        ("nested", [40, 10, 30, 20]),
        ("partly", [40, 30]),
        ({}, [40, 10, 30, 20]),
        ({"layer": []}, []),
        ({"layer": 5.0}, [40, 30]),
        ({"layer": [2, 4.5, np.int8(4), 2**70, -1]}, [10, 20]),
        ({"layer": np.array([2, -1])}, [10]),
        ({"layer": "5"}, [40, 30]),
        ({"layer": (2.5, 4)}, [20]),
        ({"layer": (None, 4)}, [10, 20]),
        ({"layer": {"$gt": 4, "$lte": np.inf}}, [40, 30]),
        ({"layer": {"$lt": 4.5}}, [10, 20]),
        ({"layer": None}, []),
        ({"depth": 0.1}, [40]),
        ({"depth": ["0.1", 2]}, [40, 30]),
        ({"depth": (0.1, 1e300)}, [40, 30, 20]),
        ({"depth": None}, [10]),
        ({"depth": [None, 2.0]}, [10, 30]),
        ({"depth": np.nan}, []),
        ({"depth": [1e300, np.inf]}, []),
        ({"mtype": "L5_TPC"}, [40, 20]),
        ({"mtype": [None, "L23_PC", "?"]}, [10, 30]),
        ({"mtype": {"$regex": "^L5"}}, [40, 20]),
        ({"region": ["NA", ""]}, [40, 10]),
        ({"region": None}, [30]),
        ({"region": 5}, [20]),
        ({"region": 5.0}, [20]),
        ({"region": {"$regex": "^$"}}, [10]),
        ({"name": {"a", "d"}}, [40, 20]),
        ({"is_cut": True}, [40, 30]),
        ({"is_cut": [0, 2]}, [10, 20]),
        ({"is_cut": "true"}, [40, 30]),
        ({"big": 2**53 + 1}, [10]),
        ({"big": float(2**53)}, [40]),
        ({"big": (2**53 + 1, None)}, [10, 20]),
        ({"big": (-1, 2.0**53)}, [40, 30]),
        ({"node_id": (15, 30), "layer": 4}, [20]),
        ({"node_id": 10, "population": "exc"}, [10]),
        ({"population": "inh", "threshold": 1}, []),
        ({"$or": [{"layer": 2}, {"$node_set": "L5"}], "is_cut": False}, [10]),
        ({"$and": [{"layer": 5}, {"depth": 2}]}, [30]),
        ([30, 40, 30], [30, 40, 30]),
        (10, [10]),
        (None, [40, 10, 30, 20]),
    ],
)
def test_cells_are_chosen(cells: Any, expected: list[int]):
    assert NEURONS.ids[NEURONS.rows_of(cells)].tolist() == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("L6", "population 'exc' has no node set 'L6'; there are: L5, deep"),
        ("lost", "node set 'lost' contains 'gone', but population 'exc' has no node set 'gone'"),
        ("circle", "node set 'circle' contains itself: circle > back > circle"),
        ("wrong", "node set 'wrong' is 5; expected properties, names or ids"),
        (
            "other",
            "node set 'other': population 'exc' has no property 'threshold'; expected one of",
        ),
        ({"layre": 5}, "no property 'layre'; expected one of: layer, depth, mtype"),
        ({"tau": 5}, "'tau' of population 'exc' has 2 values for a cell; expected one"),
        ({"layer": "L5"}, r"'layer' of population 'exc' has numbers \(int64\); found 'L5'"),
        ({"layer": {"$regex": "5"}}, r"has numbers \(int64\); expected values or a range, not"),
        ({"mtype": (1, 2)}, "has text, which has no range; expected values or"),
        ({"mtype": {"$regex": "("}}, r"\$regex for property 'mtype' .* is '\(': missing \)"),
        ({"layer": {"$foo": 1}}, r"by '\$foo'; expected one of: \$regex, \$gt, \$gte, \$lt, \$lte"),
        ({"layer": {"$gt": "4"}}, r"\$gt for property 'layer' .* is '4'; expected a number"),
        ({"layer": (1, 2, 3)}, r"is not a range \(lowest, highest\); write a list"),
        ({"$and": 5}, r"\$and is 5; expected a list of queries"),
        ({"$or": ["L5"]}, r"\$or is \['L5'\]; expected a list of queries"),
        ({"$node_set": ["L5"]}, r"population 'exc' has no node set \['L5'\]; there are: L5, deep"),
        ({"layer": [[1]]}, r"is to be \[1\]; expected text, a number or None"),
    ],
)
def test_a_choice_that_cannot_be_is_an_error(cells: Any, message: str):
    with pytest.raises(SelectionError, match=message):
        NEURONS.rows_of(cells)


@pytest.mark.parametrize("wanted", [3, 2**16 - 1, 2**16, 2**17 + 5, 9, np.uint64(2**63)])
def test_one_cell_is_the_first_of_its_id_as_it_is_among_others(wanted: Any):
    ids = np.arange(2**17 + 6)
    ids[[9, 2**16 + 1]] = 2**16  # Not once, as in a damaged file.
    expected = np.flatnonzero(ids == wanted)[:1].tolist() or [-1]

    table = CellTable("exc", ids)

    for _ in range(3):
        assert table.find_rows(np.array([wanted])).tolist() == expected


def test_an_id_that_is_not_there_is_an_error():
    with pytest.raises(CellNotFoundError, match="cell 7 is not among the 4 cells of population"):
        NEURONS.rows_of([10, 7])


NUMBERS = (
    st.integers(-3, 3)
    | st.floats(-3, 3, width=32)
    | st.sampled_from([np.nan, np.inf, 2**64, 10**400])
)


@given(
    st.lists(st.integers(0, 3), max_size=8),
    st.sampled_from(["u1", "i8", ">f4", "f8", "?"]),
    st.lists(NUMBERS, max_size=3),
    st.tuples(NUMBERS, NUMBERS),
)
def test_numbers_are_compared_as_in_python(
    values: list[int], dtype: str, wanted: list[float], ends: tuple[float, float]
):
    table = CellTable("exc", np.arange(len(values)), {"value": np.array(values, dtype)})
    numbers = [value.item() for value in np.array(values, dtype)]

    assert table.rows_of({"value": wanted}).tolist() == [
        row for row, number in enumerate(numbers) if any(number == one for one in wanted)
    ]
    assert table.rows_of({"value": ends}).tolist() == [
        row for row, number in enumerate(numbers) if ends[0] <= number <= ends[1]
    ]


def test_columns_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cells_module, "_BLOCK", 3)
    with h5py.File("cells.h5", "w", driver="core", backing_store=False) as file:
        text = h5py.string_dtype()
        file["code"] = np.arange(10) % 4
        file["text"] = np.array([f"t{row % 4}" for row in range(10)], object).astype(text)
        columns = {
            "code": file["code"],
            "text": file["text"],
            "category": Categories(file["code"], ("t0", "t1", "t2", "t3")),
        }
        table = CellTable("exc", np.arange(10), columns)
        for query in ({"code": 2}, {"text": "t2"}, {"category": "t2"}, {"node_id": [2, 6]}):
            assert table.rows_of(query).tolist() == [2, 6]


COMPARTMENTS = CompartmentTable(
    "exc",
    np.array([7, 3, 5]),
    np.array([2, 3, 5]),
    {"number": np.array([0, 1, 0, 0, 1])},
    {"layer": np.array([4, 5, 5])},
    {"L5": {"layer": 5}},
)


def test_traces_are_chosen_by_property():
    data = np.arange(10.0).reshape(2, 5)
    report = Report("v", "v", data, RegularTimes(0, 1e3, 2), COMPARTMENTS, Unit("volts"))

    assert report.get_traces(cells={"layer": 5})[0].tolist() == [2, 3, 4]
    assert report.select("L5", numbers=0).values[0].tolist() == [2, 3]
    assert report.get_traces(cells={"layer": 9}, numbers=0).shape == (2, 0)
    assert report.to_dask({"layer": [4]}).compute()[0].tolist() == [0, 1]
    with pytest.raises(SelectionError, match="report 'v': population 'exc' has no property 'x'"):
        report.get_traces(cells={"x": 5})


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("3, 7,10-12", [3, 7, 10, 11, 12]),
        ("L5", "L5"),
        ("Layer 5, deep", "Layer 5, deep"),
        ("layer=4,model_type=biophysical", {"layer": ["4"], "model_type": ["biophysical"]}),
        ("layer=2,3", {"layer": ["2", "3"]}),
        ("x=0..100.5, y=..-3", {"x": (0, 100.5), "y": (None, -3)}),
        ("morphology=../a..b", {"morphology": ["../a..b"]}),
        ("depth>=300,depth<5e2", {"depth": {"$gte": 300, "$lt": 500.0}}),
        ("mtype~^L5.*=", {"mtype": {"$regex": "^L5.*="}}),
        ('pop_name="a, b",c,"d=e, f"', {"pop_name": ["a, b", "c", "d=e, f"]}),
        ('pop_name="",layer="2..3"', {"pop_name": [""], "layer": ["2..3"]}),
        ('"a = b, c" = 1', {"a = b, c": ["1"]}),
        ('"5"', "5"),
        ('"a=b, 3"', "a=b, 3"),
        ("@dynamics:holding_current>0", {"@dynamics:holding_current": {"$gt": 0}}),
    ],
)
def test_a_choice_of_cells_is_parsed(text: str, cells: Any):
    assert parse_cells(text) == cells


@pytest.mark.parametrize(
    "text",
    ["layer=", "layer=2,layer=3", "x>a", "3,layer=2", "x>1,2", "x=1,x>2", "x>1,x>2", "m~a,m~b"],
)
def test_a_text_that_is_no_choice_is_refused(text: str):
    with pytest.raises(SelectionError, match="is not a condition such as layer=5 or x>=0"):
        parse_cells(text)


@pytest.mark.parametrize("text", ["", " ", ", ,"])
def test_an_empty_choice_is_refused(text: str):
    with pytest.raises(SelectionError, match="chooses no cells; expected ids, properties or"):
        parse_cells(text)


GROUPED = CompartmentTable.from_counts(
    "exc",
    [7, 3, 5, 4],
    [2, 1, 1, 1],
    {"number": np.array([0, 1, 0, 0, 0]), "x": np.arange(5.0)},
    {
        "layer": np.array([4, 5, 4, np.nan]),
        "ei": Categories(np.array([1, 1, 0, -1]), ("i", "e")),
        "x": np.array([10.0, 20, 30, 40]),
        "number": np.array([9, 8, 7, 6]),
        "name": np.array(["b", "a", None, "b"], object),
        "tau": np.zeros((4, 2)),
    },
)


def grouped_report(n_times: int = 3) -> Report:
    data = np.arange(n_times * 5.0).reshape(n_times, 5).astype("f4")
    return Report("v", "v", data, RegularTimes(0, 1e3, n_times), GROUPED, Unit("volts", 1e-3))


def test_traces_have_properties():
    traces = grouped_report().select(cells=[3, 7])

    properties = {name: values.tolist() for name, values in traces.properties.items()}
    assert properties == {
        "layer": [5, 4, 4],
        "ei": ["e", "e", "e"],
        "soma_x": [20, 10, 10],
        "node_number": [8, 9, 9],
        "name": ["a", "b", "b"],
    }
    assert traces.to_dataframe().columns.names == ["cell", "number", "x"]
    frame = traces.to_dataframe(["layer", "ei"])
    assert frame.T.groupby(level="layer").mean().T[5].tolist() == frame[3].iloc[:, 0].tolist()
    assert [*grouped_report().select(3, properties=["x"]).properties] == ["soma_x"]
    with pytest.raises(SelectionError, match="report 'v': population 'exc' has no property 'lay'"):
        grouped_report().select(3, properties=["lay"])
    with pytest.raises(SelectionError, match=r"property 'tau' .* has 2 values for a cell"):
        grouped_report().select(3, properties=["tau"])


def test_arrays_of_xarray_are_grouped_by_property():
    pytest.importorskip("xarray")
    report = grouped_report()
    array = report.select().to_xarray()

    for name in ("layer", "ei", "name", "soma_x"):
        expected = array.groupby(name).mean()
        means = report.mean_by(name.removeprefix("soma_")).to_xarray()
        assert means.coords[means.dims[1]].values.tolist() == expected[name].values.tolist()
        assert np.allclose(means.values, expected.transpose("time", name).values, rtol=1e-6)
    assert report.mean_by("layer").to_xarray().n_compartments.values.tolist() == [3, 1]


NUMBERS_OR_NAN = st.sampled_from([0.0, 1.0, -2.5, 3.0, np.nan])


@given(st.data())
def test_means_of_groups_are_those_of_all_values(data: st.DataObject):
    shape = data.draw(st.tuples(st.integers(0, 7), st.integers(0, 6)))
    values = np.array(
        data.draw(
            st.lists(NUMBERS_OR_NAN, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
        ),
        data.draw(st.sampled_from(["f4", ">f8"])),
    ).reshape(shape)
    layer = np.array(
        data.draw(st.lists(st.sampled_from([1, 2, np.nan]), min_size=shape[1], max_size=shape[1])),
        float,
    )
    table = CompartmentTable.from_counts(
        "exc", np.arange(shape[1])[::-1], np.ones(shape[1], int), {}, {"layer": layer}
    )
    start, stop, step = data.draw(
        st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(1, 3))
    )
    chosen = data.draw(
        st.none()
        | st.lists(st.sampled_from(range(max(1, shape[1]))), unique=True, max_size=shape[1])
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        h5py.File("r.h5", "w", driver="core", backing_store=False) as file,
    ):
        patch.setattr(traces_module, "GROUP_BYTES", data.draw(st.sampled_from([16, 64, 1024])))
        chunks = tuple(min(2, size) for size in shape) if min(shape) else None
        array = file.create_dataset("data", data=values, chunks=chunks)
        report = Report("v", "v", array, RegularTimes(0, 1.0, shape[0]), table, Unit("volts"))
        means = report.mean_by("layer", chosen, start=start, stop=stop, step=step)

    columns = np.arange(shape[1]) if chosen is None else shape[1] - 1 - np.array(chosen, int)
    for group, count, found in zip(means.groups, means.n_cells, means.values.T, strict=True):
        of_group = values[start:stop:step][:, columns[layer[columns] == group]].astype(float)
        n_values = (~np.isnan(of_group)).sum(axis=1)
        expected = np.where(n_values, np.nansum(of_group, axis=1) / np.maximum(n_values, 1), np.nan)
        assert count == of_group.shape[1]
        assert np.allclose(found, expected, equal_nan=True)
    assert set(means.groups) == {*layer[columns[~np.isnan(layer[columns])]]}


SPIKES = Spikes(
    "exc",
    np.array([40, 10, 40, 20], np.uint32),
    np.array([0.1, 0.2, 0.3, 0.4]),
    cells=NEURONS,
)


def test_spikes_are_chosen_by_property_and_time():
    chosen = SPIKES.select({"layer": 5}, stop=0.3)

    assert chosen.times.tolist() == [0.1]
    assert chosen.known_cells.tolist() == [30, 40]
    assert SPIKES.select("L5").times.tolist() == [0.1, 0.3]
    assert SPIKES.select([20, 10, 10], start=0.2).node_ids.tolist() == [10, 20]
    with pytest.raises(CellNotFoundError, match="cell 7 is not among the 4 cells"):
        SPIKES.select(7)
    assert not len(Spikes("exc", SPIKES.node_ids, SPIKES.times).select(7).times)
    with pytest.raises(SelectionError, match="population 'exc' has no property 'layer'"):
        Spikes("exc", SPIKES.node_ids, SPIKES.times).select({"layer": 5})


def test_silent_cells_are_known_after_a_choice():
    spikes = Spikes(
        "exc",
        SPIKES.node_ids,
        SPIKES.times,
        silent=np.array([30]),
        cells=NEURONS,
        intervals=np.array([[0.0, 0.2], [0.3, 1.0]]),
    )
    chosen = spikes.select("L5", start=0.15, stop=0.25)

    assert chosen.silent.tolist() == [30, 40]
    assert chosen.intervals.tolist() == [[0.15, 0.2]]
    assert chosen.select(cells="L5").silent.tolist() == [30, 40]


def test_rates_of_groups_count_silent_cells():
    rates = SPIKES.rate_by("layer", stop=2.0)

    assert rates.index.tolist() == [2, 4, 5]
    assert rates["n_cells"].tolist() == [1, 1, 2]
    assert rates["rate"].tolist() == [0.5, 0.5, 0.5]
    assert SPIKES.rate_by("is_cut", "L5", start=0.2, stop=0.4)["n_spikes"].to_dict() == {True: 1}
    recorded = Spikes(
        "exc",
        SPIKES.node_ids,
        SPIKES.times,
        cells=NEURONS,
        silent=np.array([], int),
        intervals=np.array([[0.0, 0.5]]),
    )
    assert recorded.rate_by("layer")["n_cells"].tolist() == [1, 1, 1]
    assert recorded.rate_by("node_id", start=0.25)["rate"].to_dict() == {10: 0, 20: 4, 40: 4}
    with pytest.raises(SelectionError, match="'exc' were recorded for an unknown time; pass stop"):
        SPIKES.rate_by("layer")
    with pytest.raises(SelectionError, match="'exc' were recorded for 0 s in this window"):
        recorded.rate_by("layer", start=0.6)
