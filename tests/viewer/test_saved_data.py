"""Shown data as CSV and as Python code, which have the same values."""

import csv
import io

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")


from ndx_simulation_output.errors import CellNotFoundError
from ndx_simulation_output.viewer import server
from ndx_simulation_output.viewer.arrays import ShownArray
from ndx_simulation_output.viewer.controls import SelectedCompartments, python_code, read_rows
from ndx_simulation_output.viewer.networks import ShownQuantity
from ndx_simulation_output.viewer.server import csv_pieces
from ndx_simulation_output.viewer.session import ViewedFile
from ndx_simulation_output.viewer.traces import ShownTraces
from tests.viewer.making import ROWS, a_mixture, a_run, values


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
