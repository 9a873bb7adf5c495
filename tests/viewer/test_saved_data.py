"""Shown data as CSV and as Python code, which have the same values."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from ndx_simulation_output.errors import CellNotFoundError, ShapeMismatchError
from ndx_simulation_output.recording import RegularTimes, Report, Timestamps, Unit
from ndx_simulation_output.viewer import server
from ndx_simulation_output.viewer.arrays import ShownArray
from ndx_simulation_output.viewer.compare import ShownDifference, difference_of
from ndx_simulation_output.viewer.controls import SelectedCompartments, python_code, read_rows
from ndx_simulation_output.viewer.networks import ShownQuantity
from ndx_simulation_output.viewer.neurons import ShownFrame
from ndx_simulation_output.viewer.server import csv_pieces
from ndx_simulation_output.viewer.session import ViewedFile
from ndx_simulation_output.viewer.spikes import ShownSpikes
from ndx_simulation_output.viewer.traces import ShownChannels, ShownHeatMap, ShownTraces
from tests.viewer.making import ROWS, a_mixture, a_run, table, values


def read_csv(shown, *paths):
    """Return the names and the numbers, shape (row, column), of the CSV file."""
    text = "".join(csv_pieces(read_rows(shown, [ViewedFile(path) for path in paths])))
    names, *rows = csv.reader(io.StringIO(text))
    return names, np.asarray(rows, float)


def run_code(shown, *paths):
    """Return the variables of the Python code."""
    names = {}
    exec(python_code(shown, [ViewedFile(path) for path in paths]), names)  # noqa: S102 - the code of the package
    return names


@pytest.mark.parametrize(
    "shown",
    [
        ShownTraces(SelectedCompartments("v", (12, 3), (1,)), 0.05, 0.07),
        ShownTraces(SelectedCompartments("v", (3,))),
        ShownTraces(SelectedCompartments("ca"), 0.31, 0.97),
    ],
)
def test_csv_and_code_have_the_same_traces(tmp_path, shown):
    path = a_run(tmp_path / "run.nwb")

    names, numbers = read_csv(shown, path)
    code = run_code(shown, path)

    assert names[0] == "time (s)"
    np.testing.assert_array_equal(numbers[:, 0], code["times"])
    np.testing.assert_array_equal(numbers[:, 1:], code["values"])
    assert len(numbers) > 1


def test_csv_of_traces_has_every_sample_of_the_window(tmp_path):
    shown = ShownTraces(SelectedCompartments("v", (7,), (0,)), 0.1, 0.15)

    names, numbers = read_csv(shown, a_run(tmp_path / "run.nwb"))

    assert names == ["time (s)", "cell 7: 0 (0.25) (volts)", "cell 7: 0 (0.75) (volts)"]
    expected = (values()[1000:1500, 4:6] * np.float32(1e-3)).astype(float)
    np.testing.assert_array_equal(numbers[:, 1:], expected)


@pytest.mark.parametrize(
    "shown",
    [
        ShownHeatMap(SelectedCompartments("v"), shape=(5, 30)),
        ShownHeatMap(SelectedCompartments("v", (3, 12)), 0.02, 0.1, 2, 6, (3, 20), "max"),
    ],
)
def test_csv_and_code_have_the_same_heat_map(tmp_path, shown):
    path = a_run(tmp_path / "run.nwb")

    _, numbers = read_csv(shown, path)
    code = run_code(shown, path)

    np.testing.assert_array_equal(numbers[:, 1:], code["values"])
    assert numbers[0, 0] == shown.first


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        (ShownSpikes("exc"), 4),
        (ShownSpikes("exc", (3, 7), 0.005, 0.15), 2),
        (ShownSpikes("exc", range(10, 20), None, 0.1), 1),
    ],
)
def test_csv_and_code_have_the_same_spikes(tmp_path, shown, count):
    path = a_run(tmp_path / "run.nwb")

    names, numbers = read_csv(shown, path)
    code = run_code(shown, path)

    assert names == ["time (s)", "node id"]
    np.testing.assert_array_equal(numbers[:, 0], code["times"])
    np.testing.assert_array_equal(numbers[:, 1], code["ids"])
    assert len(numbers) == count


def test_csv_and_code_have_the_same_coordinates_and_values(tmp_path):
    path = a_run(tmp_path / "run.nwb")
    shown = ShownFrame(SelectedCompartments("v", (7, 12)), 0.1234)

    names, numbers = read_csv(shown, path)
    code = run_code(shown, path)

    assert names[-1] == "v (volts)"
    np.testing.assert_array_equal(numbers[:, 2:5], code["coordinates"].points)
    np.testing.assert_array_equal(numbers[:, -1], code["values"])
    assert numbers[1, -1] == np.float32(40) * np.float32(1e-3)


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (ShownChannels("ecp"), [f"channel {channel}" for channel in (2, 5, 9, 4)]),
        (ShownChannels("ecp", (9, 2), 0.01, 0.02), ["channel 9", "channel 2"]),
    ],
)
def test_csv_and_code_have_the_same_channels(tmp_path, shown, names):
    path = a_mixture(tmp_path / "run.nwb")

    header, numbers = read_csv(shown, path)
    code = run_code(shown, path)

    assert header == ["time (s)", *(f"{name} (volts)" for name in names)]
    np.testing.assert_array_equal(numbers[:, 0], code["times"])
    np.testing.assert_array_equal(numbers[:, 1:], code["values"])
    assert len(numbers) == (ROWS if shown.start is None else 100)
    if shown.channels:
        np.testing.assert_array_equal(numbers[:, 1:], values()[100:200, [2, 0]])


@pytest.mark.parametrize(
    ("quantity", "expected"), [("w", [0.1, 0.2, 0.4]), ("gain", [2, 2, 2]), ("delay", [1, 2, 3])]
)
def test_csv_and_code_have_the_same_synapses(tmp_path, quantity, expected):
    path = a_mixture(tmp_path / "state.nwb")
    shown = ShownQuantity("net", "to_row", quantity, "projection")

    names, numbers = read_csv(shown, path)
    code = run_code(shown, path)

    assert names == ["post_rank", "pre_rank", "delay (s)" if quantity == "delay" else quantity]
    np.testing.assert_array_equal(numbers[:, :2], [[1, 0], [1, 3], [4, 5]])
    np.testing.assert_allclose(
        numbers[:, 2], np.array(expected) * (1e-3 if expected[0] == 1 else 1)
    )
    for column, name in enumerate(("post", "pre", "values")):
        np.testing.assert_array_equal(numbers[:, column], code[name])


def test_csv_and_code_have_the_same_neurons(tmp_path):
    path = a_mixture(tmp_path / "state.nwb")
    shown = ShownQuantity("net", "row", "r", "population")

    names, numbers = read_csv(shown, path)

    assert names == ["rank", "r"]
    np.testing.assert_array_equal(numbers[:, 0], np.arange(5))
    np.testing.assert_array_equal(numbers[:, 1], run_code(shown, path)["values"])
    assert numbers[0, 1] == 4


def test_csv_and_code_have_the_same_arrays(tmp_path):
    path = a_mixture(tmp_path / "arrays.nwb")
    for place in range(4):
        names, numbers = read_csv(ShownArray(place), path)
        code = run_code(ShownArray(place), path)
        found = code["values"]
        ahead = len(names) - (found.shape[1] if found.ndim == 2 else 1)
        np.testing.assert_array_equal(numbers[:, ahead:].ravel(), np.ravel(found))
        for column, values_of_axis in enumerate(code["coordinates"][:ahead]):
            np.testing.assert_array_equal(numbers[:, column], values_of_axis)


def test_csv_and_code_have_the_same_difference(tmp_path):
    one, two = a_run(tmp_path / "one.nwb"), a_run(tmp_path / "two.nwb", shift=2.5, rows=1500)
    shown = ShownDifference(SelectedCompartments("v", (12, 3), (0,)), 0.01)

    _, numbers = read_csv(shown, one, two)
    code = run_code(shown, one, two)

    np.testing.assert_array_equal(numbers[:, 0], code["times"])
    np.testing.assert_array_equal(numbers[:, 1:], code["values"])
    np.testing.assert_allclose(numbers[:, 1:], -2.5e-3, atol=1e-8)
    assert len(numbers) == 1500 - 100


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"unit": Unit("amperes")}, "volts in the first file, amperes in the second"),
        ({"times": RegularTimes(0.0, 9_000.0, 20)}, "the times of v differ"),
        ({"times": RegularTimes(0.001, 10_000.0, 20)}, "the times of v differ"),
        ({"times": Timestamps(np.arange(20) / 9_000)}, "the times of v differ"),
    ],
)
def test_runs_with_other_units_or_times_have_no_difference(other, message):
    one = Report("v", "v", values()[:20], RegularTimes(0.0, 10_000.0, 20), table(), Unit("volts"))
    columns = np.arange(3)

    with pytest.raises(ShapeMismatchError, match=message):
        difference_of(one, replace(one, **other), columns, columns)


def test_regular_times_and_timestamps_can_be_the_same_times():
    one = Report("v", "v", values()[:20], RegularTimes(0.0, 10_000.0, 20), table(), Unit("volts"))
    other = replace(one, data=values()[:15], times=Timestamps(np.arange(15) / 10_000))

    found = difference_of(one, other, np.array([2, 0]), np.array([1, 0]))

    assert found.shape == (15, 2)
    np.testing.assert_array_equal(found[3:5, 0:1], (values()[3:5, 2:3] - values()[3:5, 1:2]))


def test_code_has_the_path_and_options_of_the_file(tmp_path):
    file = ViewedFile(tmp_path / "it's.h5", {"unit": {"v": "mV"}, "dt": None})

    text = python_code(ShownTraces(SelectedCompartments("v", tuple(range(100)))), [file])

    assert "it's.h5\", unit={'v': 'mV'})" in text
    assert "cells=[*range(0, 100)]" in text


def test_an_unknown_cell_is_an_error_with_its_id(tmp_path):
    with pytest.raises(CellNotFoundError, match="cell 99"):
        read_csv(ShownTraces(SelectedCompartments("v", (99,))), a_run(tmp_path / "run.nwb"))


def test_rows_are_read_in_blocks(tmp_path, monkeypatch):
    from ndx_simulation_output.plots import downsampling as bins

    monkeypatch.setattr(bins, "BLOCK_BYTES", 64)
    _, numbers = read_csv(ShownTraces(SelectedCompartments("v")), a_run(tmp_path / "run.nwb"))

    assert len(numbers) == ROWS
    np.testing.assert_array_equal(numbers[:, 1:], values() * np.float32(1e-3))


def test_csv_is_sent_in_pieces_between_rows_of_any_length(monkeypatch):
    monkeypatch.setattr(server, "_PIECE", 10)
    rows = iter([("a", "b"), (1.5, 2), ("long " * 5, 3), (4, 5)])

    pieces = list(csv_pieces(rows))

    assert len(pieces) == 2
    assert "".join(pieces).splitlines() == ["a,b", "1.5,2", f"{'long ' * 5},3", "4,5"]
