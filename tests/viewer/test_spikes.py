"""Panels of spikes and the overview: what is drawn, picked, saved and followed."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from bokeh.events import Tap

from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import Categories, CellTable, SimulationOutput, Spikes
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from tests.viewer.making import a_run

BOTH = "panel=raster:&panel=rates:"


@pytest.fixture
def page_of():
    """Return a function that opens a page."""
    opened = []

    def make(path, query=""):
        opened.append(open_page(Document(), [ViewedFile(path)], Downloads(), query))
        return opened[-1]

    yield make
    for page in opened:
        page.session.close()


def panel_of(page, kind="raster"):
    return next(card.panel for card in page.cards if card.panel.kind == kind)


def wait(page):
    """Run the delayed callbacks."""
    for waiting in list(page.session.waiting.values()):
        waiting.callback()


def tap(panel, x, y):
    panel.figure._trigger_event(Tap(panel.figure, x=x, y=y))  # noqa: SLF001 - Bokeh has no public method


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Write many spikes of two populations, one of which has layers; they are not in order."""
    path = tmp_path_factory.mktemp("two") / "two.nwb"
    rng = np.random.default_rng(0)
    ids = np.arange(40) * 3
    layers = CellTable("exc", ids, {"layer": Categories(np.arange(40) % 2, ("L4", "L2"))})
    exc = Spikes("exc", rng.choice(ids[:-1], 3000), rng.uniform(0, 1, 3000), cells=layers)
    inh = Spikes("inh", rng.integers(5, 15, 1000), rng.uniform(0, 1, 1000))
    session = {"NWBFile": {"session_start_time": "2026-01-31T00:00:00Z"}}
    writer.write(SimulationOutput(spikes=(exc, inh)), path, metadata=session)
    return path, exc, inh


def test_a_raster_has_a_mark_for_each_spike(tmp_path, page_of):
    panel = panel_of(page_of(a_run(tmp_path / "run.nwb")))

    marks = panel.points.data

    np.testing.assert_allclose(marks["time"], [10, 20, 100, 150])
    assert marks["cell"].tolist() == [3, 12, 7, 3]
    assert marks["row"].tolist() == [0, 2, 1, 0]

    assert "4 spikes of 3 cells" in panel.note.text
