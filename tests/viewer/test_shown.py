"""What is saved of a view: a table, and lines of Python that give the same numbers."""

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
from ndx_simulation_output.viewer.controls import Compartments, python_code, read_rows
from ndx_simulation_output.viewer.networks import ShownQuantity
from ndx_simulation_output.viewer.neurons import ShownFrame
from ndx_simulation_output.viewer.server import csv_pieces
from ndx_simulation_output.viewer.session import ViewedFile
from ndx_simulation_output.viewer.spikes import ShownSpikes
from ndx_simulation_output.viewer.traces import ShownChannels, ShownHeatMap, ShownTraces
from tests.viewer.making import ROWS, a_mixture, a_run, table, values


def saved(shown, *paths):
    """What a spreadsheet reads from the CSV file: names, and numbers of shape (row, column)."""
    text = "".join(csv_pieces(read_rows(shown, [ViewedFile(path) for path in paths])))
    names, *rows = csv.reader(io.StringIO(text))
    return names, np.asarray(rows, float)


def told(shown, *paths):
    """What the lines of Python give."""
    names = {}
    exec(python_code(shown, [ViewedFile(path) for path in paths]), names)  # noqa: S102 - our own lines
    return names


@pytest.mark.parametrize(
    "shown",
    [
        ShownTraces(Compartments("v", (12, 3), (1,)), 0.05, 0.07),
        ShownTraces(Compartments("v", (3,))),
        ShownTraces(Compartments("ca"), 0.31, 0.97),
    ],
)
def test_saved_traces_are_those_that_the_lines_read(tmp_path, shown):
    path = a_run(tmp_path / "run.nwb")

    names, numbers = saved(shown, path)
    lines = told(shown, path)

    assert names[0] == "time_s"
    np.testing.assert_array_equal(numbers[:, 0], lines["times"])
    np.testing.assert_array_equal(numbers[:, 1:], lines["values"])
    assert len(numbers) > 1


def test_saved_traces_have_every_sample_of_the_window(tmp_path):
    shown = ShownTraces(Compartments("v", (7,), (0,)), 0.1, 0.15)

    names, numbers = saved(shown, a_run(tmp_path / "run.nwb"))

    assert names == ["time_s", "cell 7: 0 (0.25)", "cell 7: 0 (0.75)"]
    expected = (values()[1000:1500, 4:6] * np.float32(1e-3)).astype(float)
    np.testing.assert_array_equal(numbers[:, 1:], expected)


@pytest.mark.parametrize(
    "shown",
    [
        ShownHeatMap(Compartments("v"), shape=(5, 30)),
        ShownHeatMap(Compartments("v", (3, 12)), 0.02, 0.1, 2, 6, (3, 20), "max"),
    ],
)
def test_a_saved_heat_map_is_that_which_the_lines_read(tmp_path, shown):
    path = a_run(tmp_path / "run.nwb")

    _, numbers = saved(shown, path)
    lines = told(shown, path)

    np.testing.assert_array_equal(numbers[:, 1:], lines["values"])
    assert numbers[0, 0] == shown.first


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        (ShownSpikes("exc"), 4),
        (ShownSpikes("exc", (3, 7), 0.005, 0.15), 2),
        (ShownSpikes("exc", range(10, 20), None, 0.1), 1),
    ],
)
def test_saved_spikes_are_those_that_the_lines_find(tmp_path, shown, count):
    path = a_run(tmp_path / "run.nwb")

    names, numbers = saved(shown, path)
    lines = told(shown, path)

    assert names == ["time_s", "node_id"]
    np.testing.assert_array_equal(numbers[:, 0], lines["times"])
    np.testing.assert_array_equal(numbers[:, 1], lines["ids"])
    assert len(numbers) == count


def test_saved_places_and_values_are_those_that_the_lines_read(tmp_path):
    path = a_run(tmp_path / "run.nwb")
    shown = ShownFrame(Compartments("v", (7, 12)), 0.1234)

    names, numbers = saved(shown, path)
    lines = told(shown, path)

    assert names[-1] == "v_volts"
    np.testing.assert_array_equal(numbers[:, 2:5], lines["coordinates"].points)
    np.testing.assert_array_equal(numbers[:, -1], lines["values"])
    assert numbers[1, -1] == np.float32(40) * np.float32(1e-3)


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (ShownChannels("ecp"), [f"channel {channel}" for channel in (2, 5, 9, 4)]),
        (ShownChannels("ecp", (9, 2), 0.01, 0.02), ["channel 9", "channel 2"]),
    ],
)
def test_saved_channels_are_those_that_the_lines_read(tmp_path, shown, names):
    path = a_mixture(tmp_path / "run.nwb")

    header, numbers = saved(shown, path)
    lines = told(shown, path)

    assert header == ["time_s", *names]
    np.testing.assert_array_equal(numbers[:, 0], lines["times"])
    np.testing.assert_array_equal(numbers[:, 1:], lines["values"])
    assert len(numbers) == (ROWS if shown.start is None else 100)
    if shown.channels:
        np.testing.assert_array_equal(numbers[:, 1:], values()[100:200, [2, 0]])


