"""States of networks: neurons on their grid, weights, and what one neuron receives."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from bokeh.events import Tap

from ndx_simulation_output.viewer import networks
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from tests.viewer.making import a_mixture


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return a_mixture(tmp_path_factory.mktemp("state") / "state.nwb")


@pytest.fixture
def panels_of(path):
    """Return a function that opens a page and returns it with its panels."""
    opened = []

    def make(query):
        opened.append(open_page(Document(), [ViewedFile(path)], Downloads(), query))
        return opened[-1], [card.panel for card in opened[-1].cards]

    yield make
    for page in opened:
        page.session.close()


def tap(figure, x, y):
    figure._trigger_event(Tap(figure, x=x, y=y))  # noqa: SLF001 - Bokeh has no public method


def test_neurons_are_on_their_grid_with_a_histogram(panels_of):
    page, (panel,) = panels_of("panel=neurons:net/sheet")
    tiles = panel.grid.tiles.data

    assert panel.quantity.options == ["v", "tau"]
    assert tiles["value"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (tiles["x"].tolist(), tiles["y"].tolist()) == ([0, 1, 2] * 2, [0] * 3 + [1] * 3)
    assert panel.bins.data["top"].sum() == 6
    assert "2 × 3 neurons; at 0.25 s" in panel.note.text

    tap(panel.grid.figure, 1.2, 0.7)

    assert page.session.picked == ("sheet", (4,))
    assert panel.grid.tiles.selected.indices == [4]


def test_neurons_without_a_grid_are_in_a_row_of_ranks(panels_of):
    _, (panel,) = panels_of("panel=neurons:net/row")
    assert panel.grid.tiles.data["value"].tolist() == [4, 3, 2, 1, 0]
    assert panel.grid.tiles.data["x"].tolist() == [0, 1, 2, 3, 4]
    assert not panel.grid.figure.yaxis[0].visible


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("w", [0.1, 0.2, 0.4]), ("gain", [2, 2, 2]), ("delay", [1e-3, 2e-3, 3e-3])],
)
def test_synapses_are_a_matrix_of_ranks(panels_of, quantity, expected):
    page, (panel,) = panels_of("panel=synapses:net/to_row")
    panel.quantity.value = quantity
    tiles = panel.matrix.tiles.data

    assert panel.quantity.options == ["w", "gain", "delay"]
    assert (tiles["pre"].tolist(), tiles["cell"].tolist()) == ([0, 3, 5], [1, 1, 4])
    np.testing.assert_allclose(tiles["value"], expected)
    assert panel.size == (5, 6)
    assert panel.options.get("quantity", "w") == quantity
    assert "panel=synapses:net/to_row" in page.address.value


def test_the_weights_that_the_picked_neuron_receives_are_on_the_grid_of_the_others(panels_of):
    page, (panel,) = panels_of("panel=synapses:net/to_row&cell=row:1")
    received = panel.received.tiles.data
    assert received["cell"].tolist() == [0, 3]
    assert (received["x"].tolist(), received["y"].tolist()) == ([0, 0], [0, 1])
    assert received["value"].tolist() == [0.1, 0.2]
    assert panel.band.data == {"low": [0.5], "high": [1.5]}

    tap(panel.matrix.figure, 5, 4.3)

    assert page.session.picked == ("row", (4,))
    assert panel.received.tiles.data["cell"].tolist() == [5]
    assert "that 4 of row receives" in panel.received.figure.title.text.text

    tap(panel.matrix.figure, 5, 2)

    assert panel.received.tiles.data["cell"].tolist() == []

    tap(panel.received.figure, 2, 1)

    assert page.session.picked == ("sheet", (5,))


def test_many_neurons_and_synapses_are_images(panels_of, monkeypatch):
    monkeypatch.setattr(networks, "_MOST_MARKS", 2)
    _, (neurons, synapses) = panels_of("panel=neurons:net/sheet&panel=synapses:net/to_row")

    (image,) = neurons.grid.image.data["image"]
    np.testing.assert_array_equal(image, [[0, 1, 2], [3, 4, 5]])
    assert len(neurons.grid.tiles.data["x"]) == 0
    (image,) = synapses.matrix.image.data["image"]
    assert image.shape == (5, 6)
    np.testing.assert_allclose([image[1, 0], image[1, 3], image[4, 5]], [0.1, 0.2, 0.4], rtol=1e-6)
    assert np.isfinite(image).sum() == 3


def test_of_very_many_neurons_some_columns_or_rows_are_drawn(panels_of, monkeypatch):
    monkeypatch.setattr(networks, "_MOST_MARKS", 2)
    monkeypatch.setattr(networks, "_MOST_IN_IMAGE", 4)
    _, (neurons,) = panels_of("panel=neurons:net/sheet")

    (image,) = neurons.grid.image.data["image"]
    np.testing.assert_array_equal(image, [[0, 2], [3, 5]])
    assert "2 × 3 neurons, 1 of 2 drawn" in neurons.note.text
    tall, steps = networks._sampled(np.arange(10.0), 5, 2)  # noqa: SLF001 - no file has it
    np.testing.assert_array_equal(tall, [[0, 1], [6, 7]])
    assert steps == (3, 1)