@pytest.mark.parametrize(
    ("quantity", "expected"), [("w", [0.1, 0.2, 0.4]), ("gain", [2, 2, 2]), ("delay", [1, 2, 3])]
)
def test_saved_synapses_are_those_that_the_lines_read(tmp_path, quantity, expected):
    path = a_mixture(tmp_path / "state.nwb")
    shown = ShownQuantity("net", "to_row", quantity, "projection")

    names, numbers = saved(shown, path)
    lines = told(shown, path)

    assert names == ["post_rank", "pre_rank", "delay (s)" if quantity == "delay" else quantity]
    np.testing.assert_array_equal(numbers[:, :2], [[1, 0], [1, 3], [4, 5]])
    np.testing.assert_allclose(
        numbers[:, 2], np.array(expected) * (1e-3 if expected[0] == 1 else 1)
    )
    for column, name in enumerate(("post", "pre", "values")):
        np.testing.assert_array_equal(numbers[:, column], lines[name])


def test_saved_neurons_are_those_that_the_lines_read(tmp_path):
    path = a_mixture(tmp_path / "state.nwb")
    shown = ShownQuantity("net", "row", "r", "population")

    names, numbers = saved(shown, path)

    assert names == ["rank", "r"]
    np.testing.assert_array_equal(numbers[:, 0], np.arange(5))
    np.testing.assert_array_equal(numbers[:, 1], told(shown, path)["values"])
    assert numbers[0, 1] == 4


def test_saved_arrays_are_those_that_the_lines_read(tmp_path):
    path = a_mixture(tmp_path / "arrays.nwb")
    for place in range(4):
        names, numbers = saved(ShownArray(place), path)
        lines = told(ShownArray(place), path)
        found = lines["values"]
        ahead = len(names) - (found.shape[1] if found.ndim == 2 else 1)
        np.testing.assert_array_equal(numbers[:, ahead:].ravel(), np.ravel(found))
        for column, values_of_axis in enumerate(lines["coordinates"][:ahead]):
            np.testing.assert_array_equal(numbers[:, column], values_of_axis)


def test_a_saved_difference_is_that_which_the_lines_read(tmp_path):
    one, two = a_run(tmp_path / "one.nwb"), a_run(tmp_path / "two.nwb", shift=2.5, rows=1500)
    shown = ShownDifference(Compartments("v", (12, 3), (0,)), 0.01)

    _, numbers = saved(shown, one, two)
    lines = told(shown, one, two)

    np.testing.assert_array_equal(numbers[:, 0], lines["times"])
    np.testing.assert_array_equal(numbers[:, 1:], lines["values"])
    np.testing.assert_allclose(numbers[:, 1:], -2.5e-3, atol=1e-8)
    assert len(numbers) == 1500 - 100


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"unit": Unit("amperes")}, "volts in the first file, amperes in the second"),
        ({"times": RegularTimes(0.0, 9_000.0, 20)}, "the times of v differ"),
        ({"times": RegularTimes(0.001, 10_000.0, 20)}, "the times of v differ"),
        ({"times": Timestamps(np.arange(20) / 9_000)}, "the times of v differ"),
    ],
)
def test_runs_that_do_not_fit_each_other_have_no_difference(other, said):
    one = Report("v", "v", values()[:20], RegularTimes(0.0, 10_000.0, 20), table(), Unit("volts"))
    columns = np.arange(3)

    with pytest.raises(ShapeMismatchError, match=said):
        difference_of(one, replace(one, **other), columns, columns)


def test_times_that_are_written_otherwise_are_the_same_times():
    one = Report("v", "v", values()[:20], RegularTimes(0.0, 10_000.0, 20), table(), Unit("volts"))
    other = replace(one, data=values()[:15], times=Timestamps(np.arange(15) / 10_000))

    found = difference_of(one, other, np.array([2, 0]), np.array([1, 0]))

    assert found.shape == (15, 2)
    np.testing.assert_array_equal(found[3:5, 0:1], (values()[3:5, 2:3] - values()[3:5, 1:2]))


def test_the_file_and_its_options_are_in_the_lines(tmp_path):
    source = ViewedFile(tmp_path / "it's.h5", {"unit": {"v": "mV"}, "dt": None})

    text = python_code(ShownTraces(Compartments("v", tuple(range(100)))), [source])

    assert "it's.h5\", unit={'v': 'mV'})" in text
    assert "cells=[*range(0, 100)]" in text


def test_a_cell_that_is_not_there_is_said_by_its_id(tmp_path):
    with pytest.raises(CellNotFoundError, match="cell 99"):
        saved(ShownTraces(Compartments("v", (99,))), a_run(tmp_path / "run.nwb"))


def test_rows_are_read_in_blocks(tmp_path, monkeypatch):
    from ndx_simulation_output.plots import downsampling as bins

    monkeypatch.setattr(bins, "BLOCK_BYTES", 64)
    _, numbers = saved(ShownTraces(Compartments("v")), a_run(tmp_path / "run.nwb"))

    assert len(numbers) == ROWS
    np.testing.assert_array_equal(numbers[:, 1:], values() * np.float32(1e-3))


def test_rows_are_sent_in_pieces_however_long_they_are(monkeypatch):
    monkeypatch.setattr(server, "_PIECE", 10)
    rows = iter([("a", "b"), (1.5, 2), ("long " * 5, 3), (4, 5)])

    pieces = list(csv_pieces(rows))

    assert len(pieces) == 2
    assert "".join(pieces).splitlines() == ["a,b", "1.5,2", f"{'long ' * 5},3", "4,5"]
